//! Settings that are read again while the broker runs, at SIGHUP.

use serde_json::{Value, json};

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::REQUIRED;
use crate::kit::provider::simulator;
use crate::kit::waiting::until;

const ONE: &str = "[default]\npublic = true\n[default.session]\nmodel = 'gpt-realtime-2.1'\n";
const TWO: &str = "[default]\npublic = true\n[default.session]\nmodel = 'gpt-realtime-2.1'\n\
                   [guide]\n[guide.session]\nmodel = 'gpt-realtime-2.1'\n";

/// The settings file: callers must show a credential, and students may open so many sessions.
fn settings(sessions: u32) -> String {
    format!("{REQUIRED}\n[quota.student]\nsessions_per_month = {sessions}\n")
}

async fn start(base_url: &str) -> Broker {
    let launch = Launch::of(&["serve", "--config", "broker.toml"]).towards(base_url);
    let launch = launch.file("broker.toml", &settings(1));
    let launch = launch.file("personas.toml", ONE);
    launch.set("personas.file", "personas.toml").start().await
}

/// Asks for a client secret as a student, for this persona.
async fn ask(broker: &Broker, subject: &str, persona: &str) -> u16 {
    let request = broker.as_somebody(&student(subject));
    let request = request.header("content-type", "application/json");
    let request = request.body(json!({ "persona": persona }).to_string());
    Answer::to(request).await.status
}

/// Sends SIGHUP, and waits until the broker has said `number` times that it did so.
async fn hang_up(broker: &Broker, event: &str, number: usize) {
    broker.running.signal("HUP");
    let told = || broker.events(event).len() == number;
    until("the broker has read its settings again", told).await;
}

#[tokio::test]
async fn lc7_sighup_reads_personas_and_quotas_again_and_a_mistake_leaves_the_old_ones_in_force() {
    let simulator = simulator(&[]).await;
    let broker = start(&simulator.base_url()).await;
    assert_eq!(ask(&broker, "ana", "default").await, 200);
    assert_eq!(ask(&broker, "ana", "default").await, 429);
    assert_eq!(ask(&broker, "ben", "guide").await, 422);

    broker.running.file("broker.toml", &settings(2));
    broker.running.file("personas.toml", TWO);
    hang_up(&broker, "settings_reloaded", 1).await;
    assert_eq!(ask(&broker, "ana", "guide").await, 200);

    // The quota of this file would be good. Nothing of it is taken over.
    broker.running.file("broker.toml", &settings(3));
    broker.running.file("personas.toml", "[guide");
    hang_up(&broker, "settings_refused", 1).await;
    let told = broker.events("settings_refused").remove(0);
    let mistake = told["details"].to_string();
    assert!(
        mistake.contains("personas.file (personas.toml:1)"),
        "{told}"
    );
    assert_eq!(ask(&broker, "ana", "default").await, 429);
    assert_eq!(ask(&broker, "ben", "guide").await, 200);
    broker.stop().await;
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_and_stay_as_they_are() {
    let simulator = simulator(&[]).await;
    let broker = start(&simulator.base_url()).await;
    let more = format!("{}[limits]\nidentity = \"2/1h\"\n", settings(9));
    broker.running.file("broker.toml", &more);
    for number in 1..3 {
        hang_up(&broker, "settings_reloaded", number).await;
        let told = &broker.events("settings_reloaded")[number - 1];
        let details = told["details"].to_string();
        assert!(details.contains("limits.identity"), "{told}");
    }
    for _ in 0..4 {
        assert_eq!(ask(&broker, "ana", "default").await, 200);
    }
    broker.stop().await;
}

const MINUTES: &str = "[quota.student]\nminutes_per_day = 60\nsessions_per_month = ";

/// A broker whose pages connect in this mode.
async fn start_in(mode: &str, limits: &str, base_url: &str) -> Broker {
    let settings = format!("{REQUIRED}\n[connect]\nmode = {mode:?}\n{limits}");
    let launch = Launch::of(&["serve", "--config", "broker.toml"]).towards(base_url);
    let launch = launch.file("broker.toml", &settings);
    let launch = launch.file("personas.toml", ONE);
    launch.set("personas.file", "personas.toml").start().await
}

#[tokio::test]
async fn limits_that_the_mode_of_the_start_cannot_keep_are_refused_whatever_mode_comes_along() {
    let simulator = simulator(&[]).await;
    let broker = start_in("direct", "", &simulator.base_url()).await;
    let settings = format!("{REQUIRED}\n[connect]\nmode = \"call\"\n{MINUTES}9\n");
    broker.running.file("broker.toml", &settings);
    hang_up(&broker, "settings_refused", 1).await;
    let told = broker.events("settings_refused").remove(0);
    let mistakes = told["details"]["mistakes"].to_string();
    assert!(mistakes.contains("quota.student (broker.toml"), "{told}");
    assert!(mistakes.contains("a restart would take"), "{told}");
    broker.stop().await;
}

#[tokio::test]
async fn a_change_of_the_mode_waits_and_does_not_judge_the_limits_beside_it() {
    let simulator = simulator(&[]).await;
    let minutes = format!("{MINUTES}1\n");
    let broker = start_in("call", &minutes, &simulator.base_url()).await;
    assert_eq!(ask(&broker, "ana", "default").await, 200);
    assert_eq!(ask(&broker, "ana", "default").await, 429);
    let settings = format!("{REQUIRED}\n[connect]\nmode = \"direct\"\n{MINUTES}2\n");
    broker.running.file("broker.toml", &settings);
    hang_up(&broker, "settings_reloaded", 1).await;
    let told = broker.events("settings_reloaded").remove(0);
    assert_eq!(
        told["details"]["waiting_for_restart"],
        json!(["connect.mode"])
    );
    let warned = |line: &Value| line["mistakes"].to_string().contains("quota.student");
    let warned = broker.running.logged(warned).await;
    let message = warned["message"].to_string();
    assert!(message.contains("the next start will refuse"), "{warned}");
    assert_eq!(ask(&broker, "ana", "default").await, 200);
    broker.stop().await;
}

#[tokio::test]
async fn a_mistake_in_a_setting_that_waits_for_a_restart_refuses_the_whole_reading() {
    let simulator = simulator(&[]).await;
    let broker = start(&simulator.base_url()).await;
    let more = format!("{}[limits]\nidentity = \"often\"\n", settings(9));
    broker.running.file("broker.toml", &more);
    hang_up(&broker, "settings_refused", 1).await;
    assert_eq!(ask(&broker, "ana", "default").await, 200);
    assert_eq!(ask(&broker, "ana", "default").await, 429);
    broker.stop().await;
}

//! Secrets that change while the broker runs: the operators' token, an issuer's secret, the addresses and headers of others.

use std::time::Duration;

use reqwest::header::COOKIE;
use serde_json::Value;
use tokio::time::timeout;

use crate::dev_desk::Desk;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, claims};
use crate::kit::http::client;
use crate::kit::issuer::{REQUIRED, SECRET, sign_with};
use crate::kit::programs::free_address;
use crate::kit::provider::simulator;
use crate::kit::receiver::Receiver;
use crate::kit::waiting::{PATIENCE, eventually, until};

const OLD: &str = "operators-token-that-is-long-enough";
const NEW: &str = "another-token-of-operators-4f1d";
const OTHER: &str = "another-hmac-secret-that-is-long-enough-77";
/// Conditions of alerts are judged every ten seconds.
const JUDGED: Duration = Duration::from_mins(1);

async fn reloaded(broker: &Broker, number: usize) {
    let told = || broker.events("settings_reloaded").len() == number;
    until("the broker has read the secrets again", told).await;
}

#[tokio::test]
async fn a_changed_file_of_the_operators_token_ends_the_old_token_and_its_cookies() {
    let simulator = simulator(&[]).await;
    let address = free_address().to_string();
    let launch = Launch::serve(&simulator).file("operators", OLD);
    let launch = launch.set("ops.token_file", "operators");
    let broker = launch.set("ops.listen", &address).start().await;
    let home = format!("http://{address}/");
    let metrics = async |token: &str| {
        let asked = client().get(format!("{home}metrics")).bearer_auth(token);
        Answer::to(asked).await.status
    };
    let desk = Desk::enter(home.clone(), OLD).await;
    assert_eq!((metrics(OLD).await, metrics(NEW).await), (200, 401));
    let live = client().get(format!("{home}pages/calls/live"));
    let live = live.header(COOKIE, desk.cookie()).send().await.unwrap();
    assert_eq!(live.status(), 200);

    broker.running.file("operators", NEW);
    reloaded(&broker, 1).await;
    assert_eq!((metrics(OLD).await, metrics(NEW).await), (401, 200));
    let with_cookie = client().get(&home).header(COOKIE, desk.cookie());
    assert_eq!(Answer::to(with_cookie).await.status, 401);
    let rest = timeout(PATIENCE, live.text()).await;
    rest.expect("the open stream ends, too").unwrap();
    Desk::enter(home.clone(), NEW).await.read("").await;

    // A token that is too short is none, so the one before it holds.
    broker.running.file("operators", "short");
    let told = || broker.events("settings_refused").len() == 1;
    until("the mistake is reported", told).await;
    assert_eq!(metrics(NEW).await, 200);
    let ended = broker.stop().await;
    assert!(!ended.out.contains(NEW), "{ended:?}");
}

#[tokio::test]
async fn a_changed_file_of_an_issuers_secret_ends_credentials_of_the_old_secret() {
    let simulator = simulator(&[]).await;
    let settings = REQUIRED.replace(
        &format!("hmac_secret = {SECRET:?}"),
        "hmac_secret_file = \"issuer\"",
    );
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.file("broker.toml", &settings).file("issuer", SECRET);
    let broker = launch.start().await;
    let signed = |secret| sign_with(&claims("ana", "student"), secret);
    let (old, new) = (signed(SECRET), signed(OTHER));
    assert_eq!(broker.token_as(&old).await.status, 200);
    assert_eq!(broker.token_as(&new).await.status, 401);

    broker.running.file("issuer", OTHER);
    reloaded(&broker, 1).await;
    // The broker has verified this credential a moment ago.
    assert_eq!(broker.token_as(&old).await.status, 401);
    assert_eq!(broker.token_as(&new).await.status, 200);
    broker.stop().await;
}

#[tokio::test]
async fn issuers_come_and_go_at_sighup() {
    let simulator = simulator(&[]).await;
    let another = REQUIRED.replace("id.example.com", "other.example.com");
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let broker = launch.file("broker.toml", &another).start().await;
    let ana = sign_with(&claims("ana", "student"), SECRET);
    assert_eq!(broker.token_as(&ana).await.status, 401);
    for (number, (settings, status)) in [(REQUIRED, 200), (&another, 401)].into_iter().enumerate() {
        broker.running.file("broker.toml", settings);
        broker.running.signal("HUP");
        reloaded(&broker, number + 1).await;
        assert_eq!(broker.token_as(&ana).await.status, status);
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_webhook_that_is_added_at_sighup_is_told_of_what_goes_on() {
    let (simulator, receiver) = (simulator(&["500"]).await, Receiver::start().await);
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.set("limits.token", "1000/60s");
    let broker = launch.file("broker.toml", "").start().await;
    for _ in 0..40 {
        assert!(broker.token().await.status >= 500);
    }
    let settings = format!("[alerts]\nwebhook = {:?}\n", receiver.url);
    broker.running.file("broker.toml", &settings);
    broker.running.signal("HUP");
    reloaded(&broker, 1).await;
    let waiting = broker.events("settings_reloaded")[0]["details"].to_string();
    assert!(!waiting.contains("alerts"), "{waiting}");
    let told = async || !receiver.messages().is_empty();
    eventually("the message", JUDGED, told).await;
    broker.stop().await;
}

#[tokio::test]
async fn changed_headers_of_the_collector_go_with_the_next_spans() {
    let (simulator, receiver) = (simulator(&[]).await, Receiver::start().await);
    let launch = Launch::serve(&simulator).file("headers", "authorization=old");
    let launch = launch.set("otel.endpoint", &receiver.collector);
    let broker = launch.set("otel.headers_file", "headers").start().await;
    broker.running.file("headers", "authorization=new");
    reloaded(&broker, 1).await;
    assert_eq!(broker.token().await.status, 200);
    broker.stop().await;
    let last = receiver.messages().pop().unwrap();
    assert_eq!(last.headers["authorization"], "new");
}

#[tokio::test]
async fn a_secret_that_needs_a_restart_is_named_only_when_it_has_changed() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).file("place", "sqlite:one.db");
    let broker = launch.set("ledger.url_file", "place").start().await;
    let waiting = |number: usize| -> Value {
        let told = broker.events("settings_reloaded");
        told[number]["details"]["waiting_for_restart"].clone()
    };
    broker.running.signal("HUP");
    reloaded(&broker, 1).await;
    assert_eq!(waiting(0), serde_json::json!([]));
    broker.running.file("place", "sqlite:two.db");
    broker.running.signal("HUP");
    reloaded(&broker, 2).await;
    assert_eq!(waiting(1), serde_json::json!(["ledger.url"]));
    broker.stop().await;
}

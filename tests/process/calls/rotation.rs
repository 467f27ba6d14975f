//! API keys in files: replaced while calls are open, without a restart and without a signal.

use std::fs;
use std::os::unix::fs::symlink;

use super::Up;
use crate::kit::PAGE;
use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::{PATIENCE, eventually, until};

const NEW: &str = "sk-canary-new";

/// A broker that has its key in the file `key`, a link like those in the folder of a Kubernetes secret.
fn launch(base_url: &str) -> Launch {
    let launch = Launch::of(&["serve"])
        .env("OPENAI_API_KEY_FILE", "key")
        .env("ALLOWED_ORIGINS", PAGE)
        .env("OPENAI_BASE_URL", base_url)
        .env("PORT", "0");
    let launch = launch.file("first", KEY).file("second", NEW);
    symlink("first", launch.path().join("key")).unwrap();
    launch
}

async fn reloaded(broker: &Broker, event: &str, number: usize) {
    let told = || broker.events(event).len() == number;
    until("the broker has read the key again", told).await;
}

#[tokio::test]
async fn a_key_is_replaced_under_an_open_call_which_keeps_its_own() {
    let simulator = simulator(&[]).await;
    let launch = launch(&simulator.base_url());
    let folder = launch.path().to_owned();
    let broker = launch.start().await;
    let old = Up::of_nobody(broker.post("/calls")).await;
    symlink("second", folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("key")).unwrap();
    reloaded(&broker, "settings_reloaded", 1).await;

    // The provider does not know the new key yet, so it must be the one that is used.
    assert_eq!(broker.token().await.status, 503);
    old.hang_up(&broker).await;
    until("the call is over", || !old.seen(&simulator).is_open).await;
    simulator.accept_key(NEW);
    let serves = async || broker.token().await.status == 200;
    eventually("the new key serves", PATIENCE, serves).await;
    let ended = broker.stop().await;
    assert!(
        !ended.out.contains(NEW) && !ended.out.contains(KEY),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_file_without_a_key_is_reported_once_and_the_key_before_it_serves_on() {
    let simulator = simulator(&[]).await;
    let broker = launch(&simulator.base_url()).start().await;
    broker.running.file("first", "\n");
    reloaded(&broker, "settings_refused", 1).await;
    assert_eq!(broker.token().await.status, 200);
    // Written again, the same key is no mistake any more.
    broker.running.file("first", KEY);
    reloaded(&broker, "settings_reloaded", 1).await;
    assert_eq!(broker.events("settings_refused").len(), 1);
    assert_eq!(broker.token().await.status, 200);
    broker.stop().await;
}

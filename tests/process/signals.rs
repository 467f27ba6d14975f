//! Signals beside the orderly end, and callers who leave.

use serde_json::Value;
use tokio::time::Instant;

use crate::kit::executable::Launch;
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, until};
use crate::kit::wire::{MINT, Wire};

#[tokio::test]
async fn sigint_ends_an_idle_broker_without_any_delay() {
    let simulator = simulator(&[]).await;
    let mut broker = Launch::serve(&simulator)
        .set("server.drain_delay", "20s")
        .set("server.drain_timeout", "10s")
        .start()
        .await;
    let began = Instant::now();
    broker.running.signal("INT");
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?} after {:?}", began.elapsed());
}

#[tokio::test]
async fn sigint_lets_a_mint_under_way_end() {
    let simulator = simulator(&["slow:1s"]).await;
    let mut broker = Launch::serve(&simulator).start().await;
    let mut caller = Wire::to(broker.address).await;
    caller.send(MINT).await;
    until("a mint under way", || simulator.seen() == 1).await;
    broker.running.signal("INT");
    assert_eq!(caller.hear().await.statuses(), [200]);
    assert_eq!(broker.running.end(SOON).await.code, Some(0));
}

#[tokio::test]
async fn dev_ends_with_code_0_too() {
    for name in ["TERM", "INT"] {
        let mut broker = Launch::of(&["dev", "--listen", "127.0.0.1:0"]).spawn();
        broker.said(|line| line.contains("Ctrl-C")).await;
        broker.signal(name);
        let ended = broker.end(SOON).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// Programs that rotate logs send SIGHUP or SIGUSR1. A terminal that is closed sends SIGHUP.
#[tokio::test]
async fn n03_sighup_and_sigusr1_leave_a_broker_alone_and_sighup_ends_dev_in_good_order() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    let ignored = |line: &Value| line["message"].to_string().contains("signal ignored");
    let reloaded = |line: &Value| line["event"] == "settings_reloaded";
    broker.running.signal("HUP");
    let told = || broker.running.log(reloaded).len() == 1;
    until("the broker has read its settings again", told).await;
    broker.running.signal("USR1");
    let told = || broker.running.log(ignored).len() == 1;
    until("the broker says that it ignores the signal", told).await;
    broker.token().await.secret();
    assert_eq!(broker.stop().await.code, Some(0));

    let mut dev = Launch::of(&["dev", "--listen", "127.0.0.1:0"]).spawn();
    dev.said(|line| line.contains("Ctrl-C")).await;
    dev.signal("HUP");
    assert_eq!(dev.end(SOON).await.code, Some(0));
}

#[tokio::test]
async fn a_signal_right_after_the_ready_line_is_already_heard() {
    let simulator = simulator(&[]).await;
    for _ in 0..10 {
        let mut broker = Launch::serve(&simulator)
            .set("server.drain_delay", "0s")
            .start()
            .await;
        broker.running.signal("TERM");
        let ended = broker.running.end(SOON).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

#[tokio::test]
async fn a_mint_whose_caller_hung_up_is_written_down_before_the_end() {
    let simulator = simulator(&["slow:1s"]).await;
    let mut broker = Launch::serve(&simulator)
        .set("server.drain_delay", "0s")
        .start()
        .await;
    let mut caller = Wire::to(broker.address).await;
    caller.send(MINT).await;
    until("a mint under way", || simulator.seen() == 1).await;
    drop(caller);
    broker.running.signal("TERM");
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("token_minted"), "{ended:?}");
}

#[tokio::test]
async fn a13_a_crash_leaves_no_core_dump() {
    use std::os::unix::process::ExitStatusExt;
    let simulator = simulator(&[]).await;
    let mut command = crate::kit::programs::program("prlimit");
    command
        .arg("--core=unlimited")
        .arg(env!("CARGO_BIN_EXE_token-broker"))
        .arg("serve");
    let mut broker = Launch::from(command)
        .towards(&simulator.base_url())
        .start()
        .await;
    broker.running.signal("ABRT");
    let status = broker.running.status().await;
    assert_eq!(status.signal(), Some(6), "{status:?}");
    assert!(!status.core_dumped(), "{status:?}");
}

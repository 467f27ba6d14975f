//! As the first process of a container, where the kernel ignores signals that nobody handles.

use std::fs;
use std::io::Write;

use crate::kit::answer::Answer;
use crate::kit::executable::{Launch, signal};
use crate::kit::programs::{program, run};
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, until};

/// How to get a process namespace of one's own here, if there is a way.
async fn way() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [
        &["--pid", "--fork", "--kill-child"],
        &[
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
        ],
    ];
    for way in ways {
        if run(program("unshare").args(way).arg("true")).await.0 {
            return Some(way);
        }
    }
    None
}

#[tokio::test]
async fn a_broker_that_is_process_1_obeys_sigterm() {
    let Some(way) = way().await else {
        // Past the test runner, which keeps what is printed to itself.
        let loud = "SKIPPED, NOT CHECKED: no process namespaces here, so nothing can be process 1";
        writeln!(std::io::stderr(), "{loud}").unwrap();
        return;
    };
    let simulator = simulator(&[]).await;
    let mut command = program("unshare");
    command
        .args(way)
        .arg(env!("CARGO_BIN_EXE_token-broker"))
        .arg("serve");
    let mut broker = Launch::from(command)
        .towards(&simulator.base_url())
        .env("BROKER_SERVER__DRAIN_DELAY", "1s")
        .start()
        .await;
    let inner = child_of(broker.running.pid()).await;
    let status = fs::read_to_string(format!("/proc/{inner}/status")).unwrap();
    let numbers = status
        .lines()
        .find(|line| line.starts_with("NSpid:"))
        .unwrap();
    assert!(numbers.ends_with("\t1"), "{numbers}");
    assert_eq!(Answer::to(broker.get("/livez")).await.status, 200);
    signal(inner, "TERM");
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("draining"), "{ended:?}");
}

/// The one child of a process.
async fn child_of(pid: u32) -> u32 {
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    until("a child", || !children().trim().is_empty()).await;
    children().trim().parse().unwrap()
}

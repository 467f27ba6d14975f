//! A server that is absent, killed, paused, full, read-only or forgetful.

use std::sync::Arc;
use std::time::Duration;

use token_broker::config::OnFailure;
use token_broker::gate::windows::Windows;
use token_broker::gate::windows::redis::Link;
use tokio::time::Instant;

use super::outage::limits_of;
use super::stage::{address, all, becomes, is_admitted, keep, link, party};
use crate::kit::redis::{REDIS, Redis, VALKEY};
use crate::kit::waiting::{PATIENCE, SOON, eventually};

fn unconnected(server: &Redis) -> Arc<Link> {
    Arc::new(Link::new(&server.url()).unwrap())
}

#[tokio::test]
async fn a_server_that_was_absent_at_the_start_is_joined_within_five_seconds_of_its_coming() {
    let mut server = Redis::absent();
    let link = unconnected(&server);
    assert!(link.join().await.is_err());
    let limits = limits_of(2, &link, OnFailure::Local);
    let keeper = keep(&link);
    let caller = address("203.0.113.7");
    for _ in 0..5 {
        let decision = limits
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap();
        assert!(is_admitted(&decision));
    }
    server.run();
    assert!(becomes(&link, true).await < SOON);
    assert!(limits.is_exact());
    keeper.abort();
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_is_left_and_joined_without_a_request() {
    let mut server = Redis::start();
    let link = link(&server).await;
    let keeper = keep(&link);
    server.kill();
    becomes(&link, false).await;
    server.run();
    assert!(becomes(&link, true).await < SOON);
    keeper.abort();
}

/// Tokio's time stands still here except for timers: what a request waits for is exact on any machine.
#[tokio::test]
async fn a_request_waits_fifty_milliseconds_for_a_paused_server_and_the_next_ones_do_not_wait() {
    let server = Redis::start();
    let link = unconnected(&server);
    link.join().await.unwrap();
    let keeper = keep(&link);
    let limits = limits_of(2, &link, OnFailure::Local);
    let ask = async || {
        let start = Instant::now();
        let caller = address("203.0.113.7");
        limits
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap();
        start.elapsed()
    };
    ask().await;
    server.signal("STOP");
    tokio::time::pause();
    let first = ask().await;
    assert!((50..=60).contains(&first.as_millis()), "{first:?}");
    assert!(!link.is_up());
    // At once, and at every moment of the two seconds in which the server is probed.
    for _ in 0..200 {
        assert_eq!(ask().await, Duration::ZERO);
        assert!(!link.is_up());
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    tokio::time::resume();
    server.signal("CONT");
    assert!(becomes(&link, true).await < SOON);
    keeper.abort();
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_receives_them_again_unnoticed() {
    for program in [REDIS, VALKEY] {
        let server = Redis::start_of(program);
        let link = link(&server).await;
        let limits = limits_of(1, &link, OnFailure::Deny);
        let caller = address("203.0.113.7");
        let mut admitted = 0;
        for _ in 0..20 {
            assert_eq!(server.ask::<String>(&["SCRIPT", "FLUSH"]).unwrap(), "OK");
            let decision = limits
                .decide(Some(party(caller)), &all(caller))
                .await
                .unwrap();
            admitted += u32::from(is_admitted(&decision));
        }
        assert_eq!(admitted, 10);
        assert!(link.is_up());
    }
}

/// Returns what the server says of the scripts that it was asked to run.
fn scripts(server: &Redis) -> String {
    let stats: String = server.ask(&["INFO", "commandstats"]).unwrap();
    let mut lines = stats.lines();
    let evalsha = lines.find(|line| line.starts_with("cmdstat_evalsha:"));
    evalsha.unwrap_or_default().to_owned()
}

/// Makes it refuse writes, sees that it is left, and joined again once it takes them.
async fn refuses_writes(server: &Redis, (refuse, take): (&[&str], &[&str])) {
    let link = link(server).await;
    let keeper = keep(&link);
    let limits = limits_of(2, &link, OnFailure::Local);
    let caller = address("203.0.113.7");
    let mut admitted = 0;
    assert_eq!(server.ask::<String>(refuse).unwrap(), "OK");
    for _ in 0..20 {
        let decision = limits
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap();
        admitted += u32::from(is_admitted(&decision));
    }
    assert_eq!(admitted, 5, "its share");
    assert!(!link.is_up());
    for _ in 0..2 {
        let before = scripts(server);
        let looks = async || scripts(server) != before;
        eventually("the link looks for the server", PATIENCE, looks).await;
        assert!(!link.is_up(), "it answers, but is of no use");
    }
    assert_eq!(server.ask::<String>(take).unwrap(), "OK");
    assert!(becomes(&link, true).await < SOON);
    keeper.abort();
}

#[tokio::test]
async fn a_full_server_counts_as_gone() {
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    let roomy = ["CONFIG", "SET", "maxmemory", "0"];
    for program in [REDIS, VALKEY] {
        refuses_writes(&Redis::start_of(program), (&full, &roomy)).await;
    }
}

#[tokio::test]
async fn a_read_only_server_counts_as_gone() {
    let read_only = ["REPLICAOF", "127.0.0.1", "1"];
    let master = ["REPLICAOF", "NO", "ONE"];
    for program in [REDIS, VALKEY] {
        refuses_writes(&Redis::start_of(program), (&read_only, &master)).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_outage_and_a_right_one_is_none() {
    let server = Redis::start();
    let set = server.ask::<String>(&["CONFIG", "SET", "requirepass", "hunter2"]);
    assert_eq!(set.unwrap(), "OK");
    let with = |password: &str| {
        server
            .url()
            .replace("redis://", &format!("redis://:{password}@"))
    };
    let wrong = Link::new(&with("hunter1")).unwrap();
    let error = wrong.join().await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter"));
    Link::new(&with("hunter2")).unwrap().join().await.unwrap();
}

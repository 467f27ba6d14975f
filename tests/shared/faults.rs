//! A server that is absent, killed, paused, full, read-only or forgetful.

use std::sync::Arc;
use std::time::{Duration, Instant};

use token_broker::config::OnFailure;
use token_broker::gate::windows::Windows;
use token_broker::gate::windows::redis::Link;

use crate::outage::limits_of;
use crate::server::{REDIS, Server, VALKEY};
use crate::stage::{address, all, is_admitted, link, party};

/// Waits until the link is up or not; how long that took.
async fn becomes(link: &Link, up: bool) -> Duration {
    let start = Instant::now();
    while link.is_up() != up {
        assert!(start.elapsed() < Duration::from_secs(20), "it never does");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

/// Something in the background that keeps the link alive.
fn keep(link: &Arc<Link>) -> tokio::task::AbortHandle {
    let link = Arc::clone(link);
    tokio::spawn(async move { link.keep(async |_| {}).await }).abort_handle()
}

fn unconnected(server: &Server) -> Arc<Link> {
    Arc::new(Link::new(&server.url()).unwrap())
}

#[tokio::test]
async fn absent_at_the_start_it_is_joined_within_five_seconds_of_its_coming() {
    let mut server = Server::absent();
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
    assert!(becomes(&link, true).await < Duration::from_secs(5));
    assert!(limits.is_exact());
    keeper.abort();
}

#[tokio::test]
async fn killed_and_started_again_it_is_left_and_joined_without_anybody_asking() {
    let mut server = Server::start();
    let link = link(&server).await;
    let keeper = keep(&link);
    server.kill();
    becomes(&link, false).await;
    server.run();
    assert!(becomes(&link, true).await < Duration::from_secs(5));
    keeper.abort();
}

#[tokio::test]
async fn paused_it_costs_a_request_no_more_than_sixty_milliseconds_and_the_next_nothing() {
    let server = Server::start();
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
    let (mut first, mut later) = (Duration::MAX, Duration::MAX);
    // The best of three rounds: a busy machine adds to it whatever it likes.
    for _ in 0..3 {
        ask().await;
        server.signal("STOP");
        let asked = ask().await;
        assert!(asked >= Duration::from_millis(50), "{asked:?}: it waited");
        assert!(!link.is_up());
        first = first.min(asked);
        let mut longest = ask().await;
        // While the server is being looked for, too.
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        longest = longest.max(ask().await);
        later = later.min(longest);
        server.signal("CONT");
        assert!(becomes(&link, true).await < Duration::from_secs(5));
    }
    assert!(first <= Duration::from_millis(60), "{first:?}");
    assert!(later <= Duration::from_millis(10), "{later:?}");
    keeper.abort();
}

#[tokio::test]
async fn forgotten_scripts_are_given_to_it_again_unnoticed() {
    for program in [REDIS, VALKEY] {
        let server = Server::start_of(program);
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

/// Makes it refuse writes, sees that it is left, and joined again once it takes them.
async fn refuses_writes(server: &Server, (refuse, take): (&[&str], &[&str])) {
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
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(!link.is_up(), "it answers, but is of no use");
    assert_eq!(server.ask::<String>(take).unwrap(), "OK");
    assert!(becomes(&link, true).await < Duration::from_secs(5));
    keeper.abort();
}

#[tokio::test]
async fn full_it_is_as_good_as_gone() {
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    let roomy = ["CONFIG", "SET", "maxmemory", "0"];
    for program in [REDIS, VALKEY] {
        refuses_writes(&Server::start_of(program), (&full, &roomy)).await;
    }
}

#[tokio::test]
async fn read_only_it_is_as_good_as_gone() {
    let read_only = ["REPLICAOF", "127.0.0.1", "1"];
    let master = ["REPLICAOF", "NO", "ONE"];
    for program in [REDIS, VALKEY] {
        refuses_writes(&Server::start_of(program), (&read_only, &master)).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_outage_and_a_right_one_is_none() {
    let server = Server::start();
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

//! An upstream that is gone for a while, and one that is asked for more than it may.

use std::sync::Arc;
use std::time::Duration;

use token_broker::simulator::{Fault, Times};
use token_broker::upstream::UpstreamError;
use tokio::time::Instant;

use crate::harness::Door;

#[tokio::test]
async fn an_outage_is_noticed_after_five_failures_looked_at_once_every_two_seconds_and_over_at_the_first_success()
 {
    let door = Door::open().await;
    door.simulator
        .fail("503".parse::<Fault>().unwrap(), Times::UntilCleared);
    while !matches!(door.mint().await, Err(UpstreamError::Resting { .. })) {}
    assert!(
        door.simulator.seen() <= 6,
        "{} requests reached a dead upstream",
        door.simulator.seen()
    );

    let before = door.simulator.seen();
    for _ in 0..60 {
        door.advance(1000);
        for _ in 0..10 {
            let started = Instant::now();
            let error = door.mint().await.unwrap_err();
            let resting = matches!(error, UpstreamError::Resting { .. });
            assert!(!resting || error.retry_after().unwrap() <= Duration::from_secs(2));
            assert!(
                !resting || started.elapsed() < Duration::from_millis(500),
                "refused at once"
            );
        }
    }
    let looks = door.simulator.seen() - before;
    assert!((25..=35).contains(&looks), "{looks} looks in a minute");

    door.simulator.clear();
    door.advance(2000);
    for _ in 0..20 {
        door.mint().await.unwrap();
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_is_left_alone_too() {
    let door = Door::with(&[("upstream.timeout", "100ms")]).await;
    door.simulator.fail(Fault::Hang, Times::UntilCleared);
    for _ in 0..5 {
        assert!(matches!(door.mint().await, Err(UpstreamError::TimedOut)));
    }
    assert!(matches!(
        door.mint().await,
        Err(UpstreamError::Resting { .. })
    ));
}

#[tokio::test]
async fn more_than_the_pace_waits_shortly_in_bounded_company_and_is_then_refused() {
    let door = Arc::new(
        Door::with(&[
            ("upstream.mints_per_second", "20"),
            ("upstream.max_wait", "200ms"),
        ])
        .await,
    );
    let started = Instant::now();
    let mints: Vec<_> = (0..200)
        .map(|_| {
            let door = Arc::clone(&door);
            tokio::spawn(async move { door.mint().await.map(|_| ()) })
        })
        .collect();
    let mut refused = 0;
    for mint in mints {
        match mint.await.unwrap() {
            Ok(()) => {}
            Err(UpstreamError::Overloaded { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(
        door.simulator.minted() <= 26,
        "{} mints in a fifth of a second",
        door.simulator.minted()
    );
    assert_eq!(refused, 200 - door.simulator.minted());
}

#[tokio::test]
async fn a_slow_upstream_is_asked_for_no_more_than_there_is_room_for() {
    let door = Arc::new(
        Door::with(&[
            ("upstream.max_in_flight", "10"),
            ("upstream.max_wait", "50ms"),
        ])
        .await,
    );
    door.simulator
        .fail(Fault::Slow(Duration::from_millis(500)), Times::UntilCleared);
    let started = Instant::now();
    let mints: Vec<_> = (0..40)
        .map(|_| {
            let door = Arc::clone(&door);
            tokio::spawn(async move { (door.mint().await.is_ok(), Instant::now()) })
        })
        .collect();
    let mut minted = 0;
    for mint in mints {
        let (ok, at) = mint.await.unwrap();
        minted += u32::from(ok);
        assert!(
            ok || at.duration_since(started) < Duration::from_millis(300),
            "the excess is refused quickly"
        );
    }
    assert_eq!((minted, door.simulator.seen()), (10, 10));
}

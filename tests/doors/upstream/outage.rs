//! An upstream that is gone for a while, and one that is asked for more than it may.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::Clock;
use token_broker::domain::{Naming, Party};
use token_broker::upstream::{Payer, UpstreamError};
use tokio::task::JoinSet;

use super::Door;
use crate::kit::waiting::until;

#[tokio::test]
async fn an_outage_is_noticed_after_five_failures_looked_at_once_every_two_seconds_and_over_at_the_first_success()
 {
    let door = Door::open().await;
    door.simulator.plan("503".parse().unwrap());
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
            let started = door.clock.tick();
            let error = door.mint().await.unwrap_err();
            let resting = matches!(error, UpstreamError::Resting { .. });
            assert!(!resting || error.facts().wait <= Duration::from_secs(2));
            assert_eq!(door.clock.tick(), started, "refused at once");
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
    let door = Door::open().await;
    door.simulator.plan("hang".parse().unwrap());
    for _ in 0..5 {
        let error = door.mint_past_the_deadline().await.unwrap_err();
        assert!(matches!(error, UpstreamError::TimedOut));
    }
    assert!(matches!(
        door.mint().await,
        Err(UpstreamError::Resting { .. })
    ));
}

/// Starts `count` mints at once, each of an identity of its own.
fn crowd(door: &Arc<Door>, count: usize) -> JoinSet<Result<(), UpstreamError>> {
    let mut mints = JoinSet::new();
    for number in 0..count {
        let (door, mut order) = (Arc::clone(door), door.order.clone());
        let account = Naming::Plain.account(&"https://id.example.com/".into(), &number.to_string());
        order.behalf = Party::Identity(account.key());
        mints.spawn(async move {
            let turn = door.upstream.turn(order.behalf, Payer::default()).await?;
            door.upstream.mint(&order, turn).await.map(|_| ())
        });
    }
    mints
}

fn refused(outcomes: &[Result<(), UpstreamError>]) -> usize {
    let is_busy = |outcome: &&Result<(), UpstreamError>| match outcome {
        Ok(()) => false,
        Err(UpstreamError::Overloaded { .. }) => true,
        Err(other) => panic!("{other}"),
    };
    outcomes.iter().filter(is_busy).count()
}

#[tokio::test]
async fn more_than_the_pace_waits_shortly_in_bounded_company_and_is_then_refused() {
    let settings = [
        ("upstream.mints_per_second", "20"),
        ("upstream.max_wait", "200ms"),
    ];
    let door = Arc::new(Door::with(&settings).await);
    let mints = crowd(&door, 200);
    let turning = async {
        // 20 at once, and one every 50 ms.
        for step in 0..4 {
            until("a mint", || door.simulator.minted() == 20 + step).await;
            door.clock.awaited(Duration::from_millis(50)).await;
            door.advance(50);
        }
    };
    let (outcomes, ()) = tokio::join!(mints.join_all(), turning);
    assert_eq!((refused(&outcomes), door.simulator.minted()), (176, 24));
}

#[tokio::test]
async fn a_slow_upstream_is_asked_for_no_more_than_there_is_room_for() {
    let settings = [
        ("upstream.max_in_flight", "10"),
        ("upstream.max_wait", "50ms"),
    ];
    let door = Arc::new(Door::with(&settings).await);
    door.simulator.plan("hang".parse().unwrap());
    let mut mints = crowd(&door, 40);
    until("ten mints", || door.simulator.seen() == 10).await;
    door.clock.awaited(Duration::from_millis(50)).await;
    door.advance(50);
    let mut early = Vec::new();
    while early.len() < 30 {
        early.push(mints.join_next().await.unwrap().unwrap());
    }
    assert_eq!(refused(&early), 30, "the excess is refused quickly");
    assert_eq!((mints.len(), door.simulator.seen()), (10, 10));
}

//! Replicas on PostgreSQL: whoever dies or sleeps is replaced, and nothing is done twice.

use std::time::Duration;

use futures_util::future::join_all;
use token_broker::clock::{Clock, SystemClock};
use token_broker::simulator::Simulator;
use tokio::time::Instant;

use super::{CALL, Up, offer};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::unlimited;
use crate::kit::postgres::empty_database;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, amid_the_work, eventually, until};

/// The lease of a replica, and the time until another one looks for it, with some room for a busy machine.
const REPLACED: Duration = Duration::from_secs(35);
/// The time for which a replica sleeps. It is longer than it may watch a silent call.
const SLEEPS: Duration = Duration::from_secs(63);

async fn replica(database: &str, simulator: &Simulator) -> Broker {
    let launch = Launch::of(&["serve", "--config", "settings.toml"]);
    let launch = launch
        .file("settings.toml", &unlimited())
        .env("DATABASE_URL", database);
    let launch = launch.towards(&simulator.base_url());
    launch.set("call.max_duration", "82s").start().await
}

/// Of three replicas, one is killed and one sleeps for a minute. The third one takes over, and ends the calls in time.
#[tokio::test]
async fn sd17_sd18_calls_of_a_replica_that_is_killed_or_sleeps_are_taken_over_and_ended_once() {
    let (simulator, database) = (simulator(&[]).await, empty_database().await);
    let migrated = Launch::of(&["migrate"]).env("DATABASE_URL", &database);
    assert_eq!(migrated.finish().await.code, Some(0));
    let dies = replica(&database, &simulator).await;
    let sleeps = replica(&database, &simulator).await;
    let stays = replica(&database, &simulator).await;
    let of_dead = Up::of(&dies, &student("ana")).await;
    let of_sleeping = Up::of(&sleeps, &student("ben")).await;
    let calls = [&of_dead, &of_sleeping];
    for call in calls {
        call.speak(&simulator);
        // The first sign of life is written down.
        let is_joined = async || call.look(&stays).await["revision"].as_u64() >= Some(2);
        eventually("the page has joined", PATIENCE, is_joined).await;
    }

    let began = Instant::now();
    sleeps.running.signal("STOP");
    dies.kill().await;
    // The side channel of the sleeping replica stays open.
    let are_watched = async || {
        let seen = calls.map(|call| call.seen(&simulator));
        seen[0].joins == 2 && seen[0].side_channels == 1 && seen[1].side_channels == 2
    };
    let took = eventually("another replica takes over", REPLACED, are_watched).await;
    println!("taken over after {took:?}");
    for call in calls {
        // Whoever watches now hears this, and whoever sleeps does not.
        call.speak(&simulator);
    }
    assert!(simulator.calls().hang_ups().is_empty());

    let left = SLEEPS.saturating_sub(began.elapsed());
    // Whoever sleeps longer than this wakes to a call that seems silent.
    amid_the_work(u64::try_from(left.as_millis()).unwrap()).await;
    sleeps.running.signal("CONT");
    let left = || of_sleeping.seen(&simulator).side_channels == 1;
    until("the replica that slept has left the call", left).await;
    for call in calls {
        assert_eq!(call.look(&sleeps).await["state"], "open");
        assert_eq!(call.hang_ups(&simulator), 0);
    }
    for call in calls {
        call.ends_in_time(&simulator).await;
        assert_eq!(call.reason(&sleeps).await, "time_limit");
    }
    until("the audit log", || stays.events("call_ended").len() == 2).await;
    assert!(sleeps.events("call_ended").is_empty());
    let over = SystemClock::new().now().as_millis();
    assert!(over >= of_dead.ends_at);
    for broker in [sleeps, stays] {
        assert_eq!(broker.stop().await.code, Some(0));
    }
    assert_eq!(simulator.calls().hang_ups().len(), 2);
}

/// Replicas on one database redeem a ticket once, however many pages show it at a time.
#[tokio::test]
async fn ti4_of_a_hundred_redemptions_at_once_over_two_replicas_one_opens_a_call() {
    let (simulator, database) = (simulator(&[]).await, empty_database().await);
    let migrated = Launch::of(&["migrate"]).env("DATABASE_URL", &database);
    assert_eq!(migrated.finish().await.code, Some(0));
    let one = replica(&database, &simulator).await;
    let two = replica(&database, &simulator).await;
    let mint = one
        .post("/token")
        .header("content-type", "application/json")
        .body(CALL);
    let minted = Answer::to(mint.bearer_auth(student("ana"))).await.json;
    assert!(
        minted["connect"]["calls"]
            .as_str()
            .unwrap()
            .ends_with("/calls")
    );
    let ticket = minted["token"].as_str().unwrap();
    let redeem = async |number: usize| {
        let broker = if number.is_multiple_of(2) { &one } else { &two };
        Answer::to(offer(broker).bearer_auth(ticket)).await
    };
    let answers = join_all((0..100).map(redeem)).await;
    let (opened, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(opened.len(), 1, "{refused:?}");
    // Those that had to wait too long for their turn are told so.
    let is_told = |answer: &Answer| [409, 503].contains(&answer.status);
    assert!(refused.iter().all(is_told), "{refused:?}");
    assert_eq!(simulator.calls().open(), 1);
    let used = Answer::to(offer(&two).bearer_auth(ticket)).await;
    used.is(409, "ticket_used");
}

//! Calls outlive their broker: killed at any moment, or stopped in good order.

use std::time::Duration;

use token_broker::clock::{Clock, SystemClock};
use tokio::time::{Instant, timeout};

use super::{Up, a_moment, serve};
use crate::kit::answer::Answer;
use crate::kit::executable::student;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually, until};
use crate::ledger_file::Books;

/// A call is watched again so soon after the start.
const SOON_WATCHED: Duration = Duration::from_secs(10);

/// Most of the time is waiting, so the scenes are played side by side.
#[tokio::test]
async fn sd15_sd16_ob4_calls_outlive_their_broker_and_keep_their_deadlines() {
    tokio::join!(
        killed_and_started_again(),
        killed_and_started_after_the_deadline(),
        stopped_and_started_again()
    );
}

async fn killed_and_started_again() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = serve(&books, &simulator).start().await;
    let call = Up::of(&broker, &student("ana")).await;
    call.speak(&simulator);
    // The row says that the page has joined.
    until("the call is joined", || call.seen(&simulator).joins == 1).await;
    broker.kill().await;
    until("its side channel is gone", || {
        call.seen(&simulator).side_channels == 0
    })
    .await;
    assert!(call.seen(&simulator).is_open);
    let broker = serve(&books, &simulator).start().await;
    let began = Instant::now();
    let is_asserted = || {
        let seen = call.seen(&simulator);
        let updates = seen.received.iter();
        let updates = updates.filter(|event| event["type"] == "session.update");
        seen.side_channels == 1 && updates.count() == 2
    };
    until("it is watched again", is_asserted).await;
    assert!(began.elapsed() <= SOON_WATCHED, "{:?}", began.elapsed());
    let found = call.look(&broker).await;
    assert_eq!(found["state"], "open", "{found}");
    call.ends_in_time(&simulator).await;
    assert_eq!(call.reason(&broker).await, "time_limit");
    until("the audit log", || broker.events("call_ended").len() == 1).await;
    broker.stop().await;
}

async fn killed_and_started_after_the_deadline() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = serve(&books, &simulator).start().await;
    let call = Up::of(&broker, &student("ana")).await;
    broker.kill().await;
    let clock = SystemClock::new();
    let is_over = || clock.now().as_millis() > call.ends_at + 500;
    until("its deadline passes while there is no broker", is_over).await;
    assert!(call.seen(&simulator).is_open);
    let broker = serve(&books, &simulator).start().await;
    let began = Instant::now();
    until("the end of the call", || !call.seen(&simulator).is_open).await;
    assert!(began.elapsed() <= SOON_WATCHED, "{:?}", began.elapsed());
    assert_eq!(call.reason(&broker).await, "time_limit");
    assert_eq!(call.hang_ups(&simulator), 1);
    broker.stop().await;
}

async fn stopped_and_started_again() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut broker = serve(&books, &simulator).start().await;
    let mut calls = Vec::new();
    for name in ["ana", "ben", "cem", "dua", "eva"] {
        calls.push(Up::of(&broker, &student(name)).await);
    }
    for call in &calls {
        call.speak(&simulator);
    }
    for _ in 0..2 {
        broker.running.signal("TERM");
        let ended = broker.running.end(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(simulator.calls().open(), calls.len());
        broker = serve(&books, &simulator).start().await;
        let began = Instant::now();
        let are_watched = || {
            let mut seen = calls.iter().map(|call| call.seen(&simulator));
            seen.all(|seen| seen.side_channels == 1)
        };
        until("all are watched again", are_watched).await;
        assert!(began.elapsed() <= SOON_WATCHED, "{:?}", began.elapsed());
    }
    assert!(simulator.calls().hang_ups().is_empty());
    let gone = calls.pop().unwrap();
    assert_eq!(gone.hang_up(&broker).await["reason"], "hung_up");
    assert!(!gone.seen(&simulator).is_open);
    for call in &calls {
        call.ends_in_time(&simulator).await;
        assert_eq!(call.reason(&broker).await, "time_limit");
    }
    until("the audit log", || broker.events("call_ended").len() == 5).await;
    broker.stop().await;
}

#[tokio::test]
async fn sd15_a_kill_at_any_moment_leaves_no_call_that_nobody_ends() {
    killed_again_and_again(5).await;
}

/// Kills the broker while calls are opened, watched and hung up. In the end every call that the provider has is over, but
/// for those whose exchange the kill has cut: nobody knows of them, and the provider ends them.
async fn killed_again_and_again(rounds: u64) {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut broker = serve(&books, &simulator).start().await;
    for round in 0..rounds {
        let stays = Up::of(&broker, &student("ana")).await;
        let leaves = Up::of(&broker, &student("ben")).await;
        let hang_up = broker.post(&format!("{}/hangup", leaves.path));
        let hang_up = tokio::spawn(hang_up.bearer_auth(&leaves.bearer).send());
        let dial = super::offer(&broker).bearer_auth(student("cem"));
        let dial = tokio::spawn(Answer::to_any(dial));
        a_moment(round).await;
        broker.kill().await;
        // Cut or answered: both are fine.
        let _ = hang_up.await.unwrap();
        let dialled = dial.await.unwrap();
        broker = serve(&books, &simulator).start().await;
        let is_watched = || stays.seen(&simulator).side_channels == 1;
        until("it is watched again", is_watched).await;
        let mut answered = vec![stays, leaves];
        if let Some(answer) = dialled {
            answered.push(Up::by(&answer, &student("cem")));
        }
        for call in &answered {
            call.hang_up(&broker).await;
            until("the end of the call", || !call.seen(&simulator).is_open).await;
        }
    }
    let live = "SELECT COUNT(*) FROM calls WHERE state NOT IN ('ended', 'lost')";
    let none_is_left = async || books.number(live).await == 0;
    eventually("no call is left to be ended", PATIENCE, none_is_left).await;
    broker.stop().await;
}

#[tokio::test]
async fn sd15_a_call_whose_broker_is_killed_while_it_joins_is_hung_up_by_the_next_run() {
    let (simulator, books) = (simulator(&["join+1xhang"]).await, Books::new());
    let broker = serve(&books, &simulator).start().await;
    let dial = super::offer(&broker).bearer_auth(student("ana"));
    let dial = tokio::spawn(Answer::to_any(dial));
    // The id is written down whatever becomes of the side channel.
    let named = "SELECT COUNT(*) FROM calls WHERE state = 'dialling' AND upstream IS NOT NULL";
    let is_named = async || books.number(named).await == 1;
    eventually("the id is written down", PATIENCE, is_named).await;
    broker.kill().await;
    assert!(dial.await.unwrap().is_none(), "nobody gets an answer");
    assert_eq!(simulator.calls().open(), 1);
    let broker = serve(&books, &simulator).start().await;
    until("the end of the call", || simulator.calls().open() == 0).await;
    assert_eq!(simulator.calls().hang_ups().len(), 1);
    broker.stop().await;
}

#[tokio::test]
async fn sd15_nobody_gets_the_answer_of_a_call_whose_id_is_not_written_down() {
    let (simulator, books) = (simulator(&["calls+1xslow:1s"]).await, Books::new());
    let broker = serve(&books, &simulator).start().await;
    let dial = super::offer(&broker).bearer_auth(student("ana"));
    let mut dial = tokio::spawn(Answer::to_any(dial));
    let calls = simulator.calls();
    until("the call is dialled", || calls.requests().len() == 1).await;
    let mut other = books.open().await;
    let lock = sqlx::query("BEGIN IMMEDIATE");
    lock.execute(&mut other).await.unwrap();
    until("the side channel is joined", || {
        calls.all().iter().any(|call| call.side_channels == 1)
    })
    .await;
    // The database takes nothing for a while, so that only the answer could come.
    let answered = timeout(Duration::from_millis(300), &mut dial).await;
    assert!(answered.is_err(), "{answered:?}");
    broker.kill().await;
    assert!(dial.await.unwrap().is_none());
    drop(other);
    let broker = serve(&books, &simulator).start().await;
    let lost = "SELECT COUNT(*) FROM calls WHERE state = 'lost' AND upstream IS NULL";
    let is_lost = async || books.number(lost).await == 1;
    eventually("the call is given up", PATIENCE, is_lost).await;
    broker.stop().await;
}

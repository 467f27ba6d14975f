//! A broker that is killed two hundred times while a hundred calls are up. Minutes long, so not run by default.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use token_broker::clock::{Clock, SystemClock};
use token_broker::simulator::Simulator;

use super::{Up, kill, serve};
use crate::kit::executable::{Broker, student};
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, amid_the_work, eventually, until};
use crate::ledger_file::Books;

/// Calls that are up at each kill.
const UP: usize = 100;
/// How long each call lives.
const LIVES: Duration = Duration::from_secs(30);
/// Calls that are opened at a time.
const AT_ONCE: usize = 8;
/// Calls in which somebody speaks in each round.
const SPEAK: usize = 5;
/// How late the end of a call may be, after its deadline or after the start, in milliseconds.
const LATE: u64 = 2_000;

/// `KILLS=20` kills less often.
fn kills() -> u64 {
    let asked = std::env::var("KILLS").ok();
    asked.map_or(200, |text| text.parse().unwrap())
}

fn now() -> u64 {
    SystemClock::new().now().as_millis()
}

/// Opens as many calls as are missing.
async fn fill(broker: &Broker, up: &mut Vec<Up>) {
    let missing = UP - up.len();
    let dials = stream::iter(0..missing).map(async |number| {
        let bearer = student(&format!("caller-{}", number % 20));
        Up::of(broker, &bearer).await
    });
    up.extend(dials.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
}

/// How late a call has ended: after its deadline, or after the broker was there again.
fn lateness(call: &Up, simulator: &Simulator, starts: &[u64]) -> u64 {
    let ended = call.seen(simulator).ended_at.unwrap().as_millis();
    let started = starts.iter().rfind(|start| **start <= ended);
    ended.saturating_sub(call.ends_at.max(*started.unwrap()))
}

/// The answers that the records have counted as measured.
async fn measured(books: &Books) -> i64 {
    let question = "SELECT COUNT(*) FROM call_uses WHERE mark = 'measured' AND turns = 1";
    books.number(question).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: scripts/bench.sh --calls"]
async fn sd15_two_hundred_kills_with_a_hundred_calls_up_lose_no_call_and_no_use() {
    let (simulator, books, kills) = (simulator(&[]).await, Books::new(), kills());
    let launch = || {
        serve(&books, &simulator)
            .set("call.max_duration", &format!("{}s", LIVES.as_secs()))
            .set("call.idle_timeout", "1h")
            .set("call.join_timeout", "600s")
            .set("limits.verified_address", "1000000/60s")
            .set("limits.identity", "100000/1h")
            .set("upstream.mints_per_second", "100000")
    };
    let mut broker = launch().start().await;
    let (mut starts, mut up, mut all) = (vec![now()], Vec::new(), HashMap::new());
    let (mut certain, mut played) = (0, 0);
    for round in 0..kills {
        fill(&broker, &mut up).await;
        all.extend(up.iter().map(|call: &Up| (call.id.clone(), call.clone())));
        for call in up.iter().rev().take(SPEAK) {
            call.speak(&simulator);
        }
        played += SPEAK;
        if round % 2 == 0 {
            // These are counted before the kill, and the others may be.
            certain += SPEAK;
            let enough = i64::try_from(certain).unwrap();
            eventually("the use is counted", PATIENCE, async || {
                measured(&books).await >= enough
            })
            .await;
        } else {
            amid_the_work(round * 7 % 53).await;
        }
        kill(broker).await;
        broker = launch().start().await;
        starts.push(now());
        until("all that run are watched again", || {
            let seen = up.iter().map(|call| call.seen(&simulator));
            let mut open = seen.filter(|seen| seen.is_open);
            open.all(|seen| seen.side_channels == 1)
        })
        .await;
        up.retain(|call| call.seen(&simulator).is_open);
    }
    let are_over = async || simulator.calls().open() == 0;
    eventually("all calls are over", LIVES + PATIENCE, are_over).await;
    let latest = all.values().map(|call| lateness(call, &simulator, &starts));
    let latest = latest.max().unwrap();
    let counted = usize::try_from(measured(&books).await).unwrap();
    println!(
        "{kills} kills with {UP} calls up, {} calls in all: the latest end {latest} ms after its deadline or the start; \
         of {played} answers {counted} were measured once, {certain} of them before a kill",
        all.len()
    );
    broker.stop().await;
    assert!((certain..=played).contains(&counted), "{counted}");
    assert!(latest <= LATE, "{latest} ms");
}

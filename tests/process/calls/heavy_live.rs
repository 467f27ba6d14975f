//! What a hundred GPT-Live calls cost while the provider reflects all their audio to the broker, 128 kB a second for each: set-up,
//! memory, processor. TLS to the provider, as in production. A minute long, so not run by default.

use std::sync::Arc;
use std::time::Duration;

use token_broker::simulator::Simulator;
use tokio::time::Instant;

use super::heavy::{before, open, set_up};
use super::{Up, of_live};
use crate::kit::executable::Broker;
use crate::kit::memory::{processor, resident};
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually};
use crate::ledger_file::Books;

/// How long the audio is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// How long each call lives: longer than all are opened and watched.
const LIVES: Duration = Duration::from_mins(3);
/// How much memory may grow while nothing but audio comes, in bytes for each call.
const GROWS: u64 = 64 * 1024;

/// `CALLS=20` opens fewer calls than a hundred.
fn number() -> usize {
    let asked = std::env::var("CALLS").ok();
    asked.map_or(100, |text| text.parse().unwrap())
}

/// Lets nothing but audio come for a while, and prints what that costs. Returns by how much the memory has grown.
async fn listen(broker: &Broker, simulator: &Simulator, calls: &[Up]) -> u64 {
    let pid = broker.running.pid();
    let age = || calls[0].seen(simulator).live_seconds;
    let (before, began, used) = (resident(pid), Instant::now(), processor(pid));
    let end = age() + WATCHED.as_secs_f64();
    eventually("enough audio", WATCHED + PATIENCE, async || age() >= end).await;
    let used = processor(pid).saturating_sub(used).as_secs_f64();
    let share = 100.0 * used / began.elapsed().as_secs_f64();
    let grown = resident(pid).saturating_sub(before);
    println!(
        "audio reflected in {} calls: {share:.1} % of a core, {:.2} % for each; memory from {} to {} KiB",
        calls.len(),
        share / f64::from(u32::try_from(calls.len()).unwrap()),
        before / 1024,
        resident(pid) / 1024,
    );
    grown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: scripts/bench.sh --live"]
async fn lv12_a_hundred_calls_with_reflected_audio_cost_little_and_their_memory_is_flat() {
    let (simulator, books) = (Arc::new(simulator(&[]).await), Books::new());
    let number = number();
    let launch = of_live(before(&simulator, &books, LIVES).await);
    let broker = launch.start().await;
    set_up(&broker).await;
    let calls = open(&broker, number).await;
    let grown = listen(&broker, &simulator, &calls).await;
    for call in &calls {
        call.hang_up(&broker).await;
    }
    let are_over = async || simulator.calls().open() == 0;
    eventually("all calls are over", PATIENCE, are_over).await;
    broker.stop().await;
    assert!(grown <= GROWS * number as u64, "{grown} bytes");
}

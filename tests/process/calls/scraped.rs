//! What a scrape costs beside ten thousand live calls, and what the page of live calls does. Minutes long, so not run by default.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::heavy::{crowded, number, open};
use crate::dev_desk::Desk;
use crate::kit::http::keeping_client;
use crate::kit::memory::processor;
use crate::kit::programs::free_address;
use crate::kit::provider::simulator;
use crate::ledger_file::Books;
use crate::ops_load::{TOKEN, scrape};

/// Rounds, each with and without scrapes, in turn.
const ROUNDS: usize = 5;
const SCRAPES: u32 = 20;
/// The most processor time of a scrape.
const MOST: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, 15,000 file handles: scripts/bench.sh --ops"]
async fn a_scrape_beside_ten_thousand_live_calls_takes_at_most_fifty_milliseconds() {
    let (simulator, books, number) = (Arc::new(simulator(&[]).await), Books::new(), number());
    let address = free_address().to_string();
    let broker = crowded(&books, &simulator, Duration::from_hours(1))
        .set("ops.token", TOKEN)
        .set("ops.listen", &address)
        .start()
        .await;
    let home = format!("http://{address}/");
    let calls = open(&broker, number).await;
    let (client, pid) = (keeping_client(), broker.running.pid());
    let desk = Desk::enter(home.clone(), TOKEN).await;
    let mut costs = Vec::new();
    let mut length = 0;
    for _ in 0..ROUNDS {
        let (began, before) = (Instant::now(), processor(pid));
        for _ in 0..SCRAPES {
            length = scrape(&client, &home).await;
        }
        let (lasted, with) = (began.elapsed(), processor(pid).saturating_sub(before));
        let before = processor(pid);
        // What the calls cost in the same time without scrapes.
        sleep(lasted).await;
        let without = processor(pid).saturating_sub(before);
        costs.push(with.saturating_sub(without) / SCRAPES);
    }
    costs.sort_unstable();
    let cost = costs[ROUNDS / 2];
    println!("a scrape of {length} bytes beside {number} live calls: {cost:?} (goal {MOST:?})");
    let (began, before) = (Instant::now(), processor(pid));
    let page = desk.read("pages/calls").await;
    println!(
        "the page of live calls: {} bytes in {:?}, {:?} of processor",
        page.text.len(),
        began.elapsed(),
        processor(pid).saturating_sub(before)
    );
    for call in calls.iter().take(1) {
        assert_eq!(call.look(&broker).await["state"], "open");
    }
    broker.stop().await;
    assert!(cost <= MOST, "{costs:?}");
}

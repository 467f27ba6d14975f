//! Killed at any moment, the broker has recorded every client secret that anybody got.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Client;
use token_broker::simulator::Simulator;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::books::Books;
use super::harness::{Broker, PATIENCE, simulator, until};
use super::http::client;
use super::people::student;

/// Callers at the same time, and most requests under way.
const CALLERS: usize = 64;
/// Longest time until the kill, in milliseconds after the first answer.
const LONGEST: u64 = 250;

/// The names of all requests that were answered with 200, as their callers saw them.
type Journal = Arc<Mutex<Vec<String>>>;

/// What became of some rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    seen: usize,
    rows: usize,
    left_pending: usize,
    most_left_pending: usize,
}

/// Mints until the broker is gone. An answer counts from its first line: the client secret may have been in it.
async fn call(client: Client, (url, bearer): (String, String), journal: Journal) {
    loop {
        let request = client.post(&url).bearer_auth(&bearer);
        let Ok(response) = request.send().await else {
            return;
        };
        assert_eq!(response.status(), 200);
        let name = response.headers()["x-request-id"].to_str().unwrap();
        journal.lock().unwrap().push(name.to_owned());
        if response.bytes().await.is_err() {
            return;
        }
    }
}

/// Any number below `bound`.
fn any(bound: u64) -> u64 {
    RandomState::new().hash_one(bound) % bound
}

/// Lets everybody call, kills it at some moment, and waits until it is gone.
async fn overrun(mut broker: Broker, journal: &Journal) {
    let mut callers = JoinSet::new();
    let client = client();
    for number in 0..CALLERS {
        let target = (broker.url("/token"), student(&format!("caller-{number}")));
        callers.spawn(call(client.clone(), target, Arc::clone(journal)));
    }
    sleep(Duration::from_millis(any(LONGEST))).await;
    broker.running.signal("KILL");
    assert_eq!(broker.running.end(PATIENCE).await.code, None);
    callers.join_all().await;
}

async fn kill_again_and_again(rounds: usize) -> Tally {
    let (simulator, books, journal) = (simulator(&[]).await, Books::new(), Journal::default());
    let mut tally = Tally::default();
    let mut broker = books.launch(&simulator).start().await;
    for _ in 0..rounds {
        let (before, seen_before) = (tally, journal.lock().unwrap().len());
        overrun(broker, &journal).await;
        tally = look(&books, &journal, &simulator).await;
        tally.rounds = before.rounds + 1;
        tally.most_left_pending = tally.left_pending.max(before.most_left_pending);
        let seen = tally.seen - seen_before;
        let rows = tally.rows - before.rows;
        assert!(
            rows <= seen + CALLERS,
            "{rows} new rows for {seen} answers and {CALLERS} callers"
        );
        let left = tally.left_pending;
        broker = books.launch(&simulator).start().await;
        assert_given_up(&broker, &books, left).await;
        tally.left_pending += before.left_pending;
    }
    broker.stop().await;
    tally
}

/// Between the kill and the restart: every answer has its row.
async fn look(books: &Books, journal: &Journal, simulator: &Simulator) -> Tally {
    let entries = books.entries().await;
    let outcomes: std::collections::HashMap<&str, &str> = entries
        .iter()
        .map(|entry| (&*entry.request_id, &*entry.outcome))
        .collect();
    assert_eq!(
        outcomes.len(),
        entries.len(),
        "a request stands there twice"
    );
    let journal = journal.lock().unwrap();
    for name in journal.iter() {
        let outcome = outcomes.get(name.as_str());
        assert_eq!(
            outcome,
            Some(&"minted"),
            "{name} was answered with a client secret"
        );
    }
    let pending = entries.iter().filter(|entry| entry.outcome == "pending");
    let left_pending = pending.count();
    assert!(left_pending <= CALLERS, "{left_pending} rows left pending");
    let counting = entries.iter().filter(|entry| entry.outcome != "failed");
    assert!(
        simulator.seen() <= counting.count() as u64,
        "more was asked for upstream than was recorded"
    );
    Tally {
        seen: journal.len(),
        rows: entries.len(),
        left_pending,
        ..Tally::default()
    }
}

/// After the restart: what was left without outcome is uncertain, and all that counts is counted.
async fn assert_given_up(broker: &Broker, books: &Books, left: usize) {
    let pending = "SELECT COUNT(*) FROM entries WHERE outcome = 'pending'";
    assert_eq!(books.number(pending).await, 0);
    let told = broker.running.log(|line| line["intents"].is_u64());
    let told = told
        .first()
        .map_or(0, |line| line["intents"].as_u64().unwrap());
    assert_eq!(told, left as u64, "intents given up at the start");
    books.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_has_recorded_every_client_secret_that_anybody_got() {
    let tally = kill_again_and_again(20).await;
    println!("{tally:?}");
    assert!(tally.seen > 100, "hardly anybody was served: {tally:?}");
    assert!(
        tally.left_pending > 0,
        "no kill was in the middle of a mint: {tally:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo test --release --test process kill -- --ignored --nocapture"]
async fn killed_two_hundred_times_it_has_lost_nothing() {
    let tally = kill_again_and_again(200).await;
    println!("{tally:?}");
    assert!(tally.seen > 1000, "hardly anybody was served: {tally:?}");
    assert!(
        tally.left_pending > 0,
        "no kill was in the middle of a mint: {tally:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_kill_left_without_outcome_counts_against_the_quota() {
    let (simulator, books) = (simulator(&["hang"]).await, Books::new());
    let broker = books
        .launch(&simulator)
        .set("quota.student.sessions_per_month", "1")
        .start()
        .await;
    let killing = async {
        until("a mint under way", || simulator.seen() == 1).await;
        broker.running.signal("KILL");
    };
    let asking = broker.as_somebody(&student("ana"));
    let (answer, ()) = tokio::join!(asking.send(), killing);
    assert!(answer.is_err());
    drop(broker);
    simulator.clear();
    let broker = books
        .launch(&simulator)
        .set("quota.student.sessions_per_month", "1")
        .start()
        .await;
    broker
        .token_as(&student("ana"))
        .await
        .is(429, "quota_exceeded");
    broker.token_as(&student("ben")).await.secret();
    let entries = books.entries().await;
    assert_eq!(entries[0].outcome, "uncertain");
    assert_eq!(entries[0].code.as_deref(), Some("left_pending"));
}

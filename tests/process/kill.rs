//! Killed at any moment, the broker has recorded every client secret that anybody got, and keeps every session.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};

use reqwest::Client;
use serde_json::{Value, json};
use token_broker::domain::{SessionId, SessionKey};
use token_broker::simulator::Simulator;
use tokio::task::JoinSet;

use super::ledger_file::Books;
use crate::kit::executable::{Broker, student};
use crate::kit::http::client;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, until};

/// Callers at the same time, and most requests under way.
const CALLERS: usize = 64;
/// Most answers of a round before the kill.
const MOST: usize = 250;

/// What callers saw.
#[derive(Default)]
struct Seen {
    /// The names of all requests that were answered with 200.
    requests: Vec<String>,
    /// For each session id, the refreshes that were answered with 200.
    sessions: HashMap<String, u32>,
}

type Journal = Arc<Mutex<Seen>>;

/// Refreshes of each session between two mints.
const REFRESHES: usize = 3;

/// What became of some rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    seen: usize,
    rows: usize,
    left_pending: usize,
    most_left_pending: usize,
}

/// Mints and refreshes until the broker is gone.
async fn call(client: Client, (base, bearer): (String, String), journal: Journal) {
    let ask = async |path: &str, body: String| {
        let request = client.post(format!("{base}{path}")).bearer_auth(&bearer);
        let request = request.header("content-type", "application/json");
        let response = request.body(body).send().await.ok()?;
        assert_eq!(response.status(), 200);
        // An answer counts from its first line: the client secret may have been in it.
        let name = response.headers()["x-request-id"].to_str().unwrap();
        journal.lock().unwrap().requests.push(name.to_owned());
        let text = response.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let session = answer["sessionId"].as_str().unwrap().to_owned();
        let mut journal = journal.lock().unwrap();
        let refreshes = journal.sessions.entry(session.clone()).or_default();
        *refreshes += u32::from(path != "/token");
        Some(session)
    };
    while let Some(session) = ask("/token", String::new()).await {
        let body = json!({ "sessionId": session }).to_string();
        for _ in 0..REFRESHES {
            if ask("/refresh-token", body.clone()).await.is_none() {
                return;
            }
        }
    }
}

/// Any number below `bound`.
fn any(bound: usize) -> usize {
    usize::try_from(RandomState::new().hash_one(bound)).unwrap() % bound
}

/// Lets everybody call, kills it at some moment, and waits until it is gone.
async fn overrun(mut broker: Broker, journal: &Journal) {
    let mut callers = JoinSet::new();
    let client = client();
    let before = journal.lock().unwrap().requests.len();
    for number in 0..CALLERS {
        let target = (broker.url(""), student(&format!("caller-{number}")));
        callers.spawn(call(client.clone(), target, Arc::clone(journal)));
    }
    let enough = before + any(MOST);
    until("some answers", || {
        journal.lock().unwrap().requests.len() > enough
    })
    .await;
    broker.running.signal("KILL");
    assert_eq!(broker.running.end(PATIENCE).await.code, None);
    callers.join_all().await;
}

async fn kill_again_and_again(rounds: usize) -> Tally {
    let (simulator, books, journal) = (simulator(&[]).await, Books::new(), Journal::default());
    let mut tally = Tally::default();
    let serve = || {
        books
            .launch(&simulator)
            .set("session.min_refresh_interval", "0s")
            .set("session.max_live", "100000")
            .set("limits.refresh", "1000000/60s")
            .set("limits.refresh_network", "1000000/60s")
    };
    let mut broker = serve().start().await;
    for _ in 0..rounds {
        let (before, seen_before) = (tally, journal.lock().unwrap().requests.len());
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
        assert_sessions(&books, &journal).await;
        broker = serve().start().await;
        assert_given_up(&broker, &books, left).await;
        tally.left_pending += before.left_pending;
    }
    broker.stop().await;
    tally
}

/// Between the kill and the restart: every answer has its row.
async fn look(books: &Books, journal: &Journal, simulator: &Simulator) -> Tally {
    let entries = books.entries().await;
    let outcomes: HashMap<&str, &str> = entries
        .iter()
        .map(|entry| (&*entry.request_id, &*entry.outcome))
        .collect();
    assert_eq!(
        outcomes.len(),
        entries.len(),
        "a request stands there twice"
    );
    let journal = journal.lock().unwrap();
    for name in &journal.requests {
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
        seen: journal.requests.len(),
        rows: entries.len(),
        left_pending,
        ..Tally::default()
    }
}

/// Between the kill and the restart: every session that anybody got is there, with every refresh that anybody got.
async fn assert_sessions(books: &Books, journal: &Journal) {
    let rows: Vec<(String, u32)> = sqlx::query_as("SELECT session, refreshes FROM sessions")
        .fetch_all(&mut books.open().await)
        .await
        .unwrap();
    let rows: HashMap<_, _> = rows.into_iter().collect();
    for (id, seen) in &journal.lock().unwrap().sessions {
        let key = SessionKey::of(&SessionId::parse(id).unwrap());
        let kept = rows.get(&key.to_text());
        // One more may have been recorded whose answer the kill cut off.
        assert!(
            kept.is_some_and(|kept| (*seen..=seen + 1).contains(kept)),
            "{kept:?} of {seen} refreshes"
        );
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
async fn a_kill_at_any_moment_loses_no_entry_and_no_session() {
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
async fn two_hundred_kills_lose_no_entry_and_no_session() {
    let tally = kill_again_and_again(200).await;
    println!("{tally:?}");
    assert!(tally.seen > 1000, "hardly anybody was served: {tally:?}");
    assert!(
        tally.left_pending > 0,
        "no kill was in the middle of a mint: {tally:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mint_that_a_kill_left_without_outcome_counts_against_the_quota() {
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

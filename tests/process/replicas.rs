//! Several replicas over one Redis and one PostgreSQL server: what they share, and what each does while Redis is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use token_broker::simulator::Simulator;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::http::client;
use crate::kit::load::Load;
use crate::kit::postgres::empty_database;
use crate::kit::provider::simulator;
use crate::kit::redis::Redis;
use crate::kit::waiting::{PATIENCE, SOON, eventually, until};

/// A database that replicas share, with its schema.
pub struct Shared {
    pub url: String,
}

impl Shared {
    pub async fn new() -> Self {
        let url = empty_database().await;
        let migrated = Launch::of(&["migrate"]).env("DATABASE_URL", &url);
        let migrated = migrated.finish().await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        Self { url }
    }

    fn replica(&self, simulator: &Simulator, redis: &Redis) -> Launch {
        Launch::serve(simulator)
            .env("DATABASE_URL", &self.url)
            .env("REDIS_URL", &redis.url())
            // A busy machine is not an outage: a server that is killed is noticed at once all the same.
            .set("redis.timeout", "5s")
            .set("limits.token", "40/60s")
            .set("limits.refresh", "1000/60s")
            .set("limits.refresh_network", "1000/60s")
            .set("session.min_refresh_interval", "0s")
            .set("session.max_live_network", "1000")
            .set("upstream.mints_per_second", "10000")
            .set("guard.never_block", "127.0.0.0/8")
    }
}

pub async fn refresh(broker: &Broker, session: &Value) -> Answer {
    let body = json!({ "sessionId": session });
    let request = broker.post("/refresh-token");
    Answer::to(
        request
            .header("content-type", "application/json")
            .body(body.to_string()),
    )
    .await
}

/// How it is: in one word, and its limits and sessions.
async fn health(broker: &Broker) -> [String; 3] {
    let answer = Answer::to(broker.get("/health")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let services = &answer.json["services"];
    let words = [
        &answer.json["status"],
        &services["rateLimit"]["status"],
        &services["sessionTracking"]["status"],
    ];
    words.map(|word| word.as_str().unwrap().to_owned())
}

/// Waits until a replica says of itself that it is `word`. Returns how long that took.
pub async fn becomes(broker: &Broker, word: &str) -> Duration {
    let is_so = async || health(broker).await[0] == word;
    eventually(word, PATIENCE, is_so).await
}

/// How often it said so.
fn said(broker: &Broker, words: &str) -> usize {
    let says = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains(words))
    };
    broker.running.log(says).len()
}

/// How often it has lost Redis so far.
pub fn losses(broker: &Broker) -> usize {
    said(broker, "Redis is unreachable: this replica")
}

/// Waits until a replica has written a line for each change and no more: Redis was found `more` times more than lost.
async fn told_of_each_change(broker: &Broker, more: usize) {
    let agrees = || losses(broker) + more == said(broker, "Redis is reachable");
    until("a line for each change", agrees).await;
}

/// What makes it say when it found Redis slow.
pub const TALKATIVE: (&str, &str) = ("log.filter", "info,token_broker::gate=debug");

/// How often it did without Redis for a moment, because that had let a request wait.
pub fn doubts(broker: &Broker) -> usize {
    said(broker, "Redis answered late")
}

#[tokio::test]
async fn without_redis_replicas_go_on_with_their_share_of_the_limits_and_with_every_session() {
    let (simulator, mut redis) = (simulator(&[]).await, Redis::start());
    let shared = Shared::new().await;
    let serve = || shared.replica(&simulator, &redis);
    let (one, two) = (serve().start().await, serve().start().await);
    assert_eq!(
        health(&one).await,
        ["healthy", "operational", "operational"]
    );
    let session = one.token().await.json["sessionId"].clone();
    let other = two.token().await.json["sessionId"].clone();
    for broker in [&two, &one, &two] {
        refresh(broker, &session).await.secret();
    }

    redis.kill();
    for broker in [&one, &two] {
        becomes(broker, "degraded").await;
        assert_eq!(
            health(broker).await,
            ["degraded", "degraded", "operational"]
        );
        refresh(broker, &session).await.secret();
        told_of_each_change(broker, 0).await;
    }
    refresh(&one, &other).await.secret();
    let opened = one.token().await.json["sessionId"].clone();
    refresh(&two, &opened).await.secret();

    redis.run();
    for broker in [&one, &two] {
        assert!(becomes(broker, "healthy").await < SOON);
        told_of_each_change(broker, 1).await;
    }
    for broker in [one, two] {
        let ended = broker.stop().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// Asks until the broker had the time to look the session up, which a network may keep waiting for itself.
async fn decided(request: RequestBuilder) -> Answer {
    loop {
        let answer = Answer::to(request.try_clone().unwrap()).await;
        if answer.status != 503 {
            return answer;
        }
        answer.is(503, "overloaded");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_refreshes_over_two_replicas_one_mints_in_each_interval() {
    let (simulator, redis) = (simulator(&["slow:50ms"]).await, Redis::start());
    let shared = Shared::new().await;
    let interval = Duration::from_secs(3);
    let serve = || {
        shared
            .replica(&simulator, &redis)
            .set("session.min_refresh_interval", "3s")
    };
    let replicas = [serve().start().await, serve().start().await];
    let session = replicas[0].token().await.json["sessionId"].clone();
    for round in 1..=3 {
        // The replica that minted last, perhaps just now, gives its secret again. The other one refuses.
        let mut early = refresh(&replicas[1], &session).await;
        if early.status == 200 {
            early = refresh(&replicas[0], &session).await;
        }
        early.is(429, "refresh_too_soon");
        early.wait_as_told().await;
        let minted = simulator.minted();
        let began = Instant::now();
        let mut callers = JoinSet::new();
        for broker in replicas.iter().cycle().take(200) {
            let body = json!({ "sessionId": session }).to_string();
            let request = client().post(broker.url("/refresh-token"));
            let request = request.header("content-type", "application/json");
            callers.spawn(decided(request.body(body)));
        }
        let answers = callers.join_all().await;
        // On a slow machine the next interval may begin meanwhile.
        let intervals = 1 + began.elapsed().as_secs() / interval.as_secs();
        let mut secrets = BTreeSet::new();
        for answer in &answers {
            if answer.status == 200 {
                secrets.insert(answer.json["token"].to_string());
            } else {
                answer.is(429, "refresh_too_soon");
            }
        }
        // The replica that minted may hand the same client secret over again.
        let minted = simulator.minted() - minted;
        assert_eq!(secrets.len() as u64, minted, "round {round}");
        assert!(
            (1..=intervals).contains(&minted),
            "{minted} in round {round}"
        );
    }
}

#[tokio::test]
async fn a_broker_without_redis_starts_at_once_with_its_share_and_joins_later() {
    let (simulator, mut redis) = (simulator(&[]).await, Redis::absent());
    let shared = Shared::new().await;
    let broker = shared.replica(&simulator, &redis).start().await;
    assert_eq!(said(&broker, "Redis is unreachable at the start"), 1);
    assert_eq!(
        health(&broker).await,
        ["degraded", "degraded", "operational"]
    );
    // Half of forty.
    let mut secrets = 0;
    for _ in 0..25 {
        let answer = broker.token().await;
        secrets += u32::from(answer.status == 200);
        assert!([200, 429].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(secrets, 20);
    redis.run();
    assert!(becomes(&broker, "healthy").await < SOON);
    // The windows on the server know nothing of those twenty: this replica keeps to its share for one more.
    broker.token().await.is(429, "rate_limited");
}

#[tokio::test]
async fn with_on_failure_deny_every_mint_is_refused_with_503_while_redis_is_gone() {
    let (simulator, mut redis) = (simulator(&[]).await, Redis::start());
    let shared = Shared::new().await;
    let launch = shared
        .replica(&simulator, &redis)
        .set("redis.on_failure", "deny");
    let broker = launch.start().await;
    broker.token().await.secret();
    redis.kill();
    let seen = simulator.seen();
    for _ in 0..3 {
        let answer = broker.token().await;
        answer.is(503, "overloaded");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    assert_eq!(simulator.seen(), seen, "nothing is minted");
    redis.run();
    becomes(&broker, "healthy").await;
    broker.token().await.secret();
}

/// Four callers that ask two replicas.
fn load(replicas: &[Broker; 2]) -> Load {
    Load::of(
        replicas
            .iter()
            .cycle()
            .take(4)
            .map(|broker| broker.post("/token")),
    )
}

/// How many were let through, if all others were only told to wait.
async fn let_through(load: Load) -> usize {
    let asked = load.end().await;
    let statuses: Vec<u16> = asked.iter().map(|one| one.answer.status).collect();
    let count = |status| statuses.iter().filter(|&&found| found == status).count();
    assert_eq!(count(200) + count(429), statuses.len(), "{statuses:?}");
    count(200)
}

#[tokio::test]
async fn under_load_an_outage_fails_no_request_and_opens_no_gate() {
    let (simulator, mut redis) = (simulator(&[]).await, Redis::start());
    let shared = Shared::new().await;
    let serve = || shared.replica(&simulator, &redis);
    let replicas = [serve().start().await, serve().start().await];
    let callers = load(&replicas);
    callers.goes_on_until(40, 200).await;
    redis.kill();
    // Longer than either replica's share could last.
    callers.goes_on_until(200, 429).await;
    let during = let_through(callers).await;
    assert!((40..=80).contains(&during), "{during}");
    let callers = load(&replicas);
    callers.goes_on_until(20, 429).await;
    redis.run();
    for broker in &replicas {
        becomes(broker, "healthy").await;
    }
    // It has come back empty, within the same window: that is no third allowance.
    callers.goes_on_until(200, 429).await;
    let after = let_through(callers).await;
    assert!(during + after <= 80, "{during} and {after}");
    for broker in &replicas {
        told_of_each_change(broker, 1).await;
        assert!(losses(broker) >= 1);
    }
}

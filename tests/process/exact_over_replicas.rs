//! Replicas over one Redis and one PostgreSQL server: what one identity, and everybody, may use is exact over all of them.

use sqlx::{ConnectOptions, Connection};
use token_broker::simulator::Simulator;
use tokio::task::JoinSet;

use super::replicas::{TALKATIVE, becomes, doubts};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::http::client;
use crate::kit::issuer::{ISSUER, unlimited};
use crate::kit::postgres::empty_database;
use crate::kit::provider::simulator;
use crate::kit::redis::Redis;
use crate::kit::waiting::until;

/// What replicas share.
struct Shared {
    simulator: Simulator,
    redis: Redis,
    url: String,
}

impl Shared {
    async fn new(faults: &[&str]) -> Self {
        let shared = Self {
            simulator: simulator(faults).await,
            redis: Redis::start(),
            url: empty_database().await,
        };
        let migrated = shared.command("migrate").finish().await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        shared
    }

    fn command(&self, name: &str) -> Launch {
        Launch::of(&[name, "--config", "settings.toml"])
            .file("settings.toml", &unlimited())
            .env("DATABASE_URL", &self.url)
            .env("REDIS_URL", &self.redis.url())
            .towards(&self.simulator.base_url())
    }

    async fn serve(&self, settings: &[(&str, &str)]) -> Broker {
        let set = |launch: Launch, (name, value): &(&str, &str)| launch.set(name, value);
        // A busy machine is not an outage.
        let command = self
            .command("serve")
            .set("redis.timeout", "10s")
            .set("ledger.timeout", "8s")
            .set("upstream.max_wait", "10s");
        let launch = settings.iter().fold(command, set);
        launch.start().await
    }

    async fn four(&self, settings: &[(&str, &str)]) -> [Broker; 4] {
        let settings = [&[("redis.replicas", "4")], settings].concat();
        [
            self.serve(&settings).await,
            self.serve(&settings).await,
            self.serve(&settings).await,
            self.serve(&settings).await,
        ]
    }

    /// Entries that count, and failed ones.
    async fn entries(&self) -> (i64, i64) {
        let options: sqlx::postgres::PgConnectOptions = self.url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        let count = "SELECT COUNT(*) FILTER (WHERE outcome = 'minted'), \
                     COUNT(*) FILTER (WHERE outcome <> 'minted') FROM token_broker.entries";
        let counted = sqlx::query_as(count).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        counted.unwrap()
    }
}

/// A thousand mints of one identity at once over all of them; what they were answered.
async fn thousand(replicas: &[Broker; 4], bearer: &str) -> Vec<Answer> {
    let client = client();
    let mut mints = JoinSet::new();
    for broker in replicas.iter().cycle().take(1000) {
        let request = client.post(broker.url("/token")).bearer_auth(bearer);
        mints.spawn(Answer::to(request));
    }
    mints.join_all().await
}

/// How many were served; all others must have been refused with 429 and this code.
fn served(answers: &[Answer], code: &str) -> usize {
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    for answer in refused {
        answer.is(429, code);
    }
    served.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_over_four_replicas_exactly_ten_are_served() {
    let shared = Shared::new(&["slow:100ms"]).await;
    let settings = [("limits.identity", "10/1h"), TALKATIVE];
    let replicas = shared.four(&settings).await;
    let answers = thousand(&replicas, &student("ana")).await;
    let served = served(&answers, "rate_limited");
    // A machine on which an answer of Redis takes ten seconds makes an outage of its own.
    let late: usize = replicas.iter().map(doubts).sum();
    let most = if late == 0 { 10 } else { 20 };
    assert!(
        (10..=most).contains(&served),
        "{served}, {late} answers late"
    );
    let counted = (shared.simulator.minted(), shared.entries().await.0);
    assert_eq!(counted, (served as u64, served.try_into().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_over_four_replicas_as_many_are_served_as_the_quota_of_the_month_has() {
    let shared = Shared::new(&[]).await;
    let quota = [
        ("quota.student.sessions_per_month", "10"),
        ("limits.verified_address", "10000/60s"),
    ];
    let replicas = shared.four(&quota).await;
    let answers = thousand(&replicas, &student("ana")).await;
    // Whether Redis answers or not: the ledger decides this alone.
    assert_eq!(served(&answers, "quota_exceeded"), 10);
    let simulator = &shared.simulator;
    assert_eq!((simulator.seen(), simulator.minted()), (10, 10));
    assert_eq!(shared.entries().await, (10, 0));
}

/// Waits until the empty server knows what the ledger knows: the replicas look every other second.
async fn counted_back(redis: &Redis) {
    let is_told = || redis.ask::<u8>(&["EXISTS", "{broker}:begun"]) == Some(1);
    until("the past is counted back", is_told).await;
}

fn windows(redis: &Redis) -> Option<u64> {
    redis.ask(&["LLEN", "{broker}:w:mints_daily:0"])
}

#[tokio::test]
async fn a_redis_that_is_empty_learns_the_day_from_the_ledger_once_however_many_replicas_start() {
    let mut shared = Shared::new(&[]).await;
    let settings = [
        ("limits.mints_daily", "11/24h"),
        ("limits.identity_mints", "7/24h"),
        ("quota.student.sessions_per_month", "8"),
    ];
    let (one, two) = (shared.serve(&settings).await, shared.serve(&settings).await);
    for broker in [&one, &two, &one] {
        broker.token_as(&student("ana")).await.secret();
        broker.token_as(&student("ben")).await.secret();
    }
    assert_eq!(shared.entries().await, (6, 0));

    // It dies while they run, and another takes its place. This one is minted alone, and counts.
    shared.redis.kill();
    one.token_as(&student("ana")).await.secret();
    shared.redis.run();
    counted_back(&shared.redis).await;
    assert_eq!(windows(&shared.redis), Some(7));

    // It is empty when they start again, one after the other.
    for broker in [one, two] {
        assert_eq!(broker.stop().await.code, Some(0));
    }
    shared.redis.kill();
    shared.redis.run();
    let one = shared.serve(&settings).await;
    assert_eq!(windows(&shared.redis), Some(7));
    one.token_as(&student("ana")).await.secret();
    let two = shared.serve(&settings).await;
    assert_eq!(windows(&shared.redis), Some(8), "it still has its windows");
    for broker in [&two, &one] {
        broker.token_as(&student("ana")).await.secret();
    }
    let refused = two.token_as(&student("ana")).await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "identity_mints");
    one.token_as(&student("cem")).await.secret();
    let refused = two.token_as(&student("cem")).await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "mints_daily");
    assert_eq!(shared.entries().await, (11, 0));
}

#[tokio::test]
async fn a_redis_that_lost_everything_changes_nothing_of_the_month_and_ends_no_session() {
    let shared = Shared::new(&[]).await;
    let quota = [
        ("quota.student.sessions_per_month", "3"),
        ("session.min_refresh_interval", "0s"),
    ];
    let (one, two) = (shared.serve(&quota).await, shared.serve(&quota).await);
    let session = one.token_as(&student("ana")).await.json["sessionId"].clone();
    two.token_as(&student("ana")).await.secret();
    assert_eq!(shared.redis.ask::<String>(&["FLUSHALL"]).unwrap(), "OK");
    // Sessions are not there, and refresh on every replica.
    let body = serde_json::json!({ "sessionId": session }).to_string();
    let refresh = two.post("/refresh-token").bearer_auth(student("ana"));
    let refresh = refresh
        .header("content-type", "application/json")
        .body(body);
    Answer::to(refresh).await.secret();
    one.token_as(&student("ana")).await.secret();
    for broker in [&one, &two] {
        let refused = broker.token_as(&student("ana")).await;
        refused.is(429, "quota_exceeded");
    }
}

#[tokio::test]
async fn an_end_by_an_operator_holds_on_every_replica_at_once_even_while_redis_stands_still() {
    let shared = Shared::new(&[]).await;
    let token = "operators-token-that-is-long-enough";
    let settings = [
        ("ops.token", token),
        ("ops.listen", "127.0.0.1:0"),
        ("session.min_refresh_interval", "0s"),
        // So long each request waits that finds Redis standing still.
        ("redis.timeout", "50ms"),
    ];
    let (one, two) = (shared.serve(&settings).await, shared.serve(&settings).await);
    let opened = async |broker: &Broker, who: &str| {
        let answer = broker.token_as(&student(who)).await;
        serde_json::json!({ "sessionId": answer.json["sessionId"] }).to_string()
    };
    let refresh = async |broker: &Broker, who: &str, session: &str| {
        let refresh = broker.post("/refresh-token").bearer_auth(student(who));
        let refresh = refresh
            .header("content-type", "application/json")
            .body(session.to_owned());
        Answer::to(refresh).await
    };
    let (anas, bens) = (opened(&two, "ana").await, opened(&two, "ben").await);
    let ready = one.running.logged(|line| line["message"] == "ready").await;
    let operators = ready["operators"].as_str().unwrap();
    let end = async || {
        let whose = serde_json::json!({ "issuer": ISSUER, "subject": "ana" });
        let end = client()
            .post(format!("{operators}/sessions/end"))
            .bearer_auth(token);
        let end = end
            .header("content-type", "application/json")
            .body(whose.to_string());
        Answer::to(end).await
    };

    shared.redis.signal("STOP");
    let told = end().await;
    assert_eq!((told.status, &told.json["ended"]), (200, &1.into()));
    let ended = |line: &serde_json::Value| line["event"] == "sessions_ended";
    let event = one.running.logged(ended).await;
    assert_eq!(event["details"]["ended"], 1, "{event}");
    refresh(&two, "ana", &anas).await.is(404, "unknown_session");
    shared.redis.signal("CONT");
    for broker in [&one, &two] {
        becomes(broker, "healthy").await;
    }
    refresh(&one, "ana", &anas).await.is(404, "unknown_session");
    refresh(&one, "ben", &bens).await.secret();
    let again = end().await;
    assert_eq!(
        (again.status, &again.json["ended"]),
        (200, &0.into()),
        "{again:?}"
    );
}

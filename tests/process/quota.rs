//! What an identity has used stays used: under a thousand requests at once, and over restarts.

use std::time::Duration;

use sqlx::Connection;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Launch, student};
use crate::kit::http::client;
use crate::kit::provider::simulator;

/// Rows of a busy day, and the identities they belong to.
const ROWS: i64 = 20_000;
/// How long a broker with them may take until it is ready. Unoptimised code gets more.
const READY: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// Everybody's mints of the last 23 hours, over two thousand identities, and three of Ana's half an hour ago.
const BUSY_DAY: &str = "
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1 - 3),
row(n, ago, who) AS (
  SELECT n, n * 4000, 'somebody-' || (n % 2000) FROM number
  UNION ALL SELECT -n, 1800000, 'ana' FROM number WHERE n <= 3)
INSERT INTO entries (id, at, settled_at, kind, outcome, issuer, subject, role, persona, network, session, request_id)
SELECT printf('%032x', n + 10), $2 - ago, $2 - ago, 'mint', 'minted', 'https://id.example.com/', who, 'student',
       'default', '127.0.0.1/32', 'session', 'req_' || n
FROM row";

/// Fills a ledger that nobody serves with.
async fn fill(books: &Books) {
    let mut connection = books.open().await;
    let now = i64::try_from(crate::kit::executable::now() * 1000).unwrap();
    let filled = sqlx::query(BUSY_DAY)
        .bind(ROWS)
        .bind(now)
        .execute(&mut connection)
        .await;
    assert_eq!(filled.unwrap().rows_affected(), ROWS.unsigned_abs());
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_window_gives_nobody_a_new_allowance() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = || -> Launch {
        books
            .launch(&simulator)
            .set("limits.identity", "3/1h")
            .set("limits.mints_daily", "5/24h")
    };
    let broker = launch().start().await;
    for _ in 0..2 {
        broker.token_as(&student("ana")).await.secret();
    }
    broker.kill().await;
    let broker = launch().start().await;
    let last = broker.token_as(&student("ana")).await;
    last.secret();
    assert_eq!(last.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(broker.stop().await.code, Some(0));

    let broker = launch().start().await;
    let refused = broker.token_as(&student("ana")).await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "identity");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    for _ in 0..2 {
        broker.token_as(&student("ben")).await.secret();
    }
    broker.kill().await;
    let broker = launch().start().await;
    let refused = broker.token_as(&student("cem")).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.json["error"]["limit"], "mints_daily");
    assert_eq!(simulator.seen(), 5);
}

#[tokio::test]
async fn after_a_busy_day_the_broker_is_ready_within_a_second_and_remembers_every_mint() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    books.launch(&simulator).start().await.stop().await;
    fill(&books).await;
    let launch = books
        .launch(&simulator)
        .set("limits.identity", "4/1h")
        .set("limits.mints_daily", "20002/24h");
    let began = Instant::now();
    let broker = launch.start().await;
    let took = began.elapsed();
    println!("ready {took:?} after its start, with {ROWS} rows of the last day");
    assert!(took < READY, "{took:?}");
    broker.token_as(&student("ana")).await.secret();
    let refused = broker.token_as(&student("ana")).await;
    assert_eq!(refused.json["error"]["limit"], "identity", "{refused:?}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    broker.token_as(&student("ben")).await.secret();
    let refused = broker.token_as(&student("cem")).await;
    assert_eq!(refused.json["error"]["limit"], "mints_daily", "{refused:?}");
    assert_eq!(simulator.seen(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_requests_of_one_identity_at_once_exactly_as_many_succeed_as_it_may() {
    let (simulator, books) = (simulator(&["slow:100ms"]).await, Books::new());
    let broker = books
        .launch(&simulator)
        .set("limits.identity", "10/1h")
        .set("server.max_connections_per_address", "2000")
        .start()
        .await;
    let (client, bearer) = (client(), student("ana"));
    let mut mints = JoinSet::new();
    for _ in 0..1000 {
        let request = client.post(broker.url("/token")).bearer_auth(&bearer);
        mints.spawn(Answer::to(request));
    }
    let answers = mints.join_all().await;
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    for answer in &refused {
        answer.is(429, "rate_limited");
    }
    assert_eq!((served.len(), refused.len()), (10, 990));
    assert_eq!((simulator.seen(), simulator.minted()), (10, 10));
    let entries = books.entries().await;
    assert_eq!(entries.len(), 10);
    for answer in served {
        let entry = Books::of_request(&entries, &answer.request_id());
        assert_eq!(entry.outcome, "minted");
        assert_eq!(entry.role.as_deref(), Some("student"));
        assert!(entry.persona.starts_with("student"), "{entry:?}");
    }
    books.assert_counted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_at_once_exactly_as_many_succeed_as_the_quota_of_the_month_has_left() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books
        .launch(&simulator)
        .set("quota.student.sessions_per_month", "10")
        .start()
        .await;
    let (client, bearer) = (client(), student("ana"));
    let mut mints = JoinSet::new();
    for _ in 0..100 {
        let request = client.post(broker.url("/token")).bearer_auth(&bearer);
        mints.spawn(Answer::to(request));
    }
    let answers = mints.join_all().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, simulator.seen()), (10, 10));
    let told = broker.events("quota_exceeded");
    assert!(!told.is_empty());
    books.assert_counted().await;
}

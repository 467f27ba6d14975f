//! PostgreSQL behind a proxy that cuts connections in the middle of commits, and a server that is restarted: who was given a client secret
//! has its entry, and nobody has two.
//!
//! That the ledger itself writes once what it commits twice is proved in `tests/doors/records/outage.rs`.

use std::collections::HashMap;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::task::block_in_place;

use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::unlimited;
use crate::kit::load::{Asked, Load};
use crate::kit::postgres::Postgres;
use crate::kit::provider::simulator;
use crate::kit::proxy::Proxy;
use crate::kit::waiting::{PATIENCE, eventually, until};

const CALLERS: usize = 8;

/// A server, the proxy before it, and a broker that knows only the proxy.
struct Far {
    server: Postgres,
    url: String,
    proxy: Proxy,
    broker: Broker,
    simulator: token_broker::simulator::Simulator,
}

impl Far {
    async fn new() -> Self {
        let server = Postgres::start();
        let url = server.url(&server.database().await);
        let proxy = Proxy::to(server.port).await;
        let through = proxy.instead_of(&url);
        let simulator = simulator(&[]).await;
        let command = |name: &str| {
            Launch::of(&[name, "--config", "settings.toml"])
                .file("settings.toml", &unlimited())
                .env("DATABASE_URL", &through)
                .towards(&simulator.base_url())
        };
        let migrated = command("migrate").finish().await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        let launch = command("serve")
            .set("quota.student.sessions_per_month", "100000")
            .set("limits.verified_address", "100000/60s");
        let broker = launch.start().await;
        Self {
            server,
            url,
            proxy,
            broker,
            simulator,
        }
    }

    /// Everybody's request and its outcome, and how often the quotas say something was used.
    async fn entries(&self) -> (HashMap<String, Vec<String>>, i64) {
        let options: PgConnectOptions = self.url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        let entries = "SELECT request_id, outcome FROM token_broker.entries";
        let rows: Vec<(String, String)> = sqlx::query_as(entries)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let used = "SELECT CAST(SUM(sessions) AS BIGINT) FROM token_broker.counters";
        let used = sqlx::query_scalar(used).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        let mut entries: HashMap<String, Vec<String>> = HashMap::new();
        for (request, outcome) in rows {
            entries.entry(request).or_default().push(outcome);
        }
        (entries, used.unwrap())
    }

    /// Waits until mints succeed again.
    async fn recovers(&self) {
        let mints = async || self.broker.token_as(&student("last")).await.status == 200;
        eventually("it mints again", PATIENCE, mints).await;
    }
}

/// Callers who mint until they are told to stop.
fn load(broker: &Broker) -> Load {
    Load::of((0..CALLERS).map(|number| broker.as_somebody(&student(&format!("student-{number}")))))
}

/// That the books agree with what callers were answered; how many were served and how many told to come back.
async fn agree(far: &Far, asked: &[Asked]) -> (usize, usize) {
    far.recovers().await;
    let (entries, used) = far.entries().await;
    let twice = entries.values().filter(|outcomes| outcomes.len() > 1);
    assert_eq!(twice.count(), 0, "somebody has two entries");
    let answers = asked.iter().map(|one| &one.answer);
    let (served, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
    for answer in &served {
        assert_eq!(entries[&answer.request_id()], ["minted"]);
    }
    for answer in &refused {
        answer.is(503, "ledger_unavailable");
    }
    let counts = |outcome: &&String| *outcome != "failed";
    let counted = entries.values().flatten().filter(counts).count();
    assert_eq!(usize::try_from(used).unwrap(), counted, "the month agrees");
    // Nobody's key was made without a line in the books.
    assert!(far.simulator.minted() <= u64::try_from(counted).unwrap());
    (served.len(), refused.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_whose_answers_are_lost_give_nobody_two_entries_and_everybody_one() {
    let far = Far::new().await;
    let load = load(&far.broker);
    for _ in 0..20 {
        far.proxy.cut_at_next_commit();
        until("the next commit is cut", || far.proxy.has_cut()).await;
    }
    load.goes_on_until(20, 200).await;
    let (served, refused) = agree(&far, &load.end().await).await;
    println!("20 commits without an answer: {served} served, {refused} told to come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_under_load_loses_nobodys_entry() {
    let mut far = Far::new().await;
    let load = load(&far.broker);
    for end in [Postgres::stop, Postgres::crash] {
        load.goes_on_until(20, 200).await;
        block_in_place(|| end(&mut far.server));
        load.goes_on_until(1, 503).await;
        far.server.run();
        far.server.database().await;
        far.recovers().await;
    }
    let (served, refused) = agree(&far, &load.end().await).await;
    println!("restarted and crashed: {served} served, {refused} told to come back");
    assert!(served >= 40 && refused >= 2, "{served} and {refused}");
}

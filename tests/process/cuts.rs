//! PostgreSQL behind a wire that is cut in the middle of commits, and a server that is restarted: who was given a client secret
//! has its entry, and nobody has two.
//!
//! That the ledger itself writes once what it commits twice is proved in `tests/ledger/outage.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Duration, sleep};

use super::harness::{Broker, Launch, PATIENCE, eventually, simulator};
use super::http::{Answer, client};
use super::people::{REQUIRED, student};
use super::postgres_cut::Wire;
use super::postgres_server::Server;
use super::replicas::turn;

const CALLERS: usize = 8;

/// A server, the wire to it, and a broker that knows only the wire.
struct Far {
    server: Server,
    url: String,
    wire: Wire,
    broker: Broker,
    simulator: token_broker::simulator::Simulator,
}

impl Far {
    async fn new() -> Self {
        let server = Server::start();
        let url = server.url(&server.database().await);
        let wire = Wire::lay(server.port).await;
        let through = wire.instead_of(server.port, &url);
        let simulator = simulator(&[]).await;
        let command = |name: &str| {
            Launch::of(&[name, "--config", "settings.toml"])
                .file("settings.toml", REQUIRED)
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
            wire,
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
struct Load {
    callers: JoinSet<Vec<Answer>>,
    over: Arc<AtomicBool>,
}

impl Load {
    fn on(broker: &Broker) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (client, url, over) = (client(), broker.url("/token"), Arc::clone(&over));
            let bearer = student(&format!("student-{number}"));
            callers.spawn(async move {
                let mut answers = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let request = client.post(&url).bearer_auth(&bearer);
                    answers.push(Answer::to(request).await);
                }
                answers
            });
        }
        Self { callers, over }
    }

    async fn end(self) -> Vec<Answer> {
        self.over.store(true, Ordering::SeqCst);
        self.callers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// That the books agree with what callers were answered; how many were served and how many told to come back.
async fn agree(far: &Far, answers: &[Answer]) -> (usize, usize) {
    far.recovers().await;
    let (entries, used) = far.entries().await;
    let twice = entries.values().filter(|outcomes| outcomes.len() > 1);
    assert_eq!(twice.count(), 0, "somebody has two entries");
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
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
    let _turn = turn().await;
    let far = Far::new().await;
    let load = Load::on(&far.broker);
    let mut cuts = 0;
    for _ in 0..20 {
        far.wire.armed.store(true, Ordering::SeqCst);
        // Time for the load to commit, and for the wire to cut that.
        sleep(Duration::from_millis(100)).await;
        cuts += u32::from(!far.wire.armed.swap(false, Ordering::SeqCst));
    }
    let answers = load.end().await;
    let (served, refused) = agree(&far, &answers).await;
    println!("{cuts} commits without an answer: {served} served, {refused} told to come back");
    assert!(cuts >= 10 && served >= 20, "{cuts} cuts, {served} served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_under_load_loses_nobodys_entry() {
    let _turn = turn().await;
    let mut far = Far::new().await;
    let load = Load::on(&far.broker);
    for end in [Server::stop, Server::crash] {
        // Under load before the end, and for a while without a server.
        sleep(Duration::from_millis(700)).await;
        block_in_place(|| end(&mut far.server));
        sleep(Duration::from_millis(300)).await;
        far.server.run();
        far.server.database().await;
        far.recovers().await;
    }
    let answers = load.end().await;
    let (served, refused) = agree(&far, &answers).await;
    println!("restarted and crashed: {served} served, {refused} told to come back");
    assert!(served >= 20 && refused > 0, "{served} and {refused}");
}

//! The ledger in a real PostgreSQL server, from an empty database to a report.

use serde_json::Value;
use token_broker::simulator::Simulator;

use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::unlimited;
use crate::kit::postgres::Postgres;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually};

/// Anything will do for this server, but it is a secret all the same.
const PASSWORD: &str = "canary-database-password-7d";

/// An empty database, and how commands get there.
struct Database {
    server: Postgres,
    url: String,
}

impl Database {
    async fn new() -> Self {
        let server = Postgres::start();
        let url = server.url(&server.database().await);
        let url = url.replace("broker@", &format!("broker:{PASSWORD}@"));
        Self { server, url }
    }

    fn command(&self, arguments: &[&str]) -> Launch {
        Launch::of(&[arguments, &["--config", "settings.toml"]].concat())
            .file("settings.toml", &unlimited())
            .env("DATABASE_URL", &self.url)
            .env("RUST_LOG", "trace")
    }

    fn serve(&self, simulator: &Simulator) -> Launch {
        self.command(&["serve"])
            .towards(&simulator.base_url())
            .set("quota.student.sessions_per_month", "3")
    }

    /// Runs a command, which must succeed.
    async fn done(&self, arguments: &[&str]) -> String {
        let ended = self.command(arguments).finish().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.err.contains(PASSWORD), "{ended:?}");
        ended.out
    }
}

#[tokio::test]
async fn brokers_on_postgresql_serve_once_the_schema_is_there_and_share_it() {
    let (mut database, simulator) = (Database::new().await, simulator(&[]).await);
    let early = database.serve(&simulator).finish().await;
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(
        early.err.contains("run `token-broker migrate`"),
        "{early:?}"
    );
    for said in ["has schema", "already"] {
        let out = database.done(&["migrate"]).await;
        assert!(out.contains(said), "{out}");
    }

    let one = database.serve(&simulator).start().await;
    let two = database.serve(&simulator).start().await;
    for broker in [&one, &two, &one] {
        broker.token_as(&student("ana")).await.secret();
    }
    for broker in [&one, &two] {
        let refused = broker.token_as(&student("ana")).await;
        refused.is(429, "quota_exceeded");
    }
    let report = database.done(&["usage", "--json", "--by", "user"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["user"][0]["subject"], "ana");
    assert_eq!(report["user"][0]["sessions"], 3);

    assert_survives_a_crash(&mut database.server, &one, &simulator).await;
    let erased = database.done(&["erase", "--subject", "ana"]).await;
    assert!(erased.starts_with("3 entries were removed"), "{erased}");
    for broker in [one, two] {
        let ended = broker.stop().await;
        assert_eq!(ended.code, Some(0));
        let log = ended.out + &ended.err;
        assert!(log.contains("TRACE") && !log.contains(PASSWORD), "{log}");
    }
}

/// The server dies and comes back: what cannot be recorded is not minted.
async fn assert_survives_a_crash(server: &mut Postgres, broker: &Broker, simulator: &Simulator) {
    let before = simulator.seen();
    server.crash();
    let refused = broker.token_as(&student("ben")).await;
    refused.is(503, "ledger_unavailable");
    assert_eq!(simulator.seen(), before);
    server.run();
    let mints = async || broker.token_as(&student("ben")).await.status == 200;
    eventually("it mints again", PATIENCE, mints).await;
}

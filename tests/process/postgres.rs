//! The ledger in a real PostgreSQL server, from an empty database to a report.

use serde_json::Value;

use super::harness::{Launch, simulator};
use super::people::{REQUIRED, student};
use super::postgres_server::Server;

#[tokio::test]
async fn with_postgresql_it_serves_once_the_schema_is_there_and_several_share_it() {
    let mut server = Server::start();
    let url = server.url(&server.database().await);
    let simulator = simulator(&[]).await;
    let command = |arguments: &[&str]| {
        Launch::of(arguments)
            .file("settings.toml", REQUIRED)
            .env("DATABASE_URL", &url)
    };
    let serve = || {
        command(&["serve", "--config", "settings.toml"])
            .towards(&simulator.base_url())
            .set("quota.student.sessions_per_month", "3")
    };
    let early = serve().finish().await;
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(
        early.err.contains("run `token-broker migrate`"),
        "{early:?}"
    );
    for said in ["has schema", "already"] {
        let ended = command(&["migrate"]).finish().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains(said), "{ended:?}");
    }

    let (one, two) = (serve().start().await, serve().start().await);
    for broker in [&one, &two, &one] {
        broker.token_as(&student("ana")).await.secret();
    }
    for broker in [&one, &two] {
        broker
            .token_as(&student("ana"))
            .await
            .is(429, "quota_exceeded");
    }
    let report = command(&["usage", "--json", "--by", "user"]).finish().await;
    assert_eq!(report.code, Some(0), "{report:?}");
    let report: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(report["user"][0]["subject"], "ana");
    assert_eq!(report["user"][0]["sessions"], 3);

    // The server dies and comes back: what cannot be recorded is not minted.
    server.crash();
    let refused = one.token_as(&student("ben")).await;
    refused.is(503, "ledger_unavailable");
    assert_eq!(simulator.seen(), 3);
    server.run();
    let began = tokio::time::Instant::now();
    while one.token_as(&student("ben")).await.status != 200 {
        assert!(
            began.elapsed() < super::harness::PATIENCE,
            "it did not recover"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let erased = command(&["erase", "--config", "settings.toml", "--subject", "ana"])
        .finish()
        .await;
    assert_eq!(
        (erased.code, erased.out.trim()),
        (Some(0), "3 entries were removed"),
        "{erased:?}"
    );
    assert_eq!(one.stop().await.code, Some(0));
    assert_eq!(two.stop().await.code, Some(0));
}

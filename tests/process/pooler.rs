//! Brokers whose database is behind a `PgBouncer` in transaction mode, which lends a session of the server to each
//! transaction.

use serde_json::{Value, json};
use token_broker::simulator::Simulator;

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::unlimited;
use crate::kit::pgbouncer::PgBouncer;
use crate::kit::postgres::Postgres;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually};

fn command(arguments: &[&str], url: &str) -> Launch {
    Launch::of(&[arguments, &["--config", "settings.toml"]].concat())
        .file("settings.toml", &unlimited())
        .env("DATABASE_URL", url)
}

fn serve(simulator: &Simulator, url: &str) -> Launch {
    command(&["serve"], url)
        .towards(&simulator.base_url())
        .set("session.min_refresh_interval", "0s")
        .set("limits.refresh", "1000/60s")
        .set("quota.student.sessions_per_month", "20")
}

async fn refresh(broker: &Broker, session: &Value) -> Answer {
    let body = json!({ "sessionId": session }).to_string();
    let request = broker.post("/refresh-token").bearer_auth(student("ana"));
    let request = request.header("content-type", "application/json");
    Answer::to(request.body(body)).await
}

/// Two brokers at once, and each of them again after its end.
async fn assert_works(simulator: &Simulator, url: &str) {
    for said in ["has schema", "already"] {
        let ended = command(&["migrate"], url).finish().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains(said), "{ended:?}");
    }
    let (one, two) = (
        serve(simulator, url).start().await,
        serve(simulator, url).start().await,
    );
    let mut sessions = Vec::new();
    for number in 0..20 {
        let broker = if number % 2 == 0 { &one } else { &two };
        let opened = broker.token_as(&student("ana")).await;
        opened.secret();
        sessions.push(opened.json["sessionId"].clone());
    }
    for broker in [&one, &two] {
        let refused = broker.token_as(&student("ana")).await;
        refused.is(429, "quota_exceeded");
    }
    for session in &sessions {
        let (first, second) = tokio::join!(refresh(&one, session), refresh(&two, session));
        first.secret();
        second.secret();
    }
    for broker in [one, two] {
        let ended = broker.stop().await;
        assert_eq!(ended.code, Some(0));
        let log = ended.out + &ended.err;
        assert!(
            !log.contains("token_broker::records") && !log.contains("\"ERROR\""),
            "{log}"
        );
    }
    let again = serve(simulator, url).start().await;
    refresh(&again, &sessions[0]).await.secret();
    let report = command(&["usage", "--json", "--by", "user"], url);
    let report: Value = serde_json::from_str(&report.finish().await.out).unwrap();
    let sums = &report["user"][0];
    assert_eq!(
        (&sums["sessions"], &sums["refreshes"]),
        (&json!(20), &json!(41))
    );
    let erased = command(&["erase", "--subject", "ana"], url).finish().await;
    assert!(erased.out.starts_with("61 entries"), "{erased:?}");
    refresh(&again, &sessions[1])
        .await
        .is(404, "unknown_session");
}

#[tokio::test]
async fn f27_a_pooler_that_refuses_startup_options_lends_sessions_for_transactions() {
    let (server, simulator) = (Postgres::start(), simulator(&[]).await);
    let pooler = PgBouncer::before(server.port, "").await;
    assert_works(&simulator, &pooler.url(&server.database().await)).await;
}

#[tokio::test]
async fn f27_a_pooler_that_ignores_startup_options_is_no_session_of_its_own() {
    let (server, simulator) = (Postgres::start(), simulator(&[]).await);
    let ignored = "ignore_startup_parameters = options, extra_float_digits";
    let pooler = PgBouncer::before(server.port, ignored).await;
    // As providers write it for other programs.
    let url = pooler.url(&server.database().await) + "?pgbouncer=true&connection_limit=1";
    assert_works(&simulator, &url).await;
}

#[tokio::test]
async fn f27_a_pooler_in_session_mode_works_and_leaves_no_lock_behind() {
    let (server, simulator) = (Postgres::start(), simulator(&[]).await);
    let lasting = "pool_mode = session\ndefault_pool_size = 20";
    let pooler = PgBouncer::before(server.port, lasting).await;
    assert_works(&simulator, &pooler.url(&server.database().await)).await;
}

#[tokio::test]
async fn f27_a_server_that_crashes_behind_a_pooler_and_a_pooler_that_is_restarted_cost_nothing_that_was_promised()
 {
    let (mut server, simulator) = (Postgres::start(), simulator(&[]).await);
    let pooler = PgBouncer::before(server.port, "").await;
    let url = pooler.url(&server.database().await);
    assert_eq!(command(&["migrate"], &url).finish().await.code, Some(0));
    let broker = serve(&simulator, &url).start().await;
    let opened = broker.token_as(&student("ana")).await;
    opened.secret();
    server.crash();
    let before = simulator.seen();
    broker
        .token_as(&student("ana"))
        .await
        .is(503, "ledger_unavailable");
    assert_eq!(
        simulator.seen(),
        before,
        "what cannot be recorded is not minted"
    );
    server.run();
    let mints = async || broker.token_as(&student("ana")).await.status == 200;
    eventually("it mints again", PATIENCE, mints).await;
    refresh(&broker, &opened.json["sessionId"]).await.secret();
}

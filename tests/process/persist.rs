//! Sessions survive the broker: ended orderly, killed, started again with other settings or over strange rows.

use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use token_broker::simulator::Simulator;

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::http::client;
use crate::kit::issuer::{ISSUER, unlimited};
use crate::kit::postgres::Postgres;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, SOON, eventually};

const OPERATORS: &str = "operators-token-that-is-long-enough";
const REFRESHES: &str = "SELECT COALESCE(MAX(refreshes), -1) FROM sessions";

/// A broker before `simulator` whose sessions survive it, and may be refreshed three times, as fast as one likes.
fn persistent(books: &Books, simulator: &Simulator) -> Launch {
    lasting(books.launch(simulator))
}

fn lasting(launch: Launch) -> Launch {
    launch
        .set("session.min_refresh_interval", "0s")
        .set("session.max_refreshes", "3")
        .set("limits.refresh", "1000/60s")
}

async fn open(broker: &Broker, subject: &str) -> Value {
    let opened = broker.token_as(&student(subject)).await;
    opened.secret();
    opened.json["sessionId"].clone()
}

async fn refresh(broker: &Broker, subject: &str, session: &Value) -> Answer {
    let body = json!({ "sessionId": session }).to_string();
    let request = broker.post("/refresh-token").bearer_auth(student(subject));
    let request = request.header("content-type", "application/json");
    Answer::to(request.body(body)).await
}

/// Ends it as an orchestrator does.
async fn end(mut broker: Broker) {
    broker.running.signal("TERM");
    let ended = broker.running.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0));
}

/// The first line with these words.
async fn told(broker: &Broker, words: &str) -> Value {
    let says = |line: &Value| {
        let message = line["message"].as_str();
        message.is_some_and(|text| text.contains(words))
    };
    broker.running.logged(says).await
}

/// SE10, over any database.
async fn continue_over_a_restart(serve: impl Fn() -> Launch) {
    let broker = serve().start().await;
    let session = open(&broker, "ana").await;
    for _ in 0..2 {
        refresh(&broker, "ana", &session).await.secret();
    }
    end(broker).await;

    let broker = serve().start().await;
    let foreign = refresh(&broker, "ben", &session).await;
    foreign.is(404, "unknown_session");
    let mismatch = |line: &Value| line["event"] == "session_mismatch";
    broker.running.logged(mismatch).await;
    let third = refresh(&broker, "ana", &session).await;
    third.secret();
    assert_eq!(third.json["sessionId"], session);
    end(broker).await;

    let broker = serve().start().await;
    let refused = refresh(&broker, "ana", &session).await;
    assert_eq!(refused.code(), "refresh_limit_reached");
    let interval = serve().set("session.min_refresh_interval", "1h");
    let session = open(&broker, "ben").await;
    end(broker).await;
    let broker = interval.start().await;
    let early = refresh(&broker, "ben", &session).await;
    early.is(429, "refresh_too_soon");
    end(broker).await;
}

#[tokio::test]
async fn sessions_continue_over_a_restart_with_their_counts_their_interval_and_their_owner() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    continue_over_a_restart(|| persistent(&books, &simulator)).await;
}

#[tokio::test]
async fn sessions_continue_from_a_postgresql_server_and_two_brokers_share_them() {
    let (simulator, server) = (simulator(&[]).await, Postgres::start());
    let url = server.url(&server.database().await);
    let command = |arguments: &[&str]| {
        let launch = Launch::of(&[arguments, &["--config", "settings.toml"]].concat());
        launch
            .file("settings.toml", &unlimited())
            .env("DATABASE_URL", &url)
    };
    assert_eq!(command(&["migrate"]).finish().await.code, Some(0));
    let serve = || lasting(command(&["serve"]).towards(&simulator.base_url()));
    continue_over_a_restart(serve).await;
    let (one, two) = (serve().start().await, serve().start().await);
    let session = open(&one, "ana").await;
    for broker in [&two, &one, &two] {
        refresh(broker, "ana", &session).await.secret();
    }
    let refused = refresh(&one, "ana", &session).await;
    assert_eq!(refused.code(), "refresh_limit_reached");
    end(one).await;
    end(two).await;
}

#[tokio::test]
async fn a_kill_forgets_no_session_and_no_refresh() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut broker = persistent(&books, &simulator).start().await;
    let session = open(&broker, "ana").await;
    for refreshes in 1..=3 {
        refresh(&broker, "ana", &session).await.secret();
        broker.kill().await;
        assert_eq!(books.number(REFRESHES).await, refreshes);
        broker = persistent(&books, &simulator).start().await;
    }
    let refused = refresh(&broker, "ana", &session).await;
    assert_eq!(refused.code(), "refresh_limit_reached");
    end(broker).await;
}

/// Under its own name, or none but the default one.
const PERSONAS: [&str; 2] = ["tutor", "other"];

#[tokio::test]
async fn a_session_whose_persona_is_gone_has_ended() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let serve = |name: &str| {
        let model = "public = true\nsession.model = \"gpt-realtime-2.1\"";
        persistent(&books, &simulator)
            .file(
                "personas.toml",
                &format!("[default]\n{model}\n[{name}]\n{model}"),
            )
            .set("personas.file", "personas.toml")
    };
    let broker = serve(PERSONAS[0]).start().await;
    let request = broker.as_somebody(&student("ana"));
    let request = request.header("content-type", "application/json");
    let opened = Answer::to(request.body(r#"{"persona":"tutor"}"#)).await;
    opened.secret();
    end(broker).await;
    for (name, status) in PERSONAS.into_iter().zip([200, 404]) {
        let broker = serve(name).start().await;
        let answer = refresh(&broker, "ana", &opened.json["sessionId"]).await;
        assert_eq!(answer.status, status, "{answer:?}");
        end(broker).await;
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_unknown_session_and_nobody_elses_trouble() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = persistent(&books, &simulator).start().await;
    let (spoiled, sound) = (open(&broker, "ana").await, open(&broker, "ben").await);
    refresh(&broker, "ben", &sound).await.secret();
    end(broker).await;
    let mut connection = books.open().await;
    let spoil = "UPDATE sessions SET networks = 'nonsense' WHERE refreshes = 0";
    connection.execute(spoil).await.unwrap();
    connection.close().await.unwrap();
    let broker = persistent(&books, &simulator).start().await;
    let unknown = refresh(&broker, "ana", &spoiled).await;
    unknown.is(404, "unknown_session");
    refresh(&broker, "ben", &sound).await.secret();
    end(broker).await;
}

#[tokio::test]
async fn the_safety_identifier_of_an_identity_is_the_same_after_a_restart() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    for _ in 0..2 {
        let broker = persistent(&books, &simulator).start().await;
        open(&broker, "ana").await;
        open(&broker, "ben").await;
        end(broker).await;
    }
    let requests = simulator.requests();
    let sent = requests
        .iter()
        .filter_map(|request| request.headers.get("openai-safety-identifier"));
    let sent: Vec<_> = sent.collect();
    assert_eq!(sent.len(), 4);
    assert_eq!((sent[0], sent[1]), (sent[2], sent[3]));
    assert_ne!(sent[0], sent[1]);
    let secrets = "SELECT COUNT(*) FROM secrets";
    assert_eq!(books.number(secrets).await, 1);
}

#[tokio::test]
async fn a_session_that_was_erased_or_ended_by_an_operator_does_not_come_back() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let serve = || {
        persistent(&books, &simulator)
            .env("BROKER_OPS__TOKEN", OPERATORS)
            .set("ops.listen", "127.0.0.1:0")
    };
    let broker = serve().start().await;
    let (ana, ben) = (open(&broker, "ana").await, open(&broker, "ben").await);
    let cem = open(&broker, "cem").await;
    let ready = told(&broker, "ready").await;
    let ending = client()
        .post(format!(
            "{}/sessions/end",
            ready["operators"].as_str().unwrap()
        ))
        .bearer_auth(OPERATORS)
        .header("content-type", "application/json")
        .body(json!({ "issuer": ISSUER, "subject": "ana" }).to_string());
    let ended = Answer::to(ending).await;
    assert_eq!(ended.json["ended"], 1, "{ended:?}");
    // The answer means that the end is on disk.
    assert_eq!(books.number("SELECT COUNT(*) FROM sessions").await, 2);
    broker.kill().await;
    let erased = books.of(&["erase", "--subject", "ben", "--config", "settings.toml"]);
    assert_eq!(erased.finish().await.code, Some(0));

    let broker = serve().start().await;
    for (subject, session) in [("ana", &ana), ("ben", &ben)] {
        let gone = refresh(&broker, subject, session).await;
        gone.is(404, "unknown_session");
    }
    refresh(&broker, "cem", &cem).await.secret();
    end(broker).await;
}

#[tokio::test]
async fn a15_an_erase_beside_a_running_broker_ends_sessions_that_the_broker_knows() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = persistent(&books, &simulator).start().await;
    let (ana, ben) = (open(&broker, "ana").await, open(&broker, "ben").await);
    refresh(&broker, "ana", &ana).await.secret();
    let erased = books.of(&["erase", "--subject", "ana", "--config", "settings.toml"]);
    assert_eq!(erased.finish().await.code, Some(0));
    for _ in 0..2 {
        let gone = refresh(&broker, "ana", &ana).await;
        gone.is(404, "unknown_session");
    }
    refresh(&broker, "ben", &ben).await.secret();
    let hers = "SELECT COUNT(*) FROM entries WHERE subject = 'ana'";
    assert_eq!(books.number(hers).await, 0);
    end(broker).await;
}

#[tokio::test]
async fn a_database_that_is_locked_for_a_while_costs_no_session() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let serve = || persistent(&books, &simulator).set("ledger.timeout", "1s");
    let broker = serve().start().await;
    let session = open(&broker, "ana").await;
    refresh(&broker, "ana", &session).await.secret();
    let mut other = books.open().await;
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let refused = refresh(&broker, "ana", &session).await;
    refused.is(503, "ledger_unavailable");
    let health = Answer::to(broker.get("/health")).await;
    let sessions = &health.json["services"]["sessionTracking"]["status"];
    assert_eq!(sessions, "down", "{health:?}");
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    let refreshes = async || refresh(&broker, "ana", &session).await.status == 200;
    eventually("it refreshes again", SOON, refreshes).await;
    end(broker).await;
    let refreshes = books.number(REFRESHES).await;
    assert_eq!(refreshes, 2, "the refused refresh was given back");
}

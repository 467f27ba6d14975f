//! What was used: read by commands beside a running broker, over the operators' listener, and erased.

use std::net::TcpStream;

use serde_json::{Value, json};
use token_broker::simulator::Simulator;

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Ended, Launch, student, teacher};
use crate::kit::http::client;
use crate::kit::issuer::ISSUER;
use crate::kit::programs::free_address;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually};

const TOKEN: &str = "operators-token-that-is-long-enough";

/// A command beside the broker, which must succeed.
async fn done(launch: Launch) -> String {
    let ended = launch.finish().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "", "{ended:?}");
    ended.out
}

fn beside(books: &Books, arguments: &[&str]) -> Launch {
    books.of(&[arguments, &["--config", "settings.toml"]].concat())
}

/// Two sessions of Ana, one of Tom, and one that failed.
async fn use_it(broker: &Broker, simulator: &Simulator) {
    for bearer in [student("ana"), student("ana"), teacher("tom")] {
        broker.token_as(&bearer).await.secret();
    }
    simulator.plan("1x400".parse().unwrap());
    broker
        .token_as(&teacher("tom"))
        .await
        .is(502, "upstream_invalid");
}

/// The measures, in the order of reports.
const MEASURES: &str = "sessions,refreshes,uncertain,failed,calls,turns,seconds,fresh_text,fresh_audio,fresh_image,\
     cached_text,cached_audio,cached_image,output_text,output_audio,transcribed_ms,nanodollars,estimated_nanodollars,last_at";

#[tokio::test]
async fn usage_reads_beside_a_running_broker_in_every_form() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    use_it(&broker, &simulator).await;

    let tables = done(beside(&books, &["usage"])).await;
    for word in [
        "By day and role",
        "By role",
        "By persona",
        "By user",
        "ana",
        "tom",
        "student",
        "teacher",
        ISSUER,
    ] {
        assert!(tables.contains(word), "{word}: {tables}");
    }
    let all: Value =
        serde_json::from_str(&done(beside(&books, &["usage", "--json"])).await).unwrap();
    let row = |by: &str, place: usize| -> Value { all[by][place].clone() };
    assert_eq!(row("user", 0)["subject"], "ana");
    let counts = |row: &Value| {
        ["sessions", "refreshes", "uncertain", "failed"].map(|name| row[name].as_u64().unwrap())
    };
    assert_eq!(counts(&row("user", 0)), [2, 0, 0, 0]);
    assert_eq!(counts(&row("user", 1)), [1, 0, 0, 1]);
    assert_eq!(
        (&row("role", 0)["role"], counts(&row("role", 0))),
        (&json!("student"), [2, 0, 0, 0])
    );
    assert_eq!(all["day"].as_array().unwrap().len(), 2);

    for (by, columns) in [
        ("day", "day,role"),
        ("role", "role"),
        ("persona", "persona"),
        ("user", "issuer,subject"),
    ] {
        let text = done(beside(&books, &["usage", "--csv", "--by", by])).await;
        let mut lines = text.lines();
        let head = format!("{columns},{MEASURES}");
        assert_eq!(lines.next().unwrap().trim_end(), head);
        assert!(lines.next().is_some(), "{by}: {text}");
        let one: Value =
            serde_json::from_str(&done(beside(&books, &["usage", "--json", "--by", by])).await)
                .unwrap();
        assert_eq!(one[by], all[by], "{by}");
        assert_eq!(one.as_object().unwrap().len(), 2, "{one}");
    }
    // Two users have used it.
    for (most, is_cut) in [("1", true), ("2", false)] {
        let arguments = ["usage", "--by", "user", "--most", most];
        let table = done(beside(&books, &arguments)).await;
        assert_eq!(table.contains("raise --most"), is_cut, "{table}");
        assert_eq!(table.contains("tom"), !is_cut, "{table}");
    }
    // Reading left everything as it was.
    broker.token_as(&student("ana")).await.secret();
    books.assert_counted().await;
}

#[tokio::test]
async fn erase_removes_one_identity_beside_a_running_broker_and_nobody_else() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = books
        .launch(&simulator)
        .set("quota.student.sessions_per_month", "2");
    let broker = launch.start().await;
    use_it(&broker, &simulator).await;
    broker
        .token_as(&student("ana"))
        .await
        .is(429, "quota_exceeded");

    let said = done(beside(&books, &["erase", "--subject", "ana"])).await;
    let says = "2 entries were removed; copies of the ledger (*.before-N beside its file, backups) were not touched";
    assert_eq!(said.trim(), says);
    let entries = books.entries().await;
    let whose: Vec<_> = entries
        .iter()
        .map(|entry| entry.subject.as_deref().unwrap())
        .collect();
    assert_eq!(whose, ["tom", "tom"]);
    books.assert_counted().await;
    for issuer in [ISSUER, "https://id.example.com"] {
        let again = &["erase", "--subject", "ana", "--issuer", issuer];
        let again = beside(&books, again).finish().await;
        assert_eq!((again.code, again.out.as_str()), (Some(1), ""), "{again:?}");
        assert!(
            again.err.contains("nothing was removed")
                && again.err.contains(&format!("(known: {ISSUER})")),
            "{again:?}"
        );
    }
    // The running broker learns that the quota begins anew: it believes what it found used up for ten seconds.
    let mints = async || broker.token_as(&student("ana")).await.status == 200;
    eventually("the quota begins anew", PATIENCE, mints).await;
    broker.stop().await;
    // Nothing of it is left in the file.
    let erased = done(beside(&books, &["erase", "--subject", "tom"])).await;
    assert_eq!(erased.trim(), says);
    let usage = done(beside(&books, &["usage", "--by", "user"])).await;
    assert!(!usage.contains("tom"), "{usage}");
}

#[tokio::test]
async fn erase_finds_an_identity_under_its_plain_name_and_under_its_pseudonym() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let key = "BROKER_LEDGER__PSEUDONYM_KEY";
    for pseudonymous in ["false", "true"] {
        let launch = books
            .launch(&simulator)
            .env(key, TOKEN)
            .set("ledger.pseudonymous", pseudonymous);
        let broker = launch.start().await;
        broker.token_as(&student("ana")).await.secret();
        broker.token_as(&student("tom")).await.secret();
        broker.stop().await;
    }
    let names = async || -> Vec<_> {
        let entries = books.entries().await.into_iter();
        entries.map(|entry| entry.subject.unwrap()).collect()
    };
    let before = names().await;
    assert_eq!(before[..2], ["ana", "tom"]);
    assert!(before[2].starts_with("anon_"), "{before:?}");
    let said = done(beside(&books, &["erase", "--subject", "ana"]).env(key, TOKEN)).await;
    assert!(said.starts_with("2 entries were removed"), "{said}");
    assert_eq!(names().await, [before[1].as_str(), before[3].as_str()]);
}

#[tokio::test]
async fn commands_say_what_is_missing() {
    let books = Books::new();
    let failed = async |arguments: &[&str], says: &str| {
        let ended: Ended = beside(&books, arguments).finish().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(says), "{says}: {ended:?}");
    };
    for command in [&["usage"][..], &["migrate"], &["erase", "--subject", "ana"]] {
        failed(command, "there is no ledger at").await;
    }
    assert!(!books.path().exists());
    failed(&["usage", "--since", "yesterday"], "--since").await;
    let memory = ["--set", "ledger.url=memory"];
    failed(&[&["usage"][..], &memory].concat(), "/usage").await;
    failed(&[&["migrate"][..], &memory].concat(), "nothing to migrate").await;
    let simulator = simulator(&[]).await;
    books.launch(&simulator).start().await.stop().await;
    let said = done(beside(&books, &["migrate"])).await;
    assert!(said.contains("already"), "{said}");
}

/// A broker with a listener for operators, and where that is.
async fn with_operators(books: &Books, simulator: &Simulator) -> (Broker, String) {
    let launch = books
        .launch(simulator)
        .env("BROKER_OPS__TOKEN", TOKEN)
        .set("ops.listen", "127.0.0.1:0");
    let broker = launch.start().await;
    let ready = broker
        .running
        .logged(|line| line["message"] == "ready")
        .await;
    let operators = ready["operators"].as_str().unwrap().to_owned();
    (broker, operators)
}

#[tokio::test]
async fn operators_ask_for_usage_and_end_sessions_on_a_listener_of_their_own() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let (broker, operators) = with_operators(&books, &simulator).await;
    use_it(&broker, &simulator).await;
    let opened = broker.token_as(&teacher("uma")).await;
    opened.secret();

    let ask = async |path: &str, token: &str| {
        Answer::to(
            client()
                .get(format!("{operators}{path}"))
                .bearer_auth(token),
        )
        .await
    };
    let users = ask("/usage?by=user", TOKEN).await;
    assert_eq!(users.status, 200, "{users:?}");
    assert_eq!(users.json["rows"][0]["subject"], "ana");
    assert_eq!(users.json["rows"][0]["sessions"], 2);
    ask("/usage", "a-guess-that-is-as-long-as-it-is")
        .await
        .is(401, "unauthorized");
    Answer::to(client().get(format!("{operators}/usage")))
        .await
        .is(401, "unauthorized");
    // Nothing of the public's is there.
    let mint = client()
        .post(format!("{operators}/token"))
        .bearer_auth(student("ana"));
    assert_ne!(Answer::to(mint).await.status, 200);

    let whose = json!({ "issuer": ISSUER, "subject": "uma" });
    let end = client()
        .post(format!("{operators}/sessions/end"))
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body(whose.to_string());
    assert_eq!(Answer::to(end).await.json["ended"], 1);
    let refresh = broker
        .post("/refresh-token")
        .bearer_auth(teacher("uma"))
        .header("content-type", "application/json")
        .body(json!({ "sessionId": opened.json["sessionId"] }).to_string());
    Answer::to(refresh).await.is(404, "unknown_session");
    let ended = |line: &Value| line["event"] == "sessions_ended";
    broker.running.logged(ended).await;
}

#[tokio::test]
async fn the_public_port_has_nothing_for_operators() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let (broker, _) = with_operators(&books, &simulator).await;
    for path in ["/usage", "/sessions/end"] {
        let asked = Answer::to(broker.get(path).bearer_auth(TOKEN)).await;
        asked.is(404, "not_found");
        let told = Answer::to(broker.post(path).bearer_auth(TOKEN)).await;
        told.is(404, "not_found");
    }
}

#[tokio::test]
async fn without_a_token_nothing_listens_for_operators() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let place = free_address();
    let launch = books
        .launch(&simulator)
        .set("ops.listen", &place.to_string());
    let broker = launch.start().await;
    let ready = broker
        .running
        .logged(|line| line["message"] == "ready")
        .await;
    assert!(
        ready["operators"].as_str().unwrap().contains("no listener"),
        "{ready}"
    );
    assert!(TcpStream::connect(place).is_err());
    broker.stop().await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let launch = books
        .launch(&simulator)
        .env("BROKER_OPS__TOKEN", TOKEN)
        .set("ops.listen", &place);
    let ended = launch.finish().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&place), "{ended:?}");
}

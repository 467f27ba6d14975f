//! With identity, ledger and operators on, secrets stay out of every log line, every answer, and every file.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use token_broker::simulator::Simulator;

use super::ledger_file::Books;
use super::secrecy::{assert_kept, whole_log};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, claims, now};
use crate::kit::http::client;
use crate::kit::issuer::{ISSUER, SECRET, sign};
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::{SOON, eventually};

const OPERATORS: &str = "canary-operators-token-55c0e1";
const PSEUDONYMS: &str = "canary-pseudonym-key-that-is-long-enough";
const PASSWORD: &str = "canary-database-password-7d";
/// The name that a persona may greet somebody by.
const NAME: &str = "Canary Fullname";
/// Who it is at the issuer; the ledger has pseudonyms.
const SUBJECT: &str = "canary-subject-0001";

const PERSONAS: &str = "
[default]
public = true
[default.session]
model = \"gpt-realtime-2.1\"
instructions = \"Greet {% if name %}{{ name }}{% else %}them{% endif %}.\"
";

/// Ways in which the upstream fails.
const FAULTS: [&str; 10] = [
    "400",
    "401",
    "429:1",
    "quota",
    "500",
    "hang",
    "garbage",
    "expired",
    "disconnect",
    "truncated",
];

/// What must not be seen, and what was.
struct Watch {
    broker: Broker,
    operators: String,
    secrets: Vec<String>,
    answers: String,
}

impl Watch {
    async fn over(books: &Books, simulator: &Simulator) -> Self {
        let broker = books
            .launch(simulator)
            .file("personas.toml", PERSONAS)
            .env("RUST_LOG", "trace")
            .env("BROKER_OPS__TOKEN", OPERATORS)
            .env("BROKER_LEDGER__PSEUDONYM_KEY", PSEUDONYMS)
            .set("ledger.pseudonymous", "true")
            .set("ledger.timeout", "1s")
            .set("ops.listen", "127.0.0.1:0")
            .set("personas.file", "personas.toml")
            .set("quota.student.sessions_per_month", "6")
            .set("upstream.timeout", "700ms")
            .set("upstream.connect_timeout", "500ms")
            .set("session.min_refresh_interval", "1s")
            .start()
            .await;
        let ready = broker.running.logged(|line| line["message"] == "ready");
        let operators = ready.await["operators"].as_str().unwrap().to_owned();
        let fixed = [KEY, SECRET, OPERATORS, PSEUDONYMS, NAME, SUBJECT];
        Self {
            broker,
            operators,
            secrets: fixed.map(str::to_owned).to_vec(),
            answers: String::new(),
        }
    }

    /// A credential, which is a secret as a whole and in parts.
    fn credential(&mut self, changes: &Value) -> String {
        let mut claims = claims(SUBJECT, "student");
        claims["user_metadata"]["full_name"] = NAME.into();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let bearer = sign(&claims);
        self.secrets
            .extend(bearer.split('.').skip(1).map(str::to_owned));
        bearer
    }

    async fn ask(&mut self, request: RequestBuilder) -> Answer {
        let answer = Answer::to(request.header("origin", PAGE)).await;
        let mut text = format!("{:?}{}", answer.headers, answer.text);
        if answer.status == 200 {
            for field in ["token", "sessionId"] {
                if let Some(secret) = answer.json[field].as_str() {
                    // Once as itself, and the client secret once more under its other name.
                    text = text.replacen(secret, "", 2);
                    self.secrets.push(secret.to_owned());
                }
            }
        }
        self.answers += &text;
        answer
    }

    async fn mint(&mut self, bearer: &str) -> Answer {
        self.ask(self.broker.as_somebody(bearer)).await
    }

    async fn refresh(&mut self, bearer: &str, session: &Value) -> Answer {
        let request = self.broker.post("/refresh-token").bearer_auth(bearer);
        let body = json!({ "sessionId": session }).to_string();
        self.ask(
            request
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    /// Refreshes until the least time between two refreshes is over and the client secret is a new one.
    async fn refresh_to_another(&mut self, bearer: &str, last: &Answer) {
        eventually("another client secret", SOON, async || {
            let answer = self.refresh(bearer, &last.json["sessionId"]).await;
            answer.status == 200 && answer.secret() != last.secret()
        })
        .await;
    }

    async fn operate(&mut self, path: &str, token: &str) -> Answer {
        let request = client().get(format!("{}{path}", self.operators));
        self.ask(request.bearer_auth(token)).await
    }

    /// Ends the broker. Neither its log, nor an answer, nor any file of the ledger holds a secret. The files are read before
    /// the end, too, when the ledger's own log is still beside it.
    async fn kept(self, books: &Books) {
        let mut places = books.files();
        places.push(("the log".into(), whole_log(self.broker).await));
        places.extend(books.files());
        places.push(("an answer".into(), self.answers));
        assert_kept(&self.secrets, &places);
    }
}

#[tokio::test]
async fn nothing_secret_is_said_or_stored_when_all_goes_well() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut watch = Watch::over(&books, &simulator).await;
    let bearer = watch.credential(&json!({}));
    let opened = watch.mint(&bearer).await;
    opened.secret();
    let session = &opened.json["sessionId"];
    let early = watch.refresh(&bearer, session).await;
    assert_eq!(early.secret(), opened.secret(), "{early:?}");
    watch.refresh_to_another(&bearer, &opened).await;
    let report = watch.operate("/usage?by=user", OPERATORS).await;
    assert_eq!(report.json["rows"][0]["sessions"], 1, "{report:?}");
    let sent = simulator.requests().pop().unwrap();
    let sent = String::from_utf8_lossy(&sent.body).into_owned();
    assert!(sent.contains(NAME), "the canary never flew: {sent}");
    watch.kept(&books).await;
    let written = "SELECT COUNT(*) FROM sessions WHERE refreshes = 1";
    assert_eq!(books.number(written).await, 1);
}

#[tokio::test]
async fn nothing_secret_is_said_or_stored_however_it_goes_wrong() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut watch = Watch::over(&books, &simulator).await;
    let bearer = watch.credential(&json!({}));
    let opened = watch.mint(&bearer).await;
    // Credentials that are not good, each in its own way.
    for changes in [
        json!({ "exp": now() - 3600 }),
        json!({ "aud": "somebody-else" }),
        json!({ "iss": "https://evil.example.com/" }),
        json!({ "sub": [7] }),
        json!({ "nbf": now() + 3600 }),
    ] {
        let bad = watch.credential(&changes);
        watch.mint(&bad).await.is(401, "unauthorized");
        watch
            .refresh(&bad, &opened.json["sessionId"])
            .await
            .is(401, "unauthorized");
    }
    let forged = format!("{}x", &bearer[..bearer.len() - 4]);
    watch.mint(&forged).await.is(401, "unauthorized");
    watch
        .mint(&bearer.replace('.', "~"))
        .await
        .is(401, "unauthorized");
    assert_wrong_sessions(&mut watch, &bearer, &opened.json["sessionId"]).await;
    // A ledger that fails.
    let mut lock = books.open().await;
    lock.execute("BEGIN EXCLUSIVE").await.unwrap();
    let fresh = watch.credential(&json!({ "sub": "canary-subject-0003" }));
    watch.mint(&fresh).await.is(503, "ledger_unavailable");
    lock.execute("ROLLBACK").await.unwrap();
    lock.close().await.unwrap();
    // An upstream that fails.
    for fault in FAULTS {
        simulator.plan(fault.parse().unwrap());
        let answer = watch.mint(&bearer).await;
        assert_ne!(answer.status, 200, "{fault}");
        simulator.clear();
    }
    watch.kept(&books).await;
}

/// Sessions of others, and operators who are none.
async fn assert_wrong_sessions(watch: &mut Watch, bearer: &str, session: &Value) {
    let other = watch.credential(&json!({ "sub": "canary-subject-0002" }));
    watch
        .refresh(&other, session)
        .await
        .is(404, "unknown_session");
    // The last client secret once more: too soon for another one.
    assert_eq!(watch.refresh(bearer, session).await.status, 200);
    let guess = "canary-guess-of-a-token-9e";
    watch.secrets.push(guess.to_owned());
    watch.operate("/usage", guess).await.is(401, "unauthorized");
    watch
        .operate("/usage?by=nonsense", OPERATORS)
        .await
        .is(400, "bad_request");
}

#[tokio::test]
async fn a_copy_of_the_ledger_holds_no_secret_either() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut watch = Watch::over(&books, &simulator).await;
    let bearer = watch.credential(&json!({}));
    watch.mint(&bearer).await.secret();
    let secrets = watch.secrets.clone();
    watch.kept(&books).await;
    // As the first version left it, so that the next start puts a copy beside it.
    let mut connection = books.open().await;
    for change in [
        "DROP VIEW realtime_token_usage",
        "DROP VIEW daily_usage",
        "DROP TABLE daily_models",
        "DROP TABLE secrets",
        "DROP TABLE daily",
        "DROP TABLE daily_accounts",
        "DROP TABLE accounts",
        "DROP TABLE sessions",
        "DROP TABLE calls",
        "DROP TABLE tickets",
        "DROP TABLE call_uses",
        "DROP TABLE leases",
        "DROP TABLE alerts",
        "DROP TABLE announcements",
        "ALTER TABLE entries DROP COLUMN turns; \
         ALTER TABLE entries DROP COLUMN seconds; \
         ALTER TABLE entries DROP COLUMN fresh_text; \
         ALTER TABLE entries DROP COLUMN fresh_audio; \
         ALTER TABLE entries DROP COLUMN fresh_image; \
         ALTER TABLE entries DROP COLUMN cached_text; \
         ALTER TABLE entries DROP COLUMN cached_audio; \
         ALTER TABLE entries DROP COLUMN cached_image; \
         ALTER TABLE entries DROP COLUMN output_text; \
         ALTER TABLE entries DROP COLUMN output_audio; \
         ALTER TABLE entries DROP COLUMN transcribed_ms; \
         ALTER TABLE entries DROP COLUMN nanodollars; \
         ALTER TABLE entries DROP COLUMN estimated_nanodollars;",
        "PRAGMA user_version = 1",
    ] {
        connection.execute(change).await.unwrap();
    }
    connection.close().await.unwrap();
    books.launch(&simulator).start().await.stop().await;
    let files = books.files();
    assert!(
        files.iter().any(|(name, _)| name.ends_with(".before-2")),
        "there is no copy"
    );
    assert_kept(&secrets, &files);
    books.assert_counted().await;
}

#[tokio::test]
async fn the_password_of_a_database_is_not_shown() {
    let books = Books::new();
    let url = format!("postgres://broker:{PASSWORD}@127.0.0.1:1/ledger");
    let commands: [(&[&str], Option<i32>); 7] = [
        (&["serve"], Some(1)),
        (&["migrate"], Some(1)),
        (&["usage"], Some(1)),
        (&["erase", "--subject", "ana", "--issuer", ISSUER], Some(1)),
        (&["check", "--online"], Some(1)),
        (&["check"], Some(0)),
        (&["config"], Some(0)),
    ];
    for (arguments, code) in commands {
        let launch: Launch = books
            .of(&[arguments, &["--config", "settings.toml"]].concat())
            .towards("http://127.0.0.1:1/v1")
            .env("BROKER_LEDGER__URL", &url)
            .env("RUST_LOG", "trace")
            .set("ledger.timeout", "1s");
        let ended = launch.finish().await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        let said = format!("{ended:?}");
        for secret in [PASSWORD, SECRET, KEY] {
            assert!(!said.contains(secret), "{arguments:?}: {said}");
        }
    }
}

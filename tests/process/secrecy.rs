//! Secrets stay out of every log line, at every level, and out of every answer but the one that carries them.

use serde_json::json;
use token_broker::simulator::Simulator;

use super::nginx_front::over_tls;
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, eventually};
use crate::kit::wire::Wire;

const BEARER: &str = "canary-bearer-8c1f";
const COOKIE: &str = "canary-cookie-77ab";
const QUERY: &str = "canary-query-90de";
const BODY: &str = "canary-body-5e2d";
/// The name of a field, which is quoted back to whoever sent it.
const FIELD: &str = "canary-field-11aa";
pub const INSTRUCTIONS: &str = "canary-instructions-31bc";
pub const PERSONAS: &str = "
[default]
public = true
[default.session]
model = \"gpt-realtime-2.1\"
instructions = \"canary-instructions-31bc\"
";

/// All the ways in which the simulator can fail.
const FAULTS: [&str; 19] = [
    "400",
    "401",
    "403",
    "429",
    "429:7",
    "quota",
    "500",
    "503",
    "slow:100ms",
    "hang",
    "hang-mid-body",
    "garbage",
    "html",
    "huge",
    "expired",
    "missing-value",
    "redirect:http://127.0.0.1:1/",
    "disconnect",
    "truncated",
];

/// A broker that says all it can say, and what its answers gave away.
struct Talkative {
    broker: Broker,
    /// Client secrets and session ids, each of which stood in one answer.
    given: Vec<String>,
    /// What all other answers said.
    others: String,
}

impl Talkative {
    async fn before(base_url: &str, extra: &[(&str, &str)]) -> Self {
        let launch = Launch::of(&["serve"])
            .towards(base_url)
            .file("personas.toml", PERSONAS)
            .env("RUST_LOG", "trace")
            .set("personas.file", "personas.toml")
            .set("upstream.timeout", "700ms")
            .set("upstream.connect_timeout", "500ms")
            .set("limits.token", "100/60s")
            .set("guard.threshold", "2")
            .set("session.min_refresh_interval", "1s");
        let launch = extra
            .iter()
            .fold(launch, |launch, (name, value)| launch.set(name, value));
        Self {
            broker: launch.start().await,
            given: Vec::new(),
            others: String::new(),
        }
    }

    async fn ask(&mut self, path: &str, body: Option<String>) -> Answer {
        let mut request = self
            .broker
            .post(&format!("{path}?key={QUERY}"))
            .header("authorization", format!("Bearer {BEARER}"))
            .header("cookie", format!("session={COOKIE}"))
            .header("origin", PAGE);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = Answer::to(request).await;
        let mut text = format!("{:?}{}", answer.headers, answer.text);
        if answer.status == 200 {
            // Those of the three shapes of an answer.
            let fields = ["/token", "/sessionId", "/value", "/client_secret/value"];
            let found = fields.map(|field| answer.json.pointer(field));
            let mut found: Vec<_> = found
                .iter()
                .flatten()
                .map(|value| value.as_str().unwrap())
                .collect();
            found.dedup();
            assert!(!found.is_empty(), "no client secret: {answer:?}");
            for secret in found {
                let secret = secret.to_owned();
                assert!(secret.len() > 20, "{secret}");
                // Once as itself, and the client secret once more under its other name.
                text = text.replacen(&secret, "", 2);
                self.given.push(secret);
            }
        }
        self.others += &text;
        answer
    }

    /// Ends the broker, and asserts that it kept every secret.
    async fn kept(self, key: &str) {
        let log = whole_log(self.broker).await;
        assert!(!log.contains(FIELD), "a field's name is in the log");
        let places = [("the log", log), ("an answer", self.others)];
        assert_kept(&[key, BEARER, COOKIE, QUERY, BODY, INSTRUCTIONS], &places);
        assert_kept(&self.given, &places);
        // Neither the provider's own secrets in broken answers, nor what it says of keys.
        assert_kept(
            &["ek_sim_", "sk-simulated-and-revoked", "sk-simul"],
            &places,
        );
    }
}

/// Ends the broker. Returns its whole log, which must have the lines of the lowest level.
pub async fn whole_log(broker: Broker) -> String {
    let ended = broker.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = ended.out + &ended.err;
    assert!(log.contains("TRACE"), "it said little: {log}");
    log
}

/// Asserts that none of `secrets` is in any of `places`, each of which is a name with a text.
pub fn assert_kept(secrets: &[impl AsRef<str>], places: &[(impl AsRef<str>, String)]) {
    for secret in secrets.iter().map(AsRef::as_ref) {
        for (place, text) in places {
            let at = text.find(secret);
            let around = at.map(|at| &text[text.floor_char_boundary(at.saturating_sub(300))..]);
            let around = around.map(|text| &text[..text.floor_char_boundary(400)]);
            assert!(
                at.is_none(),
                "{secret} is in {}: {around:?}",
                place.as_ref()
            );
        }
    }
}

async fn talkative(simulator: &Simulator, extra: &[(&str, &str)]) -> Talkative {
    Talkative::before(&simulator.base_url(), extra).await
}

#[tokio::test]
async fn nothing_secret_is_said_when_all_goes_well() {
    let simulator = simulator(&[]).await;
    let mut talkative = talkative(&simulator, &[]).await;
    let opened = talkative.ask("/token", None).await;
    let refresh = json!({ "sessionId": opened.json["sessionId"] }).to_string();
    // Within the least interval the last client secret is handed over again. At its very end there may be a 429.
    eventually("another client secret", SOON, async || {
        let body = Some(refresh.clone());
        let refreshed = talkative.ask("/refresh-token", body).await;
        refreshed.status == 200 && refreshed.secret() != opened.secret()
    })
    .await;
    let sent = simulator.requests().pop().unwrap();
    assert!(
        String::from_utf8_lossy(&sent.body).contains(INSTRUCTIONS),
        "the canary never flew"
    );
    talkative.kept(crate::kit::provider::KEY).await;
}

#[tokio::test]
async fn nothing_secret_is_said_when_callers_do_wrong() {
    let simulator = simulator(&[]).await;
    let mut talkative = talkative(&simulator, &[]).await;
    let wrong = [
        json!({ FIELD: BODY }).to_string(),
        json!({ "persona": BODY }).to_string(),
        json!({ "language": BODY, "userRole": BODY, "extra": BODY }).to_string(),
        json!([BODY]).to_string(),
        format!("{{\"persona\": {BODY}"),
        format!("{{\"persona\": \"x\", \"persona\": \"{BODY}\"}}"),
        format!("\"{BODY}\""),
        format!("{BODY}{}", "x".repeat(17_000)),
        json!({ "sessionId": BODY }).to_string(),
        json!({ "sessionId": format!("rts_{BODY}{}", "A".repeat(43 - BODY.len())) }).to_string(),
    ];
    for body in wrong {
        for path in [
            "/token",
            "/refresh-token",
            "/session",
            "/v1/realtime/client_secrets",
        ] {
            let answer = talkative.ask(path, Some(body.clone())).await;
            // The settings that old clients and SDKs send are ignored there.
            let ignores = path == "/session" || path == "/v1/realtime/client_secrets";
            let is_settings =
                serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&body).is_ok();
            assert!(
                answer.status != 200 || ignores && is_settings,
                "{path} {body}"
            );
        }
    }
    // Bytes that are no request at all.
    for bytes in [
        format!("GET /{BODY}\0 HTTP/1.1\r\n\r\n"),
        format!("POST /token HTTP/1.1\r\nHost: localhost\r\n{BODY}\r\n\r\n"),
    ] {
        let mut wire = Wire::to(talkative.broker.address).await;
        wire.send(bytes).await;
        talkative.others += &wire.hear().await.text;
    }
    talkative.kept(crate::kit::provider::KEY).await;
}

#[tokio::test]
async fn nothing_secret_is_said_however_the_upstream_fails() {
    for faults in FAULTS.chunks(5) {
        let mut all = tokio::task::JoinSet::new();
        for fault in faults {
            all.spawn(async move {
                let simulator = simulator(&[fault]).await;
                let mut talkative = talkative(&simulator, &[]).await;
                let answer = talkative.ask("/token", None).await;
                assert_eq!(
                    answer.status == 200,
                    fault.starts_with("slow"),
                    "{fault}: {answer:?}"
                );
                assert!(simulator.seen() > 0, "{fault}");
                talkative.kept(crate::kit::provider::KEY).await;
            });
        }
        all.join_all().await;
    }
}

#[tokio::test]
async fn nothing_secret_is_said_over_tls_and_http_2() {
    let simulator = simulator(&[]).await;
    let (nginx, base_url, certificate) = over_tls(&simulator).await;
    let mut talkative = Talkative::before(&base_url, &[("upstream.ca_file", &certificate)]).await;
    for _ in 0..3 {
        assert_eq!(talkative.ask("/token", None).await.status, 200);
    }
    simulator.plan("2x500".parse().unwrap());
    assert_eq!(talkative.ask("/token", None).await.status, 503);
    let mints = nginx.log();
    let mints: Vec<_> = mints
        .iter()
        .filter(|line| line["path"] == "/v1/realtime/client_secrets")
        .collect();
    assert!(
        mints.len() >= 3 && mints.iter().all(|line| line["protocol"] == "HTTP/2.0"),
        "{mints:?}"
    );
    talkative.kept(crate::kit::provider::KEY).await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_shown() {
    let simulator = simulator(&[]).await;
    let key = "sk-canary-key-that-is-wrong-2b7e";
    let launch = Launch::serve(&simulator)
        .env("OPENAI_API_KEY", key)
        .env("RUST_LOG", "trace");
    let mut talkative = Talkative {
        broker: launch.start().await,
        given: Vec::new(),
        others: String::new(),
    };
    let answer = talkative.ask("/token", None).await;
    answer.is(503, "upstream_unavailable");
    talkative
        .broker
        .running
        .logged(|line| line["event"] == "upstream_key_rejected")
        .await;
    talkative.kept(key).await;
}

//! What the log says, and what strangers cannot make it say.

use serde_json::{Value, json};

use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::http::client;
use crate::kit::issuer::unlimited;
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, until};
use crate::kit::wire::Wire;

/// The first line so far of this request that `fits`.
fn line_of(broker: &Broker, id: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
    let lines = broker
        .running
        .log(|line| line["request_id"] == id && fits(line));
    lines.into_iter().next()
}

async fn assert_the_retry_names(broker: &Broker, answer: &Answer, route: &str) {
    let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let retried = |line: &Value| {
        line["target"]
            .as_str()
            .unwrap()
            .starts_with("token_broker::upstream")
            && line["level"] == "WARN"
    };
    until("the retry is logged", || {
        line_of(broker, &id, retried).is_some()
    })
    .await;
    let line = line_of(broker, &id, retried).unwrap();
    assert_eq!(line["route"], route, "{line}");
}

#[tokio::test]
async fn a_failing_upstreams_log_line_names_the_request_of_the_mint() {
    let simulator = simulator(&["500"]).await;
    let broker = Launch::serve(&simulator).start().await;
    let answer = broker.token().await;
    assert_eq!(answer.status, 503);
    assert_the_retry_names(&broker, &answer, "/token").await;
}

#[tokio::test]
async fn a_failing_upstreams_log_line_names_the_request_of_the_refresh() {
    let simulator = simulator(&["1xslow:1ms", "500"]).await;
    let broker = Launch::serve(&simulator)
        .set("session.min_refresh_interval", "0s")
        .start()
        .await;
    let opened = broker.token().await;
    let request = broker
        .post("/refresh-token")
        .header("content-type", "application/json")
        .body(json!({ "sessionId": opened.json["sessionId"] }).to_string());
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 503);
    assert_the_retry_names(&broker, &answer, "/refresh-token").await;
}

#[tokio::test]
async fn access_lines_name_the_caller_by_address_origin_and_hashed_identity() {
    let simulator = simulator(&[]).await;
    let broker = Launch::of(&["serve", "--config", "settings.toml"])
        .towards(&simulator.base_url())
        .file("settings.toml", &unlimited())
        .start()
        .await;
    for who in ["ana", "ana", "bob"] {
        let request = broker.post("/token").bearer_auth(student(who));
        Answer::to(request.header("origin", PAGE)).await.secret();
    }
    let access = lines_of("access", &broker.stop().await.out);
    let identity = |nth: usize| access[nth]["identity"].as_str().unwrap();
    assert_eq!(identity(0), identity(1));
    assert_ne!(identity(0), identity(2));
    assert!(!identity(0).contains("ana") && identity(0).len() == 16);
    assert_eq!(
        (&access[0]["client_ip"], &access[0]["origin"]),
        (&json!("127.0.0.1"), &json!(PAGE))
    );
}

#[tokio::test]
async fn a07_methods_and_paths_that_strangers_make_up_are_not_logged() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    let made_up = "A".repeat(15_000);
    for request in [
        format!("{made_up} /token HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /{made_up} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("POST /token HTTP/1.1\r\nHost: localhost\r\nOrigin: https://{made_up}\r\n\r\n"),
    ] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(&request).await;
        wire.hear_for(SOON.min(std::time::Duration::from_millis(300)))
            .await;
    }
    let ended = broker.stop().await;
    let lines: Vec<_> = ended
        .out
        .lines()
        .filter(|line| line.contains("\"access\""))
        .collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for line in lines {
        assert!(line.len() < 600, "{line}");
    }
}

/// Lines of `target` in `text`, which must be JSON throughout.
fn lines_of(target: &str, text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line["target"] == target)
        .collect()
}

fn sum(lines: &[Value], count: &str) -> u64 {
    let counts = lines.iter().filter_map(|line| line[count].as_u64());
    counts.sum()
}

#[tokio::test]
async fn a07_requests_that_cost_strangers_nothing_are_folded_in_the_access_log_and_counted() {
    const EACH: u64 = 30;
    let simulator = simulator(&[]).await;
    let broker = Launch::of(&["serve", "--config", "settings.toml"])
        .towards(&simulator.base_url())
        .file("settings.toml", &unlimited())
        .start()
        .await;
    let post = |path| broker.post(path);
    let preflight = || {
        let ask = client().request(reqwest::Method::OPTIONS, broker.url("/token"));
        ask.header("access-control-request-method", "POST")
    };
    for _ in 0..EACH {
        for free in [
            broker.get("/nowhere"),
            broker.get("/token"),
            broker.get("/openapi.json"),
            post("/token"),
            post("/token").bearer_auth("forged"),
            post("/token").header("origin", "https://evil.test"),
            preflight().header("origin", "https://evil.test"),
            preflight().header("origin", PAGE),
        ] {
            free.send().await.unwrap();
        }
    }
    for _ in 0..EACH {
        Answer::to(broker.as_somebody(&student("ana")))
            .await
            .secret();
    }
    let out = broker.stop().await.out;
    let access = lines_of("access", &out);
    let granted = |line: &&Value| line["status"] == 200 && line["persona"].is_string();
    assert_eq!(access.iter().filter(granted).count() as u64, EACH);
    let outcomes: Vec<_> = access
        .iter()
        .filter(|line| line["message"] == "folded")
        .cloned()
        .collect();
    assert!(access.len() < 30 + 60, "{}", access.len());
    let written = (access.len() - outcomes.len()) as u64;
    assert_eq!(
        sum(&outcomes, "folded") + written,
        9 * EACH,
        "{outcomes:#?}"
    );
}

#[tokio::test]
async fn a07_a_flood_of_one_identity_hides_no_refusal_of_another_at_the_same_address() {
    let simulator = simulator(&[]).await;
    let broker = Launch::of(&["serve", "--config", "settings.toml"])
        .towards(&simulator.base_url())
        .file("settings.toml", &unlimited())
        .set("limits.identity", "1/1h")
        .start()
        .await;
    for who in ["ana", "bob"] {
        for _ in 0..30 {
            Answer::to(broker.as_somebody(&student(who))).await;
        }
    }
    let out = broker.stop().await.out;
    let refused = lines_of("access", &out);
    let refused: Vec<_> = refused
        .iter()
        .filter(|line| line["limit"] == "identity")
        .map(|line| line["identity"].as_str().unwrap())
        .collect();
    let first = refused[0];
    assert_eq!(refused.len(), 10, "{refused:?}");
    assert_eq!(refused.iter().filter(|who| **who == first).count(), 5);
}

#[tokio::test]
async fn n13_failures_of_one_kind_are_folded_in_the_access_log() {
    let simulator = simulator(&["40x500"]).await;
    let broker = Launch::serve(&simulator)
        .set("limits.token", "1000/60s")
        .start()
        .await;
    for _ in 0..20 {
        assert_eq!(broker.token().await.status, 503);
    }
    let out = broker.stop().await.out;
    let access = lines_of("access", &out);
    assert_eq!(access.len(), 6, "{access:#?}");
    assert!(access.iter().all(|line| line["level"] == "ERROR"));
    assert_eq!(access[0]["persona"], "default");
    assert_eq!(
        (&access[5]["folded"], &access[5]["written"]),
        (&json!(15), &json!(5))
    );
}

#[tokio::test]
async fn n13_lines_about_a_rejected_key_are_folded_and_counted() {
    let simulator = simulator(&["20x401"]).await;
    let broker = Launch::serve(&simulator);
    let broker = broker.set("limits.token", "1000/60s").start().await;
    for _ in 0..20 {
        broker.token().await.is(502, "upstream_invalid");
    }
    let out = broker.stop().await.out;
    let lines = lines_of("token_broker::upstream::lines", &out);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert_eq!(lines[0]["upstream.code"], "invalid_api_key");
    assert_eq!(
        (&lines[5]["folded"], &lines[5]["written"]),
        (&json!(15), &json!(5))
    );
}

/// Asserts that all lines have the same fields of the same form, whoever wrote them.
fn assert_one_schema(out: &str) {
    let snake = |name: &String| {
        name.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.".contains(letter)
        })
    };
    for line in out.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.ends_with('Z') && timestamp.as_bytes()[10] == b'T');
        let nested = line["details"].as_object();
        let fields = line.as_object().into_iter().chain(nested);
        for field in fields.flat_map(serde_json::Map::keys) {
            assert!(snake(field), "{field}: {line}");
        }
    }
}

#[tokio::test]
async fn n11_access_audit_and_system_lines_have_one_schema() {
    let simulator = simulator(&["1x401"]).await;
    let broker = Launch::of(&["serve", "--config", "settings.toml"])
        .towards(&simulator.base_url())
        .file("settings.toml", &unlimited())
        .set("limits.identity", "2/1h")
        .set("server.trusted_proxies", "10.0.0.0/8")
        .start()
        .await;
    let agent = "evil\u{9b}\"\\agent";
    for _ in 0..5 {
        let request = broker.as_somebody(&student("ana"));
        Answer::to(request.header("user-agent", agent.as_bytes())).await;
    }
    let foreign = broker.post("/token").header("origin", "https://evil.test");
    Answer::to(foreign).await;
    let forged = Answer::to(broker.post("/token").bearer_auth("forged")).await;
    let out = broker.stop().await.out;
    assert_one_schema(&out);
    let audit = lines_of("audit", &out);
    let told = |event: &str| {
        audit
            .iter()
            .find(|line| line["event"] == event)
            .expect(&out)
    };
    let failed = told("auth_failed");
    assert_eq!(failed["request_id"].as_str().unwrap(), forged.request_id());
    assert_eq!(failed["client_ip"], "127.0.0.1");
    assert_eq!(
        (&failed["severity"], &failed["level"]),
        (&json!("medium"), &json!("WARN"))
    );
    let limited = told("rate_limit_exceeded");
    assert_eq!(limited["details"]["identity"], limited["identity"]);
    assert_eq!(limited["user_agent"], agent);
    let access = lines_of("access", &out);
    let refused = access
        .iter()
        .find(|line| line["limit"] == "identity")
        .unwrap();
    for field in ["request_id", "route", "identity", "client_ip"] {
        assert_eq!(limited[field], refused[field], "{field}");
    }
}

#[tokio::test]
async fn n11_a_terminal_gets_audit_events_as_text_without_control_characters() {
    let simulator = simulator(&[]).await;
    let text = Launch::serve(&simulator).set("log.format", "text");
    let running = text.spawn();
    let ready = running.said(|line| line.contains("ready")).await;
    let (_, address) = ready.split_once("listen=http://").unwrap();
    let address = address.split(' ').next().unwrap().parse().unwrap();
    let broker = Broker { running, address };
    let request = broker
        .post("/token")
        .header("user-agent", "evil\u{9b}31m".as_bytes());
    Answer::to(request.header("origin", "https://evil\u{9b}31m.test".as_bytes())).await;
    Answer::to(broker.post("/token")).await.secret();
    let out = broker.stop().await.out;
    let line = out
        .lines()
        .find(|line| line.contains("origin_refused"))
        .unwrap();
    assert!(line.contains("WARN") && line.contains("audit"), "{line}");
    assert!(
        !out.contains(['\u{9b}', '\u{1b}']) && !out.contains("{\"timestamp\""),
        "{out}"
    );
    assert!(out.contains("token_minted"), "{out}");
}

#[tokio::test]
async fn n11_identities_are_shown_as_the_setting_says_and_audit_events_do_not_depend_on_the_filter()
{
    let simulator = simulator(&[]).await;
    for (shown, expected) in [("clear", json!("ana")), ("none", Value::Null)] {
        let broker = Launch::of(&["serve", "--config", "settings.toml"])
            .towards(&simulator.base_url())
            .file("settings.toml", &unlimited())
            .set("log.identity", shown)
            .start()
            .await;
        Answer::to(broker.as_somebody(&student("ana")))
            .await
            .secret();
        let out = broker.stop().await.out;
        assert_eq!(lines_of("access", &out)[0]["identity"], expected);
        let audit = lines_of("audit", &out);
        let minted = audit.iter().find(|line| line["event"] == "token_minted");
        assert_eq!(minted.unwrap()["details"]["identity"], expected);
    }
    let quiet = Launch::serve(&simulator).set("log.filter", "off");
    let quiet = quiet.set("server.trusted_proxies", "127.0.0.1").spawn();
    let warning = quiet.logged(|line| line["event"] == "config_warning").await;
    assert_eq!(warning["target"], "audit");
}

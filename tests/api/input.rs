//! What callers may send, and how the rest is refused: by field, without repeating it.

use axum::http::Method;
use serde_json::{Value, json};

use crate::kit::in_process::TestApp;

fn roomy() -> TestApp {
    TestApp::with(&[
        ("limits.token", "1000/60s"),
        ("limits.token_network", "1000/60s"),
        ("guard.threshold", "1000"),
    ])
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_and_nothing_is_minted() {
    let app = roomy();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=\"latin1\"",
        "",
    ] {
        let answer = app.post("/token").body(content_type, "{}").send().await;
        answer.is(415, "unsupported_media_type");
    }
    let twice = app
        .post("/token")
        .body("application/json", "{}")
        .header("content-type", "text/plain");
    twice.send().await.is(415, "unsupported_media_type");
    for coding in ["gzip", "br", "identity"] {
        let packed = app
            .post("/token")
            .body("application/json", "{}")
            .header("content-encoding", coding);
        packed.send().await.is(415, "unsupported_media_type");
    }
    assert_eq!(app.minter.asked(), 0);
}

#[tokio::test]
async fn a16_a21_null_is_an_empty_body_and_json_in_utf8_may_say_so() {
    let app = roomy();
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"; q=1",
    ] {
        for path in ["/token", "/session", "/v1/realtime/client_secrets"] {
            let answer = app.post(path).body(content_type, " null ").send().await;
            assert_eq!(answer.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn sixteen_kibibytes_are_read_and_not_a_byte_more() {
    let app = roomy();
    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert_eq!(
        app.post("/token")
            .body("application/json", padded(16 * 1024))
            .send()
            .await
            .status,
        200
    );
    app.post("/token")
        .body("application/json", padded(16 * 1024 + 1))
        .send()
        .await
        .is(413, "payload_too_large");
    app.post("/token")
        .body("application/json", padded(3 * 1024 * 1024))
        .send()
        .await
        .is(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_that_is_not_plain_json_is_refused_without_an_echo() {
    let app = roomy();
    let deep = format!("{}{}", "[".repeat(8000), "]".repeat(8000));
    let bodies: [&[u8]; 14] = [
        b"{",
        b"nonsense-canary",
        b"[]",
        b"[null,null,null]",
        b" [\"canary\"]",
        b"\"canary\"",
        b"{\"persona\":1e400}",
        b"{\"persona\":\"a\",\"persona\":\"b\"}",
        b"{\"persona\":\"\\ud800\"}",
        b"\xef\xbb\xbf{}",
        b"{\"persona\":\"\xff\"}",
        b"{} canary",
        b"{\"persona\":{\"canary\":1}}",
        deep.as_bytes(),
    ];
    for body in bodies {
        let answer = app
            .post("/token")
            .body("application/json", body.to_vec())
            .send()
            .await;
        answer.is(400, "bad_request");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    assert_eq!(app.minter.asked(), 0);
}

#[tokio::test]
async fn the_field_at_fault_is_named_and_nothing_else_of_it() {
    let app = roomy();
    let named = [
        ("/token", json!({ "voice": "canary" }), Some("voice")),
        ("/token", json!({ "persona": 7 }), Some("persona")),
        (
            "/token",
            json!({ "instructions": "canary" }),
            Some("instructions"),
        ),
        (
            "/refresh-token",
            json!({ "sessionId": ["canary"] }),
            Some("sessionId"),
        ),
        (
            "/refresh-token",
            json!({ "sessionId": "a", "session_id": "b" }),
            Some("sessionId"),
        ),
        (
            "/v1/realtime/client_secrets",
            json!({ "expires_after": { "second": 1 } }),
            Some("expires_after.second"),
        ),
        (
            "/v1/realtime/client_secrets",
            json!({ "expires_after": { "anchor": "canary" } }),
            Some("expires_after.anchor"),
        ),
        ("/refresh-token", json!({}), Some("sessionId")),
        ("/token", json!({ "<script>canary</script>": 1 }), None),
        ("/token", json!({ "x".repeat(65): 1 }), None),
    ];
    for (path, body, param) in named {
        let answer = app.post(path).json(&body).send().await;
        answer.is(400, "bad_request");
        assert_eq!(answer.json["error"]["param"].as_str(), param, "{body}");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_lifetime_out_of_range_is_refused_by_name() {
    let app = roomy();
    let wrong = [
        "0",
        "9",
        "7201",
        "-1",
        "1e18",
        "1e400",
        "\"60\"",
        "60.5",
        "18446744073709551616",
        "true",
    ];
    for seconds in wrong {
        let body =
            format!("{{\"expires_after\":{{\"anchor\":\"created_at\",\"seconds\":{seconds}}}}}");
        let answer = app
            .post("/v1/realtime/client_secrets")
            .body("application/json", body)
            .send()
            .await;
        answer.is(400, "bad_request");
        assert_eq!(
            answer.json["error"]["param"], "expires_after.seconds",
            "{seconds}"
        );
    }
    assert_eq!(app.minter.asked(), 0);
}

#[tokio::test]
async fn a_wrong_method_says_which_is_right_and_an_unknown_path_is_unknown() {
    let app = roomy();
    for (method, path, allow) in [
        (Method::GET, "/token", "POST"),
        (Method::PUT, "/refresh-token", "POST"),
        (Method::DELETE, "/health", "GET,HEAD"),
        (Method::TRACE, "/token", "POST"),
    ] {
        let answer = app.call(method, path).send().await;
        answer.is(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    for path in [
        "/", "/tokens", "/token/", "//token", "/TOKEN", "/%74oken", "/metrics", "/demo", "/.env",
    ] {
        app.post(path).send().await.is(404, "not_found");
    }
    assert_eq!(app.minter.asked(), 0);
}

#[tokio::test]
async fn a_request_id_is_believed_from_a_trusted_proxy_only_and_only_when_plain() {
    let app = TestApp::with(&[("server.trusted_proxies", "203.0.113.7")]);
    let id = async |call: crate::kit::in_process::Call| {
        call.send().await.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(
        id(app.get("/livez").header("x-request-id", "edge-1")).await,
        "edge-1"
    );
    assert_ne!(
        id(app
            .get("/livez")
            .from("198.51.100.1")
            .header("x-request-id", "edge-1"))
        .await,
        "edge-1"
    );
    for hostile in ["a b", "<script>", "\"", &"a".repeat(65)] {
        assert!(
            id(app.get("/livez").header("x-request-id", hostile))
                .await
                .starts_with("req_")
        );
    }
}

#[tokio::test]
async fn a_request_must_name_one_host_that_the_broker_answers_for() {
    let app = TestApp::with(&[("server.hosts", "broker.example.com,localhost")]);
    assert_eq!(app.post("/token").send().await.status, 200);
    assert_eq!(
        app.post("/token")
            .without("host")
            .header("host", "LOCALHOST:8080")
            .send()
            .await
            .status,
        200
    );
    app.post("/token")
        .without("host")
        .send()
        .await
        .is(400, "bad_request");
    app.post("/token")
        .header("host", "broker.example.com")
        .send()
        .await
        .is(400, "bad_request");
    for foreign in [
        "evil.test",
        "broker.example.com.evil.test",
        "localhost.evil.test:80",
        "127.0.0.1",
    ] {
        app.post("/token")
            .without("host")
            .header("host", foreign)
            .send()
            .await
            .is(421, "misdirected");
    }
    let empty = app.post("/token").without("host").header("host", "");
    empty.send().await.is(400, "bad_request");
    assert_eq!(app.minter.asked(), 2);
}

#[tokio::test]
async fn two_hundred_hostile_overrides_never_reach_the_upstream() {
    let app = roomy();
    let fields = [
        "model",
        "voice",
        "instructions",
        "tools",
        "audio",
        "prompt",
        "tracing",
        "max_output_tokens",
        "type",
        "include",
    ];
    for number in 0..200 {
        let field = fields[number % fields.len()];
        let hostile =
            json!({ "session": { "type": "realtime", field: format!("hostile-{number}") } });
        let answer = app
            .post("/v1/realtime/client_secrets")
            .json(&hostile)
            .send()
            .await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains("hostile"));
    }
    let sent: Vec<_> = app
        .minter
        .orders()
        .iter()
        .map(|order| order.session.as_json().to_string())
        .collect();
    assert!(
        sent.iter()
            .all(|session| session == &sent[0] && !session.contains("hostile"))
    );
    let session: Value = serde_json::from_str(&sent[0]).unwrap();
    assert_eq!(session["model"], "gpt-realtime-2.1");
}

//! The mint in other people's wire shapes, and the contract that describes it all.

use serde_json::{Value, json};

use crate::kit::in_process::TestApp;
use crate::kit::issuer::REQUIRED;

#[tokio::test]
async fn openais_own_shape_is_answered_exactly() {
    let app = TestApp::new();
    let answer = app
        .post("/v1/realtime/client_secrets")
        .json(&json!({}))
        .send()
        .await;
    let golden: Value =
        serde_json::from_str(include_str!("../contract/client-secret.json")).unwrap();
    assert_eq!((answer.status, answer.json), (200, golden));
}

#[tokio::test]
async fn an_sdk_that_sends_its_own_settings_gets_the_operators_persona() {
    let app = TestApp::new();
    let theirs = json!({ "session": { "type": "realtime", "model": "gpt-realtime", "instructions": "mine" } });
    assert_eq!(
        app.post("/v1/realtime/client_secrets")
            .json(&theirs)
            .send()
            .await
            .status,
        200
    );
    let sent = app.minter.orders()[0].session.as_json().to_string();
    assert!(
        sent.contains("gpt-realtime-2.1") && !sent.contains("mine"),
        "{sent}"
    );
}

#[tokio::test]
async fn f30_n09_settings_in_the_bodies_of_old_clients_are_ignored_on_every_compatible_route() {
    let app = TestApp::new();
    let settings = json!({
        "model": "gpt-4o-realtime-preview", "voice": "nova", "instructions": "mine",
        "session": "none", "turn_detection": null,
    });
    for path in ["/session", "/v1/realtime/client_secrets"] {
        let answer = app.post(path).json(&settings).send().await;
        assert_eq!(answer.status, 200, "{path}");
        let sent = app.minter.last_session();
        assert!(
            !sent.contains("mine") && !sent.contains("nova"),
            "{path}: {sent}"
        );
    }
    let named = app
        .post("/session")
        .json(&json!({ "persona": "nobody", "voice": "nova" }));
    named.send().await.is(422, "unknown_persona");
}

#[tokio::test]
async fn lifetimes_only_shorten() {
    let app = TestApp::new();
    for (asked, given) in [(10, 10), (60, 60), (61, 60), (7200, 60)] {
        let body = json!({ "expires_after": { "anchor": "created_at", "seconds": asked } });
        assert_eq!(
            app.post("/v1/realtime/client_secrets")
                .json(&body)
                .send()
                .await
                .status,
            200
        );
        assert_eq!(
            app.minter.orders().last().unwrap().lifetime.as_secs(),
            given
        );
    }
    for silent in [
        json!({}),
        json!({ "expires_after": null }),
        json!({ "expires_after": {} }),
    ] {
        app.post("/v1/realtime/client_secrets")
            .json(&silent)
            .send()
            .await;
        assert_eq!(app.minter.orders().last().unwrap().lifetime.as_secs(), 60);
    }
}

/// JSON Schema calls `20.0` an integer, too.
#[tokio::test]
async fn a_lifetime_is_whole_seconds_however_they_are_written() {
    let app = TestApp::new();
    for (asked, status) in [("20.0", 200), ("2e1", 200), ("20.5", 400), ("1e300", 400)] {
        let body = format!(r#"{{"expires_after":{{"seconds":{asked}}}}}"#);
        let request = app.post("/v1/realtime/client_secrets");
        let answer = request.body("application/json", body).send().await;
        assert_eq!(answer.status, status, "{asked}");
        let orders = app.minter.orders();
        assert_eq!(orders.last().unwrap().lifetime.as_secs(), 20, "{asked}");
    }
}

#[tokio::test]
async fn the_oldest_shape_is_answered_exactly_and_can_be_refreshed() {
    let app = TestApp::new();
    let answer = app.post("/session").send().await;
    let mut golden: Value = serde_json::from_str(include_str!("../contract/session.json")).unwrap();
    golden["session_id"] = answer.json["session_id"].clone();
    assert_eq!(answer.json, golden);
    app.advance(10);
    assert_eq!(
        app.refresh(answer.json["session_id"].as_str().unwrap())
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn getting_a_token_must_be_switched_on() {
    TestApp::new()
        .get("/token")
        .send()
        .await
        .is(405, "method_not_allowed");
    let compat = TestApp::with(&[("compat.get_token", "true")]);
    assert_eq!(compat.get("/token").send().await.json["token"], "ek_test_1");
    assert_eq!(compat.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn the_contract_describes_every_path_and_no_other() {
    let paths = async |app: TestApp| -> Vec<String> {
        let document = app.get("/openapi.json").send().await.json;
        let paths = document["paths"].as_object().unwrap();
        let methods = |path: &Value| {
            path.as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(",")
        };
        paths
            .iter()
            .map(|(path, item)| format!("{} {path}", methods(item)))
            .collect()
    };
    let usual = [
        "get /calls/{id}",
        "get /calls/{id}/events",
        "get /health",
        "get /livez",
        "get /readyz",
        "get /realtime",
        "get /v1/live/sessions/{id}/attach",
        "get /v1/realtime",
        "post /api/session",
        "post /calls",
        "post /calls/{id}/hangup",
        "post /refresh-token",
        "post /session",
        "post /token",
        "post /v1/live/sessions",
        "post /v1/live/sessions/{id}/hangup",
        "post /v1/realtime/calls",
        "post /v1/realtime/calls/{id}/hangup",
        "post /v1/realtime/client_secrets",
    ];
    let mut found = paths(TestApp::new()).await;
    found.sort();
    assert_eq!(found, usual);
    assert!(
        paths(TestApp::with(&[("compat.get_token", "true")]))
            .await
            .contains(&"get,post /token".to_owned())
    );
    // A secret may be set while the broker runs.
    let app = TestApp::new();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let before = app.get("/openapi.json").send().await.json;
    app.adopt("", &[("live.webhook_secret", secret)]);
    let webhooks = "post /webhooks/openai".to_owned();
    assert!(before["paths"]["/webhooks/openai"].is_null());
    assert!(paths(app).await.contains(&webhooks));
}

#[tokio::test]
async fn the_contract_asks_for_a_credential_as_the_broker_does() {
    let bearer = json!({ "bearer": [] });
    for (mode, security) in [
        ("off", Value::Null),
        ("optional", json!([{}, bearer])),
        ("required", json!([bearer])),
    ] {
        let app = TestApp::of(REQUIRED, &[("auth.mode", mode)]);
        let document = app.get("/openapi.json").send().await.json;
        assert_eq!(document["security"], security, "{mode}");
        // Probes need none.
        assert_eq!(document["paths"]["/health"]["get"]["security"], json!([{}]));
    }
}

#[tokio::test]
async fn the_contract_names_every_failure_code_and_resolves_every_reference() {
    let document = TestApp::new().get("/openapi.json").send().await.json;
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
    let codes = document["components"]["schemas"]["Code"].to_string();
    for code in [
        "rate_limited",
        "upstream_timeout",
        "misdirected",
        "refresh_limit_reached",
    ] {
        assert!(codes.contains(code), "{codes}");
    }
}

#[tokio::test]
async fn the_contract_says_how_every_operation_is_answered_when_it_succeeds_and_when_it_fails() {
    let app = TestApp::with(&[("transcription.models", "whisper-1")]);
    let document = app.get("/openapi.json").send().await.json;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            let succeeds = |status: &String| status.starts_with(['1', '2']);
            assert!(answers.keys().any(succeeds), "{method} {path}: {answers:?}");
            let costs = method == "post" && path.contains("calls") && !path.contains("hangup");
            assert!(!costs || answers.contains_key("402"), "{path}");
        }
    }
    let paths = &document["paths"];
    for (path, other) in [
        ("/v1/live/sessions", "/api/session"),
        ("/transcribe", "/v1/audio/transcriptions"),
    ] {
        let answers = &paths[path]["post"]["responses"];
        assert_eq!(answers, &paths[other]["post"]["responses"]);
        assert!(answers["402"].is_object(), "{answers}");
    }
    let ticket = &paths["/realtime"]["get"]["responses"]["409"]["description"];
    assert!(ticket.as_str().unwrap().contains("in use"), "{ticket}");
}

#[tokio::test]
async fn asking_for_the_head_of_a_token_mints_nothing() {
    let app = TestApp::with(&[("compat.get_token", "true"), ("limits.token", "1/60s")]);
    let answer = app.call(axum::http::Method::HEAD, "/token").send().await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET,POST"))
    );
    assert_eq!(app.minter.asked(), 0);
    assert_eq!(app.get("/token").send().await.status, 200);
}

#[tokio::test]
async fn a_shape_without_a_session_id_keeps_no_session() {
    let app = TestApp::with(&[("session.max_live", "1")]);
    let session = app.open().await;
    for _ in 0..3 {
        assert_eq!(
            app.post("/v1/realtime/client_secrets").send().await.status,
            200
        );
    }
    app.advance(10);
    assert_eq!(app.refresh(&session).await.status, 200);
}

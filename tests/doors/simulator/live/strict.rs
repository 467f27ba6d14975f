//! What a session is created from, and what is refused.

use super::*;
use crate::kit::waiting::until;

#[tokio::test]
async fn a_session_is_created_as_recorded() {
    let bench = Bench::new().await;
    let session = json!({"model": "gpt-live-1", "instructions": null, "audio": {"output": {"voice": "cedar"}}});
    let response = bench.posting(&asking(&session)).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(!response.headers().contains_key("location"));
    let exposed = &response.headers()["access-control-expose-headers"];
    assert_eq!(exposed, "X-Request-Id, CF-Ray");
    let (_, answer) = read(response).await;
    let seen = bench.seen();
    assert_eq!(answer["session"], json!({"id": seen.id}));
    assert!(seen.id.starts_with("live_u0_") && seen.id.len() == "live_u0_".len() + 32);
    assert_eq!(answer["transport"]["type"], "webrtc");
    let sdp = answer["transport"]["sdp"].as_str().unwrap();
    let origin = sdp.lines().find(|line| line.starts_with("o=")).unwrap();
    assert_eq!(origin.split(' ').nth(2), Some(NOW.to_string().as_str()));
    assert!(sdp.contains("a=ice-lite\r\n") && sdp.contains("a=setup:passive\r\n"));
    assert!(!sdp.contains("a=setup:active"));
    // What was asked stands, and the rest is filled in.
    let shown = &seen.session;
    assert_eq!(shown["expires_at"], NOW + 7200);
    assert_eq!(
        (&shown["status"], &shown["store"]),
        (&json!("active"), &json!(false))
    );
    assert_eq!(shown["audio"]["output"]["voice"], "cedar");
    assert!(shown["instructions"].is_string());
}

#[tokio::test]
async fn offers_without_candidates_or_a_data_channel_are_answered() {
    let bench = Bench::new().await;
    let audio = OFFER.split("m=application").next().unwrap();
    let body = json!({"session": {"model": "gpt-live-1.1"}, "transport": {"type": "webrtc", "sdp": audio}});
    assert_eq!(bench.posting(&body).send().await.unwrap().status(), 201);
}

/// Each body with the code and the place at which it must be refused.
async fn refused_at(table: Vec<(Value, &str, &str)>) {
    let bench = Bench::new().await;
    for (body, code, param) in table {
        let (status, answer) = read(bench.posting(&body).send().await.unwrap()).await;
        let error = &answer["error"];
        let found = (status.as_u16(), &error["code"], &error["param"]);
        assert_eq!(found, (400, &json!(code), &json!(param)), "{error}");
    }
    assert!(bench.simulator.calls().all().is_empty());
}

/// Returns the body of a request for a session with these fields.
fn asks(mut fields: Value) -> Value {
    fields["model"] = "gpt-live-1".into();
    asking(&fields)
}

#[tokio::test]
async fn a_body_has_a_session_and_a_transport_and_nothing_else() {
    let model = json!("gpt-live-1");
    let mut extra = asks(json!({}));
    extra["metadata"] = json!({});
    refused_at(vec![
        (
            json!({"session": {"model": model}}),
            "missing_required_parameter",
            "transport",
        ),
        (extra, "unknown_parameter", "metadata"),
        (
            json!({"session": {}, "transport": {"type": "sip", "sdp": OFFER}}),
            "missing_required_parameter",
            "session.model",
        ),
        (
            json!({"session": {"model": model}, "transport": {"type": "webrtc", "sdp": ""}}),
            "invalid_value",
            "transport.sdp",
        ),
        (
            json!({"session": {"model": model}, "transport": {"type": "webrtc", "sdp": OFFER, "x": 1}}),
            "unknown_parameter",
            "transport.x",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_session_has_the_published_fields_within_their_bounds() {
    let message = json!({"role": "user", "content": [{"type": "input_text", "text": "Hi"}]});
    let words = json!("word ".repeat(20_000));
    refused_at(vec![
        (
            asks(json!({"type": "live"})),
            "unknown_parameter",
            "session.type",
        ),
        (
            asks(json!({"tools": []})),
            "unknown_parameter",
            "session.tools",
        ),
        (
            asks(json!({"audio": {"format": {"type": "audio/pcm"}}})),
            "unknown_parameter",
            "session.audio.format",
        ),
        (
            asks(json!({"input": vec![message; 129]})),
            "array_above_max_length",
            "session.input",
        ),
        (
            asks(
                json!({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "Hi"}]}]}),
            ),
            "invalid_value",
            "session.input[0].content[0].type",
        ),
        (
            asks(json!({"instructions": words})),
            "string_above_max_length",
            "session.instructions",
        ),
        (
            asks(json!({"delegation": {"type": "responses"}})),
            "missing_required_parameter",
            "session.delegation.responses",
        ),
        (
            asks(
                json!({"delegation": {"type": "responses", "responses": {"model": "m", "max_output_tokens": 15}}}),
            ),
            "integer_below_min_value",
            "session.delegation.responses.max_output_tokens",
        ),
        (
            asks(json!({"wake_policy": {"type": "speech", "vad_threshold": 1.5}})),
            "decimal_above_max_value",
            "session.wake_policy.vad_threshold",
        ),
    ])
    .await;
}

#[tokio::test]
async fn lists_of_the_data_channel_name_events_and_those_of_the_backend_what_is_inside() {
    let allowed =
        |list: Value| asks(json!({"client": {"data_channel": {"allowed_server_events": list}}}));
    refused_at(vec![
        (
            asks(json!({"client": {"data_channel": {"allowed_client_events": ["Session.Close"]}}})),
            "invalid_value",
            "session.client.data_channel.allowed_client_events[0]",
        ),
        (
            allowed(json!("none")),
            "invalid_value",
            "session.client.data_channel.allowed_server_events",
        ),
        (
            allowed(json!(["error"])),
            "invalid_type",
            "session.client.data_channel.allowed_server_events[0]",
        ),
        (
            allowed(json!([{"type": "response.event"}])),
            "missing_required_parameter",
            "session.client.data_channel.allowed_server_events[0].response_event",
        ),
        (
            allowed(json!([{"type": "error", "response_event": "response.completed"}])),
            "unknown_parameter",
            "session.client.data_channel.allowed_server_events[0].response_ev…",
        ),
    ])
    .await;
}

#[tokio::test]
async fn only_json_of_the_key_and_only_models_and_voices_of_gpt_live_are_taken() {
    let bench = Bench::new().await;
    let body = asking(&json!({"model": "gpt-live-1"}));
    let typed = |kind: &str| {
        bench
            .request(Method::POST, "/v1/live/sessions")
            .header("content-type", kind)
    };
    let model = |name: &str| bench.posting(&asking(&json!({"model": name})));
    let voice = json!({"model": "gpt-live-1", "audio": {"output": {"voice": "nova"}}});
    let root = bench.simulator.base_url();
    let stranger = bench
        .client
        .post(format!("{root}/live/sessions"))
        .bearer_auth("sk-other");
    for (request, status, code) in [
        (
            typed("application/sdp").body(OFFER),
            400,
            "unsupported_content_type",
        ),
        (
            typed("multipart/form-data; boundary=x").body("--x--"),
            400,
            "unsupported_content_type",
        ),
        (stranger.body(body.to_string()), 401, "invalid_api_key"),
        (model("gpt-realtime"), 404, "model_not_found"),
        (model("gpt-live-9"), 404, "model_not_found"),
        (bench.posting(&asking(&voice)), 403, "forbidden"),
        (typed("application/json").body("{"), 400, ""),
    ] {
        let (given, answer) = read(request.send().await.unwrap()).await;
        let found = answer["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((given.as_u16(), found), (status, code), "{answer}");
    }
    // The other way round, a secret cannot be minted.
    let (status, _) = bench
        .ask(&json!({"session": {"type": "realtime", "model": "gpt-live-1"}}))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn sessions_of_one_model_have_a_limit_and_three_refusals_come_with_429() {
    let bench = Bench::new().await;
    bench
        .simulator
        .calls()
        .switch(|now| now.live.max_sessions = Some(1));
    let create = |name: &str| bench.posting(&asking(&json!({"model": name}))).send();
    assert_eq!(create("gpt-live-1").await.unwrap().status(), 201);
    let first = bench.seen();
    let (status, answer) = read(create("gpt-live-1").await.unwrap()).await;
    let found = (status.as_u16(), &answer["error"]["code"]);
    assert_eq!(found, (429, &json!("concurrency_limit_exceeded")));
    assert_eq!(create("gpt-live-1.1").await.unwrap().status(), 201);
    bench.hang_up(&first.id).await;
    assert_eq!(create("gpt-live-1").await.unwrap().status(), 201);
    for (fault, code) in [
        ("429", "rate_limit_exceeded"),
        ("quota", "insufficient_quota"),
        ("429-bare", ""),
    ] {
        bench
            .simulator
            .plan(format!("calls+1x{fault}").parse().unwrap());
        let response = create("gpt-live-1.1").await.unwrap();
        assert_eq!(response.status(), 429);
        let text = response.text().await.unwrap();
        assert_eq!(text.starts_with('{'), !code.is_empty(), "{text}");
        assert!(text.contains(code), "{text}");
    }
}

#[tokio::test]
async fn a_session_may_be_created_although_the_answer_says_otherwise_or_comes_too_late() {
    let bench = Bench::new().await;
    let create = || bench.posting(&asking(&json!({"model": "gpt-live-1"})));
    let calls = bench.simulator.calls();
    bench.simulator.plan("calls+1xcreated-503".parse().unwrap());
    assert_eq!(create().send().await.unwrap().status(), 503);
    assert_eq!(calls.open(), 1);
    // A client that gives up leaves an orphan.
    bench
        .simulator
        .plan("calls+1xlate-answer:60s".parse().unwrap());
    let late = tokio::spawn(create().send());
    until("the session is created", || calls.open() == 2).await;
    late.abort();
    assert!(late.await.unwrap_err().is_cancelled());
    assert_eq!(calls.open(), 2);
    // An answer without a usable SDP has the id all the same.
    for fault in ["empty-answer", "missing-value"] {
        bench
            .simulator
            .plan(format!("calls+1x{fault}").parse().unwrap());
        let (status, answer) = read(create().send().await.unwrap()).await;
        assert_eq!(status, 201);
        assert_eq!(answer["session"]["id"], bench.seen().id);
        let sdp = answer["transport"]["sdp"].as_str();
        assert!(sdp.unwrap_or_default().is_empty(), "{answer}");
    }
}

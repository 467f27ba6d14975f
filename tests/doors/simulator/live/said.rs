//! Events: who may send and receive them, and what they do.

use super::*;

#[tokio::test]
async fn a_restricted_data_channel_says_so_first_and_passes_only_what_is_listed() {
    let bench = Bench::new().await;
    let received = json!([{"type": "session.output_transcript.delta"}, {"type": "session.input_audio.muted"},
        {"type": "response.event", "response_event": "response.completed"}]);
    let session = restricted(&json!(["session.input_audio.mute"]), &received);
    let call = bench.live(&session).await;
    let mut side = bench.attach(&call.id, "").await;
    side.event().await;
    assert_eq!(types(&call.browser), ["info"]);
    assert_eq!(call.browser[0]["code"], "data_channel_permissions");
    for kind in ["session.update", "session.close", "session.sing"] {
        let got = bench.page(&call.id, &json!({"type": kind, "event_id": "e_1"}));
        let error = &got[0]["error"];
        assert_eq!(
            (&error["type"], &error["code"], &error["client_event_id"]),
            (
                &json!("invalid_request_error"),
                &json!("event_not_allowed"),
                &json!("e_1")
            )
        );
    }
    let calls = bench.simulator.calls();
    for turn in ["say:Hello.", "tool:look_up"] {
        calls.play(&call.id, &turn.parse().unwrap());
    }
    let got = bench.page(&call.id, &json!({"type": "session.input_audio.mute"}));
    assert_eq!(types(&got), ["session.input_audio.muted"]);
    let seen = bench.seen();
    assert_eq!(
        types(&seen.browser)[4..],
        [
            "session.output_transcript.delta",
            "response.completed",
            "session.input_audio.muted"
        ]
    );
    // The side channel got everything but the denials, and may send what the page may not.
    let mut heard = Vec::new();
    while heard.last() != Some(&json!("session.input_audio.muted")) {
        heard.push(side.event().await["type"].take());
    }
    assert!(
        heard.contains(&json!("session.delegation.created")),
        "{heard:?}"
    );
    assert!(!heard.contains(&json!("error")), "{heard:?}");
    side.say(&json!({"type": "session.update", "session": {"triggers": []}}))
        .await;
    assert_eq!(side.event().await["type"], "session.updated");
}

#[tokio::test]
async fn without_lists_the_page_sees_the_instructions_and_changes_the_backend() {
    let bench = Bench::new().await;
    let call = bench.live(&backed(&json!({}))).await;
    assert_eq!(call.browser[0]["session"]["instructions"], "Be brief.");
    let delegation = json!({"type": "responses", "responses": {"model": "gpt-5.2-pro"}});
    let event =
        json!({"type": "session.update", "event_id": "e_1", "session": {"delegation": delegation}});
    let got = bench.page(&call.id, &event);
    assert_eq!(
        (&got[0]["type"], &got[0]["client_event_id"]),
        (&json!("session.updated"), &json!("e_1"))
    );
    let responses = &bench.seen().session["delegation"]["responses"];
    assert_eq!(
        *responses,
        json!({"model": "gpt-5.2-pro", "instructions": "Look it up."})
    );
}

/// Each event with the code and the place at which it must be refused, to the page alone.
async fn refused_at(table: Vec<(Value, &str, &str)>) {
    let bench = Bench::new().await;
    let call = bench.live(&backed(&json!({}))).await;
    for (event, code, param) in table {
        let got = bench.page(&call.id, &event);
        let error = &got[0]["error"];
        let found = (got.len(), &error["code"], &error["param"]);
        assert_eq!(found, (1, &json!(code), &json!(param)), "{event}");
    }
}

/// Appends as many tokens to what the model knows.
fn append(tokens: usize) -> Value {
    let content = "four".repeat(tokens);
    json!({"type": "session.thinking.append", "delegation_id": null, "content": content})
}

#[tokio::test]
async fn events_have_their_own_fields_and_are_sent_where_they_may_be() {
    let missing = "missing_required_parameter";
    let (denied, unknown) = ("event_not_allowed", "unknown_parameter");
    let bare = json!({"type": "session.commentary.append", "content": "x"});
    let heard = json!({"type": "session.input_audio.append", "audio": ""});
    let fixture = json!({"type": "session.output_audio.fixture.play", "audio": ""});
    let close = json!({"type": "session.close", "reason": "x"});
    let respond = json!({"type": "response.create", "response": {}});
    refused_at(vec![
        (append(501), "string_above_max_length", "content"),
        (bare, missing, "delegation_id"),
        (close, unknown, "reason"),
        (respond, unknown, "response"),
        (json!({"type": "session.start"}), denied, "type"),
        (heard, denied, "type"),
        (fixture, denied, "type"),
        (json!({"type": "sing"}), "invalid_value", "type"),
    ])
    .await;
}

#[tokio::test]
async fn only_delegation_and_triggers_change_and_a_delegation_stays_of_its_kind() {
    let update = |session: Value| json!({"type": "session.update", "session": session});
    let wrong = json!({"delegation": {"type": "responses", "responses": {"model": 1}}});
    let (fixed, kind) = ("immutable_field_update", "session.delegation.type");
    let other = update(json!({"delegation": {"type": "client"}}));
    let words = update(json!({"instructions": "Sing."}));
    let place = "session.delegation.responses.model";
    refused_at(vec![
        (words, fixed, "session.instructions"),
        (other, fixed, kind),
        (update(json!({"delegation": null})), fixed, kind),
        (
            update(json!({"song": 1})),
            "unknown_parameter",
            "session.song",
        ),
        (update(wrong), "invalid_type", place),
    ])
    .await;
}

#[tokio::test]
async fn what_is_appended_is_confirmed_and_a_commentary_is_said() {
    let bench = Bench::new().await;
    let call = bench.live(&backed(&json!({}))).await;
    let said = json!({"type": "session.commentary.append", "delegation_id": null, "content": "One minute."});
    let got = bench.page(&call.id, &said);
    assert_eq!(
        types(&got),
        [
            "session.commentary.appended",
            "session.output_transcript.delta",
            "session.output_transcript.delta"
        ]
    );
    assert_eq!(
        types(&bench.page(&call.id, &append(500))),
        ["session.thinking.appended"]
    );
}

#[tokio::test]
async fn the_backend_streams_its_responses_and_goes_on_with_the_result_of_a_tool() {
    let bench = Bench::new().await;
    let session = backed(&json!({"service_tier": "priority", "tools": [{"type": "web_search"}]}));
    let call = bench.live(&session).await;
    let calls = bench.simulator.calls();
    calls.switch(|now| now.twice_done = true);
    calls.play(&call.id, &"tool:look_up".parse().unwrap());
    let seen = bench.seen();
    assert_eq!(
        types(&seen.browser)[3..],
        [
            "session.delegation.created",
            "response.created",
            "response.output_item.done",
            "response.completed",
            "response.completed",
        ]
    );
    let done = seen.browser.last().unwrap();
    let response = &done["event"]["response"];
    assert_eq!(response["usage"], seen.used[0]["usage"]);
    assert_eq!(response["service_tier"], "priority");
    assert_eq!(response["tool_usage"]["web_search"]["num_requests"], 1);
    assert_eq!(
        (&response["output"], &response["instructions"]),
        (&json!([]), &Value::Null)
    );
    let item = json!({"type": "function_call_output", "call_id": "call_1", "output": "{}"});
    let got = bench.page(
        &call.id,
        &json!({"type": "response.item.create", "item": item}),
    );
    assert!(got.is_empty(), "{got:?}");
    let got = bench.page(&call.id, &json!({"type": "response.create"}));
    assert_eq!(types(&got)[..2], ["response.created", "response.completed"]);
    assert_eq!(bench.seen().used.len(), 2);
    let again = bench.page(&call.id, &json!({"type": "response.create"}));
    assert_eq!(again[0]["error"]["code"], "invalid_value");
}

#[tokio::test]
async fn a_backend_fails_after_work_that_is_billed_and_one_that_must_call_tools_loops() {
    let bench = Bench::new().await;
    let call = bench
        .live(&backed(&json!({"tool_choice": "required"})))
        .await;
    let calls = bench.simulator.calls();
    calls.play(&call.id, &"fail".parse().unwrap());
    let seen = bench.seen();
    let error = &seen.browser.last().unwrap()["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&Value::Null, &json!("Responses handoff incomplete"))
    );
    assert_eq!(
        (seen.used.len(), &seen.used[0]["status"]),
        (1, &json!("failed"))
    );
    assert!(seen.used[0]["usage"]["input_tokens"].is_u64());
    calls.play(&call.id, &"tool:look_up".parse().unwrap());
    assert_eq!(bench.seen().used.len(), 8);
    // The application is the backend of a session without one.
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    calls.play(&call.id, &"tool:look_up".parse().unwrap());
    let last = bench.seen().browser.pop().unwrap();
    assert_eq!(last["delegation"]["type"], "client");
    assert!(bench.seen().used.is_empty());
}

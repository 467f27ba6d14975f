//! Calls of the simulated provider over real sockets: as strict as the provider, and with the events that were recorded.

use token_broker::simulator::{SeenCall, Turn};

use super::*;

pub const OFFER: &str = "v=0\r\ns=-\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n";
const BOUNDARY: &str = "boundary";

/// Writes a form of these parts.
fn form(parts: &[(&str, &str)]) -> String {
    let part = |(name, text): &(&str, &str)| {
        format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let parts: String = parts.iter().map(part).collect();
    format!("{parts}--{BOUNDARY}--\r\n")
}

impl Bench {
    fn offer(&self, parts: &[(&str, &str)]) -> RequestBuilder {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self.request(Method::POST, "/v1/realtime/calls");
        request.header("content-type", kind).body(form(parts))
    }

    /// Opens a call with this session.
    pub async fn call(&self, session: &Value) -> SeenCall {
        let parts = [("sdp", OFFER), ("session", &session.to_string())];
        let response = self.offer(&parts).send().await.unwrap();
        assert_eq!(response.status(), 201);
        self.simulator.calls().all().pop().unwrap()
    }

    /// Returns the types of the events that the browser got, and their count by type.
    pub fn events(&self, call: &SeenCall) -> Vec<Value> {
        self.simulator.calls().get(&call.id).unwrap().browser
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    types.dedup();
    types
}

pub fn spoken() -> Value {
    json!({"type": "realtime", "model": "gpt-realtime", "instructions": "Be brief.",
        "audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}})
}

#[tokio::test]
async fn an_offer_is_answered_as_recorded() {
    let bench = Bench::new().await;
    let response = bench.offer(&[("sdp", OFFER)]).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(header("access-control-allow-origin"), "*");
    let call = bench.simulator.calls().all().pop().unwrap();
    assert_eq!(
        header("location"),
        format!("/v1/realtime/calls/{}", call.id)
    );
    assert!(call.id.starts_with("rtc_u0_") && call.id.len() == "rtc_u0_".len() + 22);
    assert_eq!(call.session["id"], call.id.replace("rtc_", "sess_"));
    assert_eq!(call.session["expires_at"], NOW + 3600);
    let answer = response.text().await.unwrap();
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n") && answer.contains("\r\nm=application 9 "));
}

#[tokio::test]
async fn an_offer_that_the_provider_would_refuse_is_refused() {
    let bench = Bench::new().await;
    let bad_session = json!({"type": "realtime", "voice": "alloy"}).to_string();
    let wrapped = json!({"session": {"type": "realtime"}}).to_string();
    for (parts, code) in [
        (vec![("session", "{}")], "missing_required_parameter"),
        (
            vec![("sdp", OFFER), ("sdp", OFFER)],
            "invalid_multipart_form",
        ),
        (vec![("sdp", OFFER), ("model", "x")], "unknown_parameter"),
        (
            vec![("sdp", OFFER), ("session", &bad_session)],
            "unknown_parameter",
        ),
        (
            vec![("sdp", OFFER), ("session", &wrapped)],
            "missing_required_parameter",
        ),
        (vec![("sdp", "<html>")], "invalid_offer"),
        (vec![("sdp", "v=0\r\nm=video 9 x\r\n")], "invalid_offer"),
    ] {
        let (status, answer) = read(bench.offer(&parts).send().await.unwrap()).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"]),
            (400, &json!(code)),
            "{parts:?}"
        );
    }
    let raw = bench.request(Method::POST, "/v1/realtime/calls");
    let raw = raw.header("content-type", "application/sdp").body(OFFER);
    assert_eq!(raw.send().await.unwrap().status(), 400);
    let url = format!("{}/realtime/calls", bench.simulator.base_url());
    let stranger = bench.client.post(url).bearer_auth("sk-other").send();
    assert_eq!(stranger.await.unwrap().status(), 401);
    assert_eq!(bench.simulator.calls().all().len(), 0);
}

#[tokio::test]
async fn a_client_secret_opens_a_call_with_its_own_session_and_a_raw_offer() {
    let bench = Bench::new().await;
    let body = json!({"session": {"type": "realtime", "instructions": "Be kind."}});
    let (_, minted) = bench.ask(&body).await;
    let url = format!("{}/realtime/calls", bench.simulator.base_url());
    let offer = |kind: &str| {
        let request = bench
            .client
            .post(&url)
            .bearer_auth(minted["value"].as_str().unwrap());
        request.header("content-type", kind).body(OFFER).send()
    };
    assert_eq!(offer("text/plain").await.unwrap().status(), 400);
    assert_eq!(offer("application/sdp").await.unwrap().status(), 201);
    let call = bench.simulator.calls().all().pop().unwrap();
    assert_eq!(call.session["instructions"], "Be kind.");
    // The standard key does not know it.
    let hang_up = format!("/v1/realtime/calls/{}/hangup", call.id);
    let response = bench.request(Method::POST, &hang_up).send().await.unwrap();
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn a_spoken_turn_has_the_recorded_order_and_usage_that_adds_up() {
    let bench = Bench::new().await;
    let call = bench.call(&spoken()).await;
    bench
        .simulator
        .calls()
        .play(&call.id, &Turn::Say("Hello there.".into()));
    let events = bench.events(&call);
    assert_eq!(
        types(&events),
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "output_audio_buffer.started",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
            "rate_limits.updated",
            "output_audio_buffer.stopped",
        ]
    );
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let heard = &of("conversation.item.input_audio_transcription.completed")["usage"];
    assert_eq!(*heard, json!({"type": "duration", "seconds": 3}));
    let created = &of("response.created")["response"];
    assert!(created["usage"].is_null() && created["status_details"].is_null());
    let usage = &of("response.done")["response"]["usage"];
    assert_eq!(
        *usage,
        bench.simulator.calls().get(&call.id).unwrap().used[0]
    );
    assert_eq!(usage["input_token_details"]["audio_tokens"], 28);
}

#[tokio::test]
async fn every_turn_ends_as_it_says() {
    let bench = Bench::new().await;
    let call = bench.call(&spoken()).await;
    let calls = bench.simulator.calls();
    for turn in ["tool:look_up", "fail", "silent", "say:Yes."] {
        calls.play(&call.id, &turn.parse().unwrap());
    }
    let done: Vec<_> = bench
        .events(&call)
        .into_iter()
        .filter(|event| event["type"] == "response.done")
        .collect();
    assert_eq!(done.len(), 3);
    assert_eq!(done[0]["response"]["output"][0]["name"], "look_up");
    assert_eq!(done[1]["response"]["status"], "failed");
    assert!(done[1]["response"]["usage"].is_null());
    assert_eq!(calls.get(&call.id).unwrap().used.len(), 2);
    assert!("sing:la".parse::<Turn>().is_err());
}

#[tokio::test]
async fn the_browser_changes_only_what_a_session_lets_it_change() {
    let bench = Bench::new().await;
    let call = bench.call(&spoken()).await;
    let calls = bench.simulator.calls();
    let update =
        |session: Value| json!({"type": "session.update", "event_id": "e_1", "session": session});
    let answered = |event: &Value| {
        calls.browser_sends(&call.id, event);
        bench.events(&call).pop().unwrap()
    };
    let changed = answered(&update(
        json!({"type": "realtime", "instructions": "Sing.", "tools": []}),
    ));
    assert_eq!(changed["type"], "session.updated");
    assert_eq!(changed["session"]["instructions"], "Sing.");
    assert_eq!(changed["session"]["model"], "gpt-realtime");
    calls.play(&call.id, &Turn::Say("La.".into()));
    for (event, code) in [
        (
            update(json!({"instructions": "x"})),
            "missing_required_parameter",
        ),
        (
            update(json!({"type": "realtime", "model": "gpt-realtime-2.1"})),
            "invalid_value",
        ),
        (
            update(json!({"type": "realtime", "audio": {"output": {"voice": "marin"}}})),
            "cannot_update_voice",
        ),
        (
            update(json!({"type": "realtime", "speed": 1})),
            "unknown_parameter",
        ),
        (
            json!({"type": "response.create", "event_id": "e_1", "response": {"voice": "x"}}),
            "unknown_parameter",
        ),
        (
            json!({"type": "response.cancel", "event_id": "e_1"}),
            "response_cancel_not_active",
        ),
        (json!({"type": "sing", "event_id": "e_1"}), "invalid_value"),
        (
            json!({"type": "input_audio_buffer.append", "event_id": "e_1", "audio": ""}),
            "invalid_value",
        ),
    ] {
        let error = answered(&event);
        let found = (
            &error["type"],
            &error["error"]["code"],
            &error["error"]["event_id"],
        );
        assert_eq!(
            found,
            (&json!("error"), &json!(code), &json!("e_1")),
            "{event}"
        );
    }
}

#[tokio::test]
async fn turns_are_played_for_other_programs_and_a_hang_up_ends_them() {
    let bench = Bench::new().await;
    let call = bench.call(&spoken()).await;
    let path = format!("/_simulator/calls/{}/play", call.id);
    let play = |body: Value| {
        bench
            .request(Method::POST, &path)
            .body(body.to_string())
            .send()
    };
    assert_eq!(
        play(json!({"turn": "say:Hello."})).await.unwrap().status(),
        200
    );
    let event = json!({"type": "output_audio_buffer.clear"});
    assert_eq!(play(json!({"browser": event})).await.unwrap().status(), 200);
    assert_eq!(
        bench.events(&call).pop().unwrap()["type"],
        "output_audio_buffer.cleared"
    );
    for wrong in [json!({"turn": "sing"}), json!({"song": 1})] {
        assert_eq!(play(wrong).await.unwrap().status(), 400);
    }
    let hang_up = format!("/v1/realtime/calls/{}/hangup", call.id);
    bench.simulator.plan("hangup+1xno-effect".parse().unwrap());
    for (status, open) in [(200, 1), (200, 0), (404, 0)] {
        let response = bench.request(Method::POST, &hang_up).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), bench.simulator.calls().open()),
            (status, open)
        );
    }
    assert_eq!(
        play(json!({"turn": "say:Hello."})).await.unwrap().status(),
        404
    );
}

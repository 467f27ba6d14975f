//! What a session uses, and how it ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use token_broker::simulator::Reports;

use super::*;

/// Returns the events of this type that the page got.
fn of(call: &SeenCall, kind: &str) -> Vec<Value> {
    let events = call.browser.iter();
    events
        .filter(|event| event["type"] == kind)
        .cloned()
        .collect()
}

#[tokio::test]
async fn a_hang_up_ends_a_session_once_and_says_what_was_used() {
    let bench = Bench::new().await;
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    bench
        .simulator
        .calls()
        .pass(&call.id, Duration::from_secs(20));
    let response = bench.hang_up(&call.id).await;
    assert_eq!(
        (response.status().as_u16(), response.content_length()),
        (200, Some(0))
    );
    let (status, answer) = read(bench.hang_up(&call.id).await).await;
    assert_eq!(status, 404);
    assert_eq!(answer["error"]["code"], "session_id_not_found");
    let closed = &of(&bench.seen(), "session.closed")[0];
    assert_eq!(closed["reason"], "close_requested");
    assert_eq!(closed["usage"], json!({"seconds": 20}));
}

#[tokio::test]
async fn fifteen_seconds_are_billed_of_a_session_that_nobody_joined() {
    let bench = Bench::new().await;
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    let calls = bench.simulator.calls();
    let billed = || calls.get(&call.id).unwrap().live_seconds;
    assert!((billed() - 15.0).abs() < 0.001, "{}", billed());
    calls.pass(&call.id, Duration::from_secs(16));
    calls.end(&call.id);
    assert!((billed() - 16.0).abs() < 0.001, "{}", billed());
    assert_eq!(
        of(&bench.seen(), "session.closed")[0]["reason"],
        "remote_hangup"
    );
}

#[tokio::test]
async fn usage_is_reported_each_minute_or_only_while_somebody_speaks_or_never() {
    for (reports, counts) in [
        (Reports::EveryMinute, [1, 2]),
        (Reports::WhileSpoken, [0, 1]),
        (Reports::Never, [0, 0]),
    ] {
        let bench = Bench::new().await;
        let calls = bench.simulator.calls();
        calls.switch(|now| now.live.reports = reports);
        let call = bench.live(&json!({"model": "gpt-live-1"})).await;
        for (count, seconds) in counts.into_iter().zip([60, 120]) {
            calls.pass(&call.id, Duration::from_mins(1));
            let reported = of(&bench.seen(), "session.usage.updated");
            assert_eq!(reported.len(), count, "{reports:?} {seconds}");
            if let Some(last) = reported.last() {
                assert_eq!(last["usage"], json!({"seconds": seconds}));
            }
            calls.play(&call.id, &"silent".parse().unwrap());
        }
    }
}

#[tokio::test]
async fn a_model_with_standby_pauses_in_silence_and_a_muted_session_hears_nothing() {
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    let session =
        json!({"model": "gpt-live-1.1", "idle_timeout_s": 15, "wake_policy": {"type": "speech"}});
    let call = bench.live(&session).await;
    calls.pass(&call.id, Duration::from_mins(1));
    bench.page(&call.id, &json!({"type": "session.input_audio.mute"}));
    calls.play(&call.id, &"say:Hello.".parse().unwrap());
    bench.page(&call.id, &json!({"type": "session.input_audio.unmute"}));
    calls.play(&call.id, &"say:Hello.".parse().unwrap());
    let seen = bench.seen();
    assert_eq!(
        types(&seen.browser),
        [
            "session.started",
            "session.paused",
            "session.usage.updated",
            "session.input_audio.muted",
            "session.input_audio.unmuted",
            "session.resumed",
            "session.input_transcript.delta",
            "session.input_transcript.delta",
            "session.output_transcript.delta",
        ]
    );
    let usage = json!({"seconds": 60, "active_seconds": 15, "paused_seconds": 45});
    assert_eq!(of(&seen, "session.usage.updated")[0]["usage"], usage);
}

#[tokio::test]
async fn a_session_expires_after_two_hours_or_when_it_is_told_to() {
    for (seconds, lifetime) in [(None, 7200), (Some(90), 90)] {
        let bench = Bench::new().await;
        let calls = bench.simulator.calls();
        calls.switch(|now| now.session_seconds = seconds);
        let call = bench.live(&json!({"model": "gpt-live-1"})).await;
        assert_eq!(call.session["expires_at"], NOW + lifetime);
        calls.pass(&call.id, Duration::from_secs(lifetime - 1));
        assert_eq!(calls.open(), 1);
        calls.pass(&call.id, Duration::from_secs(1));
        assert_eq!(calls.open(), 0);
        let closed = &of(&bench.seen(), "session.closed")[0];
        assert_eq!(
            (&closed["reason"], &closed["usage"]),
            (&json!("expired"), &json!({"seconds": lifetime}))
        );
    }
}

#[tokio::test]
async fn time_passes_for_other_programs() {
    let bench = Bench::new().await;
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    let path = format!("/_simulator/calls/{}/play", call.id);
    let play = bench.request(Method::POST, &path);
    let played = play.body(json!({"pass": 7200}).to_string()).send().await;
    assert_eq!(played.unwrap().status(), 200);
    assert_eq!(bench.simulator.calls().open(), 0);
}

#[tokio::test]
async fn a_session_is_announced_by_a_signed_webhook() {
    let bench = Bench::new().await;
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    let key = b"0123456789abcdef0123456789abcdef";
    let secret = format!("whsec_{}", STANDARD.encode(key));
    let announced = bench.simulator.calls().announce(&call.id, &secret);
    let [(_, id), (_, seconds), (_, signature)] = &announced.headers;
    let signed = format!("{id}.{seconds}.{}", announced.body);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    let tag = STANDARD
        .decode(signature.strip_prefix("v1,").unwrap())
        .unwrap();
    aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &tag).unwrap();
    let body: Value = serde_json::from_str(&announced.body).unwrap();
    assert_eq!(body["type"], "live.transport.connected");
    assert_eq!(
        body["data"],
        json!({"session_id": call.id, "type": "webrtc"})
    );
    assert_eq!((&body["id"], seconds), (&json!(id), &NOW.to_string()));
}

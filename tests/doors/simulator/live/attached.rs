//! Side channels: what they replay, what they reflect, and how they end.

use token_broker::simulator::Drain;

use super::*;

#[tokio::test]
async fn each_side_channel_begins_with_the_session_and_hears_both_sides_also_in_silence() {
    let bench = Bench::new().await;
    let call = bench.live(&backed(&json!({}))).await;
    bench
        .simulator
        .calls()
        .pass(&call.id, Duration::from_mins(1));
    for _ in 0..2 {
        let mut side = bench.attach(&call.id, "").await;
        let started = side.event().await;
        assert_eq!(started["type"], "session.started");
        assert!(started["event_id"].is_string());
        assert_eq!(started["session"]["id"], call.id);
        assert_eq!(started["session"]["expires_at"], NOW + 7200);
        assert_eq!(started["session"]["instructions"], "Be brief.");
        // Nothing that was before is repeated: the next frames are of now.
        bench.clock.awaited(BEAT).await;
        bench.clock.advance(BEAT);
        for (begin, field) in [
            (r#"{"type":"session.input_audio.append""#, "audio"),
            (r#"{"type":"session.output_audio.delta""#, "delta"),
        ] {
            let frame = side.next().await.unwrap();
            assert!(frame.starts_with(begin), "{frame:.60}");
            let event: Value = serde_json::from_str(&frame).unwrap();
            assert_eq!(event[field].as_str().unwrap().len(), 12_800);
            assert!(event.get("event_id").is_none());
        }
    }
    assert_eq!(bench.seen().joins, 2);
}

#[tokio::test]
async fn an_unknown_session_a_realtime_call_and_one_that_has_ended_are_refused_with_404() {
    let bench = Bench::new().await;
    let realtime = bench.call(&json!({"type": "realtime"})).await;
    let live = bench.live(&json!({"model": "gpt-live-1"})).await;
    let attach = |id: &str| format!("/v1/live/sessions/{id}/attach");
    bench.simulator.plan("join+1xno-session".parse().unwrap());
    for round in 0..2 {
        for id in [live.id.as_str(), realtime.id.as_str(), "live_u0_unknown"] {
            let (status, answer) = bench.refused(&attach(id)).await;
            let error = &answer["error"];
            assert_eq!(status, 404);
            assert_eq!(
                (&error["code"], &error["param"]),
                (&json!("session_id_not_found"), &json!("session_id"))
            );
            if round == 0 {
                assert_eq!(bench.hang_up(&live.id).await.status(), 200);
                break;
            }
        }
    }
    // Nor can a session be joined or ended as a call.
    let other = bench.live(&json!({"model": "gpt-live-1"})).await;
    let path = format!("/v1/realtime?call_id={}", other.id);
    let (status, answer) = bench.refused(&path).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"]),
        (404, &json!("call_id_not_found"))
    );
    let path = format!("/v1/realtime/calls/{}/hangup", other.id);
    let hang_up = bench.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(hang_up.status(), 404);
    assert_eq!(bench.hang_up(&realtime.id).await.status(), 404);
    assert_eq!(bench.simulator.calls().open(), 2);
}

#[tokio::test]
async fn a_side_channel_ends_with_a_close_frame_only_when_it_asked_for_one() {
    for (query, end) in [("", None), ("?graceful_close=true", Some(1000))] {
        let bench = Bench::new().await;
        let call = bench.live(&json!({"model": "gpt-live-1"})).await;
        let mut side = bench.attach(&call.id, query).await;
        side.event().await;
        side.say(&json!({"type": "session.close", "event_id": "e_1"}))
            .await;
        let closed = side.event().await;
        assert_eq!(
            (
                &closed["type"],
                &closed["reason"],
                &closed["client_event_id"]
            ),
            (
                &json!("session.closed"),
                &json!("close_requested"),
                &json!("e_1")
            )
        );
        assert_eq!(closed["usage"], json!({"seconds": 0}));
        assert_eq!(closed["session"]["status"], "active");
        assert_eq!(side.next().await, Err(end));
    }
}

#[tokio::test]
async fn a_session_drains_before_it_closes_or_never_closes_and_loses_no_side_channel_to_its_end() {
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    calls.switch(|now| now.live.drain = Drain::For(Duration::from_secs(10)));
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    let mut side = bench.attach(&call.id, "").await;
    side.event().await;
    let close = json!({"type": "session.close", "event_id": "e_1"});
    bench.page(&call.id, &close);
    // A second wish neither ends the session nor starts anew.
    calls.pass(&call.id, Duration::from_secs(9));
    bench.page(&call.id, &json!({"type": "session.close"}));
    assert_eq!(calls.open(), 1);
    calls.pass(&call.id, Duration::from_secs(1));
    assert_eq!(side.event().await["client_event_id"], "e_1");
    assert_eq!(calls.open(), 0);

    calls.switch(|now| now.live.drain = Drain::Never);
    let call = bench.live(&json!({"model": "gpt-live-1"})).await;
    bench.page(&call.id, &close);
    calls.pass(&call.id, Duration::from_mins(1));
    assert_eq!(calls.open(), 1);
    // A side channel comes and goes, and the session stays.
    drop(bench.attach(&call.id, "").await);
    assert_eq!(bench.hang_up(&call.id).await.status(), 200);
    assert_eq!(calls.open(), 0);
}

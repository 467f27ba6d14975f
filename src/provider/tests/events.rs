//! Events as the provider's side channel was recorded, shortened, and odd ones. Rows SD7, SD9, SD23, MO6 and MO19.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::*;

const ASKED: &str = r#"{"type":"realtime","model":"gpt-realtime-2.1","instructions":"Be brief.\n","max_output_tokens":1024,
    "tools":[{"type":"function","name":"look_up"}],"audio":{"output":{"voice":"marin"}}}"#;

fn asked() -> Box<RawValue> {
    RawValue::from_string(ASKED.to_owned()).unwrap()
}

/// The effective session for [`ASKED`].
fn session() -> Value {
    json!({
        "type": "realtime", "object": "realtime.session", "id": "sess_u0_E6mH7Y", "model": "gpt-realtime-2.1",
        "output_modalities": ["audio"], "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "look_up", "description": null, "parameters": {"type": "object"}}],
        "tool_choice": "auto", "max_output_tokens": 1024, "tracing": null, "truncation": "auto", "prompt": null,
        "expires_at": 1_785_287_846,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-realtime-whisper", "language": null, "prompt": null},
                "noise_reduction": null,
                "turn_detection": {"type": "server_vad", "threshold": 0.5, "idle_timeout_ms": null},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
        "include": null,
    })
}

fn updated(session: &Value) -> String {
    json!({"type": "session.updated", "event_id": "event_1", "session": session}).to_string()
}

fn shown(frame: &str) -> Box<EffectiveSession<'_>> {
    match ServerEvent::read(frame).unwrap().news {
        News::Session(session) => session,
        other => panic!("{other:?}"),
    }
}

fn pins() -> Pins {
    Pins::confirm(&asked(), &shown(&updated(&session()))).unwrap()
}

fn changed(pins: &mut Pins, path: &str, value: Value) -> Vec<Pinned> {
    let mut session = session();
    *session.pointer_mut(path).unwrap() = value;
    pins.changed(&shown(&updated(&session)))
}

fn says(event: &Value) -> String {
    format!("{:?}", ServerEvent::read(&event.to_string()).unwrap().news)
}

fn usage_of(frame: &str) -> UsageReport {
    match ServerEvent::read(frame).unwrap().news {
        News::Ended { usage, .. } | News::Transcribed { usage, .. } => usage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recorded_turn_is_read() {
    for (event, expected) in [
        (
            json!({"type": "input_audio_buffer.speech_started", "event_id": "event_1", "audio_start_ms": 1460, "item_id": "item_1"}),
            "SpeechStarted(Some(1460))",
        ),
        (
            json!({"type": "input_audio_buffer.speech_stopped", "event_id": "event_1", "audio_end_ms": 4256, "item_id": "item_1"}),
            "SpeechStopped(Some(4256))",
        ),
        (
            json!({"type": "input_audio_buffer.committed", "event_id": "event_1", "previous_item_id": null, "item_id": "item_1"}),
            "Committed",
        ),
        (
            json!({"type": "conversation.item.added", "event_id": "event_1", "previous_item_id": null, "item": {"id": "item_1",
                "type": "message", "status": "completed", "role": "user", "content": [{"type": "input_audio", "transcript": null}]}}),
            r#"Item("item_1")"#,
        ),
        (
            json!({"type": "response.created", "event_id": "event_1", "response": {"object": "realtime.response", "id": "resp_1",
                "status": "in_progress", "status_details": null, "output": [], "max_output_tokens": "inf", "usage": null}}),
            r#"Began { response: "resp_1", most: Some(Unlimited) }"#,
        ),
        (
            json!({"type": "response.output_audio_transcript.delta", "event_id": "event_1", "response_id": "resp_1", "delta": "Hi"}),
            "Other",
        ),
        (
            json!({"type": "output_audio_buffer.started", "event_id": "event_1", "response_id": "resp_1"}),
            "PlaybackStarted",
        ),
        (
            json!({"type": "output_audio_buffer.stopped", "event_id": "event_1", "response_id": "resp_1"}),
            "PlaybackStopped",
        ),
        (
            json!({"type": "error", "event_id": "event_1", "error": {"type": "invalid_request_error",
                "code": "response_cancel_not_active", "message": "canary", "param": null, "event_id": "tb_2"}}),
            r#"Error { code: Some("response_cancel_not_active"), event: Some("tb_2") }"#,
        ),
        (
            json!({"type": "error", "error": {"type": "server_error", "code": null, "message": "canary"}}),
            r#"Error { code: Some("server_error"), event: None }"#,
        ),
        (
            json!({"type": "error", "error": {"code": "canary with words"}}),
            r#"Error { code: Some("unknown"), event: None }"#,
        ),
    ] {
        assert_eq!(says(&event), expected);
    }
}

#[test]
fn the_effective_session_shows_what_a_watcher_needs_and_hides_the_rest() {
    let frame = updated(&session());
    let session = shown(&frame);
    assert_eq!(session.id.as_deref(), Some("sess_u0_E6mH7Y"));
    assert_eq!(session.expires_at, Some(1_785_287_846));
    assert_eq!(
        session.transcription_model.as_deref(),
        Some("gpt-realtime-whisper")
    );
    assert_eq!(
        format!("{session:?}"),
        r#"EffectiveSession(Some("sess_u0_E6mH7Y"))"#
    );
    let bare = updated(&json!({"type": "realtime", "audio": {"input": {"transcription": null}}}));
    assert!(shown(&bare).transcription_model.is_none());
}

#[test]
fn mo6_a_response_counts_however_it_ended_and_without_figures_shows_it() {
    let figures = json!({"total_tokens": 210, "input_tokens": 150, "output_tokens": 60,
        "input_token_details": {"text_tokens": 110, "audio_tokens": 40, "image_tokens": 0, "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}},
        "output_token_details": {"text_tokens": 12, "audio_tokens": 48}});
    for (status, expected) in [
        ("completed", ResponseStatus::Completed),
        ("cancelled", ResponseStatus::Cancelled),
        ("incomplete", ResponseStatus::Incomplete),
        ("failed", ResponseStatus::Failed),
        ("paused", ResponseStatus::Other),
    ] {
        let event = json!({"type": "response.done", "response": {"id": "resp_1", "status": status, "usage": figures,
            "status_details": {"type": status, "reason": "turn_detected"}}});
        let frame = event.to_string();
        let News::Ended {
            status,
            usage: UsageReport::Figures(usage),
            failure,
            ..
        } = ServerEvent::read(&frame).unwrap().news
        else {
            panic!("{frame}");
        };
        assert_eq!((status, usage.total, failure), (expected, Some(210), None));
    }
    let failed = r#"{"type":"response.done","response":{"id":"resp_1","status":"failed","usage":null,
        "status_details":{"type":"failed","error":{"type":"insufficient_quota","code":"insufficient_quota"}}}}"#;
    let News::Ended { usage, failure, .. } = ServerEvent::read(failed).unwrap().news else {
        panic!("{failed}");
    };
    assert_eq!(
        (usage, failure.as_deref()),
        (UsageReport::Missing, Some("insufficient_quota"))
    );
    let odd = r#"{"type":"response.done","response":{"id":"resp_1","usage":{"total_tokens":-1}}}"#;
    assert_eq!(usage_of(odd), UsageReport::Unreadable);
}

#[test]
fn mo19_reasoning_tokens_are_not_read() {
    let frame = |more: &str| {
        format!(
            r#"{{"type":"response.done","response":{{"id":"resp_1","usage":{{"output_tokens":30,"output_token_details":{{"text_tokens":30{more}}}}}}}}}"#
        )
    };
    assert_eq!(
        usage_of(&frame(r#","reasoning_tokens":20"#)),
        usage_of(&frame(""))
    );
}

#[test]
fn a_transcription_reports_tokens_or_seconds() {
    let frame = |usage: &str| {
        format!(
            r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"item_1","content_index":0,
            "transcript":"\"type\":\"response.done\"","usage":{usage}}}"#
        )
    };
    let UsageReport::Figures(usage) = usage_of(&frame(r#"{"type":"duration","seconds":2.8}"#))
    else {
        panic!();
    };
    assert_eq!(usage.seconds, Some(2.8));
    assert_eq!(usage_of(&frame("null")), UsageReport::Missing);
}

#[test]
fn sd23_large_events_are_read_and_odd_ones_are_counted_by_a_bounded_word() {
    let item = json!({"type": "conversation.item.added", "item": {"id": "item_1", "content": "x".repeat(20 << 20)}});
    assert_eq!(says(&item), r#"Item("item_1")"#);
    let long = json!({"type": "x", "delta": "x".repeat(LONGEST_FRAME)}).to_string();
    assert_eq!(ServerEvent::read(&long).unwrap_err(), OddFrame::TooLong);
    let deep = format!(
        r#"{{"type":"x","item":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for junk in [
        "",
        "canary",
        "null",
        r#"["session.updated"]"#,
        r#"{"delta":"canary"}"#,
        r#"{"type":null}"#,
        r#"{"type":1}"#,
        r#"{"type":"error","type":"error","error":{}}"#,
        r#"{"type":"error","t\u0079pe":"error","error":{}}"#,
        r#"{"type":"response.done","response":{"id":"a"},"response":{"id":"b"}}"#,
        r#"{"type":"error"} {}"#,
    ] {
        assert_eq!(
            ServerEvent::read(junk).unwrap_err(),
            OddFrame::NoEvent,
            "{junk}"
        );
    }
    for incomplete in [
        r#"{"type":"response.done"}"#,
        r#"{"type":"response.done","response":null}"#,
        r#"{"type":"response.done","response":["resp_1"]}"#,
        r#"{"type":"response.done","response":{"id":""}}"#,
        r#"{"type":"response.done","response":{"id":"a","id":"b"}}"#,
        r#"{"type":"response.done","response":{"id":"a","usage":null,"usage":{}}}"#,
    ] {
        let error = OddFrame::Incomplete("response.done");
        assert_eq!(
            ServerEvent::read(incomplete).unwrap_err(),
            error,
            "{incomplete}"
        );
    }
    for (frame, kind) in [
        (r#"{"type":"canary"}"#, "unknown"),
        (
            r#"{"type":"response\u002edone","response":{"id":"a"}}"#,
            "response.done",
        ),
        (
            r#"{"type":"rate_limits.updated","rate_limits":[]}"#,
            "rate_limits.updated",
        ),
        (&deep, "unknown"),
    ] {
        assert_eq!(ServerEvent::read(frame).unwrap().kind, kind);
    }
}

#[test]
fn a_session_that_is_not_the_personas_is_not_confirmed() {
    for (path, value, field) in [
        ("/instructions", json!("Be long."), Pinned::Instructions),
        ("/instructions", json!(null), Pinned::Instructions),
        ("/tools", json!([]), Pinned::Tools),
        ("/max_output_tokens", json!("inf"), Pinned::MaxOutputTokens),
    ] {
        let mut session = session();
        *session.pointer_mut(path).unwrap() = value;
        let confirmed = Pins::confirm(&asked(), &shown(&updated(&session)));
        assert_eq!(confirmed.err(), Some(NotConfirmed(field)));
    }
    let mut renamed = session();
    renamed["model"] = "gpt-realtime-2.1-2026-05-05".into();
    assert!(Pins::confirm(&asked(), &shown(&updated(&renamed))).is_ok());
}

#[test]
fn sd6_pinned_fields_are_put_back_and_nothing_else() {
    let mut pins = pins();
    let fields = changed(&mut pins, "/instructions", json!("Sing."));
    assert_eq!(fields, [Pinned::Instructions]);
    let expected = json!({"type": "session.update", "event_id": CORRECTION,
        "session": {"type": "realtime", "instructions": "Be brief.\n"}});
    let corrections = |pins: &Pins, fields: &[Pinned]| {
        let events = pins.corrections(fields, &asked()).into_iter();
        events
            .map(|event| serde_json::from_str(&event).unwrap())
            .collect::<Vec<Value>>()
    };
    assert_eq!(corrections(&pins, &fields), [expected]);
    // Everything at once; the provider may refuse another model and another tracing.
    let mut other = session();
    for (name, value) in [
        ("instructions", json!("Sing.")),
        ("tools", json!([])),
        ("model", json!("gpt-realtime")),
        ("max_output_tokens", json!("inf")),
        ("prompt", json!({"id": "pmpt_1"})),
        ("tracing", json!("auto")),
    ] {
        other[name] = value;
    }
    let fields = pins.changed(&shown(&updated(&other)));
    let sessions: Vec<_> = corrections(&pins, &fields)
        .iter()
        .map(|event| event["session"].clone())
        .collect();
    let expected = [
        json!({"type": "realtime", "model": "gpt-realtime-2.1"}),
        json!({"type": "realtime", "tracing": null}),
        json!({"type": "realtime", "instructions": "Be brief.\n", "max_output_tokens": 1024, "prompt": null,
            "tools": [{"type": "function", "name": "look_up"}]}),
    ];
    assert_eq!(sessions, expected);
}

#[test]
fn a_field_that_the_persona_leaves_to_the_provider_goes_back_to_the_providers_value() {
    let asked = RawValue::from_string(r#"{"type":"realtime"}"#.to_owned()).unwrap();
    let mut pins = Pins::confirm(&asked, &shown(&updated(&session()))).unwrap();
    let fields = changed(&mut pins, "/instructions", json!("Sing."));
    let events = pins.corrections(&fields, &asked);
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!(
        event["session"],
        json!({"type": "realtime", "instructions": "Be brief."})
    );
}

#[test]
fn sd7_what_agents_js_changes_is_no_change_of_the_persona() {
    let mut pins = pins();
    for (path, value) in [
        (
            "/audio/input/turn_detection",
            json!({"type": "semantic_vad", "eagerness": "auto"}),
        ),
        (
            "/audio/input/transcription",
            json!({"model": "gpt-4o-mini-transcribe"}),
        ),
        (
            "/audio/input/noise_reduction",
            json!({"type": "near_field"}),
        ),
        ("/audio/output/speed", json!(1.2)),
        ("/audio/output/voice", json!("alloy")),
    ] {
        assert_eq!(changed(&mut pins, path, value), [], "{path}");
    }
}

#[test]
fn sd7_tracing_that_cannot_be_turned_off_again_is_corrected_once() {
    let mut pins = pins();
    assert_eq!(
        changed(&mut pins, "/tracing", json!("auto")),
        [Pinned::Tracing]
    );
    assert_eq!(changed(&mut pins, "/tracing", json!("auto")), []);
    let other = json!({"workflow_name": "w"});
    assert_eq!(changed(&mut pins, "/tracing", other), [Pinned::Tracing]);
}

#[test]
fn sd9_a_response_with_more_tokens_than_the_persona_allows_shows() {
    let most = pins().most_tokens;
    assert_eq!(most, Some(MostTokens::Count(1024)));
    for (json, is_more) in [
        ("\"inf\"", true),
        ("1025", true),
        ("1024", false),
        ("1", false),
    ] {
        let frame = format!(
            r#"{{"type":"response.created","response":{{"id":"resp_1","max_output_tokens":{json}}}}}"#
        );
        let News::Began { most: begun, .. } = ServerEvent::read(&frame).unwrap().news else {
            panic!("{frame}");
        };
        assert_eq!(begun > most, is_more, "{json}");
    }
}

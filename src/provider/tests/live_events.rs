//! Events of GPT-Live as they are read, and the lists of what a page may send and see.

use std::time::Duration;

use serde_json::{Value, json};

use crate::provider::live::read;
use crate::provider::{News, PageEvents, ServerEvent, UsageReport, check_live, is_reflected_audio};

fn news(event: &Value) -> String {
    let frame = event.to_string();
    match read(&frame) {
        Ok(ServerEvent { news, .. }) => format!("{news:?}"),
        Err(error) => error.to_string(),
    }
}

fn lasted(event: &Value) -> Option<(Duration, Option<Duration>)> {
    let frame = event.to_string();
    match read(&frame).ok()?.news {
        News::Lasted(said) => Some((said.total, said.standby)),
        _ => None,
    }
}

#[test]
fn a_report_may_have_fractions_and_may_lack_its_parts() {
    let report =
        |usage: Value| json!({ "type": "session.usage.updated", "event_id": "e", "usage": usage });
    let seconds = Duration::from_secs_f64;
    let parts = json!({ "seconds": 74, "active_seconds": 61, "paused_seconds": 13 });
    for (usage, expected) in [
        (json!({ "seconds": 14.5 }), Some((seconds(14.5), None))),
        (parts, Some((seconds(74.0), Some(seconds(13.0))))),
        (json!({ "seconds": -1 }), None),
        (json!({ "seconds": 1e15 }), None),
        (json!({ "seconds": "12" }), None),
        (json!({}), None),
        (json!([1]), None),
    ] {
        assert_eq!(lasted(&report(usage.clone())), expected, "{usage}");
    }
}

#[test]
fn lv16_the_tokens_of_a_backend_are_text_and_the_cached_ones_part_of_the_input() {
    let usage = json!({ "input_tokens": 900, "input_tokens_details": { "cached_tokens": 512 }, "output_tokens": 40 });
    let response = |usage: &Value| {
        json!({
            "type": "response.event", "event_id": "e", "delegation_id": "d",
            "event": { "type": "response.completed", "response": {
                "id": "resp_a", "model": "m-small", "service_tier": "priority", "output": [], "usage": usage,
                "tool_usage": { "web_search": { "num_requests": 2 } },
            } },
        })
    };
    let frame = response(&usage).to_string();
    let Ok(News::Worked(work)) = read(&frame).map(|event| event.news) else {
        panic!("{frame}");
    };
    assert_eq!(
        (&*work.response, &*work.model, work.searches),
        ("resp_a", "m-small", 2)
    );
    assert_eq!(work.tier.as_deref(), Some("priority"));
    let UsageReport::Figures(figures) = work.usage else {
        panic!("{frame}");
    };
    assert_eq!((figures.input, figures.output), (Some(900), Some(40)));
    let input = figures.input_details.unwrap();
    assert_eq!((input.text, input.cached), (Some(900), Some(512)));
    for (usage, report) in [
        (Value::Null, "Missing"),
        (json!({ "input_tokens": -1 }), "Unreadable"),
    ] {
        let news = news(&response(&usage));
        assert!(news.contains(report), "{news}");
    }
    for kind in ["response.created", "response.output_item.done"] {
        let mut event = response(&usage);
        event["event"]["type"] = kind.into();
        assert_eq!(news(&event), "Other");
    }
}

#[test]
fn lv21_an_error_may_lack_its_code_and_no_content_is_kept() {
    let error = json!({ "type": "error", "event_id": "e", "error": {
        "type": "invalid_request_error", "code": null, "message": "canary", "param": null, "client_event_id": "bk-1" } });
    assert_eq!(
        news(&error),
        r#"Error { code: Some("invalid_request_error"), event: Some("bk-1") }"#
    );
    for kind in [
        "session.input_transcript.delta",
        "session.output_transcript.delta",
    ] {
        let event = json!({ "type": kind, "event_id": "e", "delta": "canary", "start_ms": 1 });
        assert_eq!(news(&event), "Spoken");
    }
    let of_tomorrow = json!({ "type": "session.of_tomorrow", "delta": "canary" });
    assert_eq!(news(&of_tomorrow), "Other");
    assert_eq!(news(&json!({ "delta": "canary" })), "the frame is no event");
}

#[test]
fn lv12_reflected_audio_is_known_by_its_beginning_and_nothing_else_is_taken_for_it() {
    for audio in [
        r#"{"type":"session.input_audio.append","audio":"AAAA"}"#,
        r#"{ "type" : "session.output_audio.delta", "delta": "AAAA" }"#,
        r#"{"type":"session.output_audio.delta","not even JSON"#,
    ] {
        assert!(is_reflected_audio(audio), "{audio}");
    }
    for other in [
        "",
        "{",
        r#"{"type":"session.input_audio.muted"}"#,
        r#"{"type":"session.output_audio.delta.of_tomorrow"}"#,
        r#"{"type":"info","code":"session.input_audio.append"}"#,
        r#"{"event_id":"e","type":"session.input_audio.append"}"#,
        r#"["type":"session.input_audio.append"]"#,
    ] {
        assert!(!is_reflected_audio(other), "{other}");
    }
}

#[test]
fn lv3_the_lists_of_a_page_obey_the_published_rules_and_only_a_sample_shows_the_session() {
    for events in [PageEvents::Sealed, PageEvents::Sample] {
        let client = events.as_client();
        let session = json!({ "model": "gpt-live-1", "client": client });
        assert_eq!(check_live(&session), Ok(()));
        let shows = client.to_string().contains("session.started");
        assert_eq!(shows, events == PageEvents::Sample);
    }
}

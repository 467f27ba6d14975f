//! The exchange of an offer for an answer.

use std::time::Duration;

use serde_json::json;
use token_broker::upstream::{Complaint, UpstreamError};

use super::{OFFER, Opened, channel, ended, offer, pass};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::calls::ANSWER;
use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::REQUIRED;
use crate::kit::waiting::{SOON, eventually};

#[tokio::test]
async fn ca01_an_offer_is_exchanged_for_the_providers_answer_and_the_persona_goes_along() {
    let app = TestApp::with(&[("call.strip_candidates", "false")]);
    let answer = offer(&app).origin(PAGE).send().await;
    assert_eq!((answer.status, answer.text.as_str()), (201, ANSWER));
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("location"), Some("/calls/rtc_u0_test1"));
    let ends_at = (crate::kit::in_process::START.as_millis() + 600_000).to_string();
    assert_eq!(answer.header("x-call-ends-at"), Some(ends_at.as_str()));
    let order = app.calls.orders().pop().unwrap();
    assert_eq!(order.offer, OFFER.as_bytes());
    let session: serde_json::Value = serde_json::from_str(order.session.as_json().get()).unwrap();
    assert_eq!(session["instructions"], "canary-instructions");
    assert!(session.get("id").is_none());
}

#[tokio::test]
async fn ca02_a_form_may_repeat_what_the_persona_pins_and_not_change_it() {
    let app = TestApp::new();
    let form = |session: &serde_json::Value| {
        let part = |name: &str, text: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let body = format!(
            "{}{}--x--\r\n",
            part("sdp", OFFER),
            part("session", &session.to_string())
        );
        app.post("/calls")
            .body("multipart/form-data; boundary=x", body)
    };
    let same = json!({ "type": "realtime", "model": "gpt-realtime-2.1", "audio": { "output": { "voice": "cedar" } } });
    assert_eq!(form(&same).send().await.status, 201);
    for (field, value) in [
        ("instructions", json!("Curse.")),
        ("model", json!("gpt-realtime")),
        ("tools", json!([{}])),
    ] {
        let refused = form(&json!({ field: value })).send().await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], format!("session.{field}"));
    }
    assert_eq!(app.calls.orders().len(), 1);
}

#[tokio::test]
async fn ca03_openais_paths_exchange_offers_too() {
    let app = TestApp::new();
    for (path, location) in [
        ("/v1/realtime/calls", "/v1/realtime/calls/rtc_u0_test1"),
        ("/session", "/calls/rtc_u0_test2"),
    ] {
        let answer = app.post(path).body("application/sdp", OFFER).send().await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (201, Some(location))
        );
    }
}

#[tokio::test]
async fn ca06_a_call_whose_side_channel_cannot_be_joined_is_hung_up_and_nobody_gets_its_answer() {
    let app = TestApp::with(&[("limits.token", "100/60s"), ("call.max_live_network", "1")]);
    let refused = |answer: Answer, number| {
        answer.is(502, "upstream_invalid");
        assert!(!answer.text.contains("v=0"));
        assert_eq!(app.calls.hung_up().len(), number);
    };
    app.calls.fail_join(UpstreamError::Invalid("test"));
    refused(offer(&app).send().await, 1);
    // The provider does not come to know the call.
    for _ in 0..1000 {
        app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    }
    let dialled = tokio::spawn(offer(&app).send());
    eventually("the answer", SOON, async || {
        pass(&app, 1).await;
        dialled.is_finished()
    })
    .await;
    refused(dialled.await.unwrap(), 2);
    // Its place is free again.
    app.calls.forget_failures();
    Opened::by(&app).await;
}

#[tokio::test]
async fn ca09_a_failed_exchange_is_never_repeated() {
    let slow = Complaint {
        retry_after: Some(Duration::from_secs(7)),
        ..429.into()
    };
    let unknown = Complaint {
        code: "model_not_found".into(),
        ..403.into()
    };
    for (error, status, code) in [
        (
            UpstreamError::KeyRejected(401.into()),
            503,
            "upstream_unavailable",
        ),
        (
            UpstreamError::Refused(401.into()),
            503,
            "upstream_unavailable",
        ),
        (UpstreamError::Refused(unknown), 503, "upstream_unavailable"),
        (
            UpstreamError::RateLimited(slow),
            503,
            "upstream_unavailable",
        ),
        (UpstreamError::Broken(500.into()), 502, "upstream_invalid"),
        (
            UpstreamError::Broken(503.into()),
            503,
            "upstream_unavailable",
        ),
        (
            UpstreamError::Invalid("it names no call"),
            502,
            "upstream_invalid",
        ),
    ] {
        let app = TestApp::new();
        let shown = format!("{error:?}");
        app.calls.fail_exchange(error);
        let answer = offer(&app).send().await;
        assert_eq!(
            (answer.status, &answer.json["error"]["code"]),
            (status, &json!(code)),
            "{shown}"
        );
        if shown.contains("7s") {
            assert_eq!(answer.header("retry-after"), Some("7"));
        }
        assert_eq!(app.calls.orders().len(), 1, "{shown}");
        assert!(app.calls.hung_up().is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn ca10_ca11_what_is_no_offer_reaches_nobody() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    let too_long = "a=x\r\n".repeat(13_200);
    for (body, status, code) in [
        ("", 400, "invalid_offer"),
        ("{}", 400, "invalid_offer"),
        ("<html>", 400, "invalid_offer"),
        ("v=0\r\n\0", 400, "invalid_offer"),
        ("v=0\r\nX: y\r\n\r\n", 400, "invalid_offer"),
        (too_long.as_str(), 413, "payload_too_large"),
    ] {
        let body = body.to_owned();
        app.post("/calls")
            .body("application/sdp", body)
            .send()
            .await
            .is(status, code);
    }
    let video = format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n");
    app.post("/calls")
        .body("application/sdp", video)
        .send()
        .await
        .is(400, "video_not_allowed");
    assert!(app.calls.orders().is_empty());
}

#[tokio::test]
async fn ca12_content_types_are_those_of_offers() {
    let app = TestApp::with(&[("limits.token", "100/60s"), ("call.max_live_network", "10")]);
    for (kind, status) in [
        ("text/plain", 415),
        ("", 415),
        ("application/json", 415),
        ("application/sdp; charset=utf-8", 201),
        ("APPLICATION/SDP", 201),
        ("multipart/form-data", 400),
    ] {
        let answer = app.post("/calls").body(kind, OFFER).send().await;
        assert_eq!(answer.status, status, "{kind:?}");
    }
    let part = |name: &str, text: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let sdp = part("sdp", OFFER);
    let coded = "\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    let fields = format!("\r\n{}\r\n", "A: b\r\n".repeat(8));
    for (parts, status) in [
        (sdp.clone(), 201),
        (sdp.replacen("\r\n\r\n", coded, 1), 400),
        (sdp.replacen("\r\n\r\n", &fields, 1), 400),
        (format!("{sdp}{sdp}"), 400),
        (format!("{sdp}{}", part("other", "x")), 400),
        (part("session", "{}"), 400),
        (format!("{sdp}{}", part("session", "[]")), 400),
        (part("sdp", &"x".repeat(65_537)), 413),
    ] {
        let body = format!("{parts}--x--\r\n");
        let answer = app
            .post("/calls")
            .body("multipart/form-data; boundary=x", body)
            .send()
            .await;
        assert_eq!(answer.status, status, "{parts:.80}");
    }
}

#[tokio::test]
async fn ca14_the_addresses_of_the_page_are_removed_unless_the_operator_wants_them() {
    let app = TestApp::new();
    Opened::by(&app).await;
    let order = app.calls.orders().pop().unwrap();
    let sent = String::from_utf8(order.offer.to_vec()).unwrap();
    assert!(
        !sent.contains("192.168.1.7") && !sent.contains("a=candidate"),
        "{sent}"
    );
    assert!(sent.contains("m=application"));
}

#[tokio::test]
async fn ca16_a_locked_persona_has_no_data_channel_and_the_answer_refuses_it() {
    let app = TestApp::with(&[("call.persona", "locked")]);
    // The scripted provider's answer has no sections at all.
    offer(&app).send().await.is(502, "upstream_invalid");
    let order = app.calls.orders().pop().unwrap();
    let sent = String::from_utf8(order.offer.to_vec()).unwrap();
    assert!(
        !sent.contains("m=application") && sent.contains("a=group:BUNDLE 0\r\n"),
        "{sent}"
    );
    assert_eq!(app.calls.hung_up().len(), 1);
}

#[tokio::test]
async fn ca18_calls_at_once_are_bounded_and_an_ended_call_frees_its_place() {
    let file = format!("{REQUIRED}[call]\nmax_live = 1\n");
    let app = TestApp::of(&file, &[]);
    let offer = || offer(&app).bearer(&student("ana"));
    let first = offer().send().await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("x-call-token"), None);
    let refused = offer().send().await;
    refused.is(429, "call_limit");
    assert_eq!(refused.json["error"]["limit"], "max_live");
    assert!(refused.retry_after() >= 1);
    let path = format!("{}/hangup", first.header("location").unwrap());
    let hung_up = app.post(&path).bearer(&student("ana")).send().await;
    assert_eq!(hung_up.status, 200);
    assert_eq!(offer().send().await.status, 201);
}

#[tokio::test]
async fn ca22_pages_elsewhere_open_no_calls() {
    let app = TestApp::new();
    offer(&app)
        .origin("https://evil.example")
        .send()
        .await
        .is(403, "origin_not_allowed");
    assert!(app.calls.orders().is_empty());
}

#[tokio::test]
async fn ca23_only_the_owner_sees_a_call_and_hangs_it_up_and_twice_is_fine() {
    let app = TestApp::of(REQUIRED, &[]);
    let opened = offer(&app).bearer(&student("ana")).send().await;
    let path = opened.header("location").unwrap().to_owned();
    let hang_up = format!("{path}/hangup");
    for path in [path.as_str(), "/calls/rtc_unknown", "/calls/nothing"] {
        app.get(path)
            .bearer(&student("ben"))
            .send()
            .await
            .is(404, "unknown_call");
    }
    app.post(&hang_up)
        .bearer(&student("ben"))
        .send()
        .await
        .is(404, "unknown_call");
    app.post(&hang_up).send().await.is(401, "unauthorized");
    assert!(app.calls.hung_up().is_empty());
    for _ in 0..2 {
        let answer = app.post(&hang_up).bearer(&student("ana")).send().await;
        assert_eq!(
            (answer.status, &answer.json["reason"]),
            (200, &json!("hung_up"))
        );
    }
    assert_eq!(app.calls.hung_up().len(), 1);
    assert_eq!(ended(&app).await["reason"], "hung_up");
}

#[tokio::test]
async fn a_call_without_identity_belongs_to_whoever_holds_its_ticket_until_a_minute_after_its_end()
{
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    app.get(&call.path).send().await.is(404, "unknown_call");
    let other = token_broker::domain::Ticket::random();
    app.get(&call.path)
        .bearer(other.expose())
        .send()
        .await
        .is(404, "unknown_call");
    let hang_up = format!("{}/hangup", call.path);
    assert_eq!(
        app.post(&hang_up).bearer(&call.ticket).send().await.status,
        200
    );
    app.advance(59);
    assert_eq!(call.look(&app).await["state"], "ended");
    app.advance(1);
    app.get(&call.path)
        .bearer(&call.ticket)
        .send()
        .await
        .is(404, "unknown_call");
}

#[tokio::test]
async fn ca04_the_persona_is_asserted_and_confirmed_before_the_answer() {
    let app = TestApp::new();
    Opened::by(&app).await;
    let sent = channel(&app).sent();
    assert_eq!(sent[0]["type"], "session.update");
    assert_eq!(sent[0]["session"]["instructions"], "canary-instructions");
}

#[tokio::test]
async fn ca20_a_repeated_request_gets_the_first_answer_for_thirty_seconds() {
    let app = TestApp::new();
    let ask = |key: &str| offer(&app).header("idempotency-key", key).send();
    let (first, second) = tokio::join!(ask("one"), ask("one"));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(first.header("x-call-token"), second.header("x-call-token"));
    assert_eq!(app.calls.orders().len(), 1);
    app.advance(29);
    assert_eq!(ask("one").await.status, 201);
    app.advance(1);
    ask("one").await.is(409, "call_repeated");
    assert_eq!(ask("two").await.status, 201);
    // Somebody else's key is another one.
    let other = offer(&app)
        .from("198.51.100.9")
        .header("idempotency-key", "one");
    assert_eq!(
        other.send().await.header("location"),
        Some("/calls/rtc_u0_test3")
    );
    let wrong = ask(&"x".repeat(256)).await;
    wrong.is(400, "bad_request");
    assert_eq!(wrong.json["error"]["param"], "Idempotency-Key");
}

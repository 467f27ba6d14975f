//! Webhooks of the provider: who may send them, and what each one does (row LV23).

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use axum::body::Body;
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::live::{LIVE, app};
use crate::fragile::fragile;
use crate::kit::answer::Answer;
use crate::kit::in_process::{START, TestApp};
use crate::kit::waiting::{SOON, eventually};

const PATH: &str = "/webhooks/openai";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A secret that signs nothing here.
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is to be sent.
struct Webhook {
    id: &'static str,
    secret: &'static str,
    at: u64,
    body: String,
}

impl Webhook {
    fn of(session: &str) -> Self {
        Self {
            id: "evt_1",
            secret: SECRET,
            at: START.as_seconds(),
            body: connected(session).to_string(),
        }
    }

    fn signature(&self) -> String {
        let key = STANDARD.decode(self.secret.trim_start_matches("whsec_"));
        let key = hmac::Key::new(HMAC_SHA256, &key.unwrap());
        let signed = format!("{}.{}.{}", self.id, self.at, self.body);
        format!(
            "v1,{}",
            STANDARD.encode(hmac::sign(&key, signed.as_bytes()))
        )
    }

    async fn send(&self, app: &TestApp) -> Answer {
        self.send_with(app, self.body.clone(), &self.signature())
            .await
    }

    async fn send_with(&self, app: &TestApp, body: impl Into<Body>, signature: &str) -> Answer {
        let call = app.post(PATH).body("application/json", body);
        let call = call.header("webhook-id", self.id);
        let call = call.header("webhook-timestamp", self.at.to_string());
        call.header("webhook-signature", signature).send().await
    }
}

fn connected(session: &str) -> Value {
    json!({
        "id": "evt_1", "object": "event", "created_at": START.as_seconds(), "type": "live.transport.connected",
        "data": { "session_id": session, "type": "webrtc" },
    })
}

fn signed_app() -> TestApp {
    app(&[("live.webhook_secret", SECRET)])
}

/// Judges what was announced, and returns the sessions of others that the audit log names.
async fn unowned(app: &TestApp) -> usize {
    app.app.state().broker.judge_announcements().await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    app.events("unowned_session").len()
}

#[tokio::test]
async fn lv23_without_a_secret_there_is_no_path_for_webhooks() {
    let app = app(&[]);
    Webhook::of("live_u1_A")
        .send(&app)
        .await
        .is(404, "not_found");
    app.adopt(
        "",
        &[&LIVE[..], &[("live.webhook_secret", SECRET)]].concat(),
    );
    assert_eq!(Webhook::of("live_u1_A").send(&app).await.status, 204);
    app.adopt("", &LIVE);
    Webhook::of("live_u1_B")
        .send(&app)
        .await
        .is(404, "not_found");
}

#[tokio::test]
async fn lv23_every_method_is_unknown_without_a_secret_and_other_methods_are_refused_with_one() {
    let (bare, signed) = (app(&[]), signed_app());
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let unknown = bare.call(method.clone(), PATH).send().await;
        unknown.is(404, "not_found");
        assert_eq!(unknown.header("allow"), None);
        let refused = signed.call(method, PATH).send().await;
        refused.is(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("POST"));
    }
}

#[tokio::test]
async fn lv23_the_time_of_a_session_may_have_a_fraction_and_may_be_missing() {
    let app = signed_app();
    let now = START.as_seconds();
    for (id, time) in [
        ("evt_2", json!(format!("{now}.25").parse::<f64>().unwrap())),
        ("evt_3", Value::Null),
    ] {
        let mut told = connected(id);
        told["created_at"] = time;
        let told = Webhook {
            id,
            body: told.to_string(),
            ..Webhook::of("")
        };
        assert_eq!(told.send(&app).await.status, 204);
    }
    // A session of long ago would tell nothing.
    eventually("the reports", SOON, async || unowned(&app).await == 2).await;
}

#[tokio::test]
async fn lv23_a_signed_webhook_is_taken_once_however_often_it_comes() {
    let app = signed_app();
    for _ in 0..3 {
        let answer = Webhook::of("live_u1_A").send(&app).await;
        assert_eq!((answer.status, &*answer.text), (204, ""));
    }
    eventually("the report", SOON, async || unowned(&app).await == 1).await;
    assert_eq!(Webhook::of("live_u1_A").send(&app).await.status, 204);
    assert_eq!(unowned(&app).await, 1, "repeated later");
}

#[tokio::test]
async fn lv23_forged_and_old_webhooks_are_refused_and_nobody_is_blocked_for_them() {
    let app = signed_app();
    let right = Webhook::of("live_u1_A");
    let forged = Webhook {
        secret: OTHER,
        ..Webhook::of("live_u1_A")
    };
    let refused = |answer: Answer, header: &str| {
        answer.is(400, "bad_request");
        assert_eq!(answer.json["error"]["param"], header);
    };
    for _ in 0..50 {
        refused(forged.send(&app).await, "webhook-signature");
    }
    let other_body = connected("live_u1_B").to_string();
    let signature = right.signature();
    let changed = right.send_with(&app, other_body, &signature);
    refused(changed.await, "webhook-signature");
    for at in [START.as_seconds() - 301, START.as_seconds() + 301] {
        let old = Webhook {
            at,
            ..Webhook::of("live_u1_A")
        };
        refused(old.send(&app).await, "webhook-timestamp");
    }
    let bare = app.post(PATH).json(&connected("live_u1_A")).send().await;
    refused(bare, "webhook-id");
    assert_eq!(unowned(&app).await, 0);
    let events = app.events("webhook_refused");
    assert_eq!(events[0]["details"]["header"], "webhook-signature");
    // Whoever shares the address is served as before.
    assert_eq!(right.send(&app).await.status, 204);
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn lv23_a_large_webhook_is_refused_and_the_body_of_a_wrong_one_is_not_waited_for() {
    let app = signed_app();
    let mut large = Webhook::of("live_u1_A");
    large.body.push_str(&" ".repeat(16 * 1024));
    large.send(&app).await.is(413, "payload_too_large");
    let wrong = Webhook::of("live_u1_A");
    let never = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let answer = wrong.send_with(&app, never, "v1,").await;
    assert_eq!(answer.json["error"]["param"], "webhook-signature");
}

#[tokio::test]
async fn lv23_other_webhooks_are_answered_and_mean_nothing_and_wrong_ids_are_refused() {
    let app = signed_app();
    let signed = |id, body: Value| Webhook {
        id,
        body: body.to_string(),
        ..Webhook::of("")
    };
    let other = json!({ "type": "response.completed", "data": { "id": "resp_1" } });
    assert_eq!(signed("evt_2", other).send(&app).await.status, 204);
    for session in ["", "../calls", "a/b", "https://a.test"] {
        let refused = signed("evt_3", connected(session)).send(&app).await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], "data.session_id");
    }
    signed("evt_4", json!("text"))
        .send(&app)
        .await
        .is(400, "bad_request");
    assert_eq!(unowned(&app).await, 0);
}

#[tokio::test]
async fn lv23_a_webhook_that_cannot_be_written_down_is_asked_for_again() {
    let (app, ledger) = fragile(&format!("[live]\nwebhook_secret = \"{SECRET}\"\n"));
    ledger.fail(false, true);
    let refused = Webhook::of("live_u1_A").send(&app).await;
    refused.is(503, "ledger_unavailable");
    assert!(refused.retry_after() >= 1);
    ledger.fail(false, false);
    assert_eq!(Webhook::of("live_u1_A").send(&app).await.status, 204);
    eventually("the report", SOON, async || unowned(&app).await == 1).await;
}

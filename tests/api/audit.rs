//! What is written down of what happened.

use serde_json::json;
use token_broker::audit::Event;
use token_broker::upstream::UpstreamError;

use crate::calls::OFFER;
use crate::fragile::fragile;
use crate::kit::PAGE;
use crate::kit::in_process::{TestApp, claims, student};
use crate::kit::issuer::{ISSUER, REQUIRED, sign, sign_with};

/// Events that the first test below brings about.
const OF_REQUESTS: [&str; 9] = [
    "token_minted",
    "token_refreshed",
    "rate_limit_exceeded",
    "suspicious_activity",
    "client_blocked",
    "origin_refused",
    "session_mismatch",
    "upstream_key_rejected",
    "config_warning",
];
/// Events that the tests of identity and ledger below bring about.
const OF_IDENTITY: [&str; 4] = [
    "auth_failed",
    "quota_exceeded",
    "ledger_unavailable",
    "sessions_ended",
];

/// Those of calls and transcriptions, in `calls/` and `transcribe/`.
const OF_CALLS: [&str; 6] = [
    "call_opened",
    "call_ended",
    "transcribed",
    "ticket_reused",
    "zero_price",
    "odd_usage",
];

/// Those of settings that are read again, in `tests/process/reload.rs`.
const OF_SETTINGS: [&str; 2] = ["settings_reloaded", "settings_refused"];

/// Those of webhooks, in `calls/webhooks.rs` and `calls/orphans.rs`.
const OF_WEBHOOKS: [&str; 3] = ["webhook_refused", "call_adopted", "unowned_session"];

#[tokio::test]
async fn every_event_of_the_inventory_happens_and_has_every_field() {
    let app = TestApp::with(&[
        ("limits.token", "4/60s"),
        ("limits.refresh", "100/60s"),
        ("session.ip_binding", "strict"),
    ]);
    let agent = |call: crate::kit::in_process::Call| call.header("user-agent", "test/1");
    let session = agent(app.post("/token")).send().await.json["sessionId"].clone();
    let body = json!({ "sessionId": session });
    app.advance(10);
    agent(app.post("/refresh-token")).json(&body).send().await;
    agent(app.post("/refresh-token"))
        .from("198.51.100.1")
        .json(&body)
        .send()
        .await;
    agent(app.post("/token"))
        .origin("https://evil.test")
        .send()
        .await;
    app.minter.fail(UpstreamError::KeyRejected(401.into()));
    agent(app.post("/token")).send().await;
    agent(app.post("/token"))
        .body("application/json", "{")
        .send()
        .await;
    app.advance(50);
    for _ in 0..50 {
        agent(app.post("/token")).send().await;
    }
    for _ in 0..3 {
        agent(app.post("/token")).send().await;
        app.advance(1);
    }
    app.app
        .state()
        .audit
        .note(Event::ConfigWarning, json!({ "warning": "…" }));
    for event in OF_REQUESTS {
        let found = app.events(event);
        assert!(!found.is_empty(), "{event} did not happen");
        for field in ["event", "client_ip", "user_agent", "severity", "details"] {
            assert!(found[0].get(field).is_some(), "{event} has no {field}");
        }
        assert!(["low", "medium", "high"].contains(&found[0]["severity"].as_str().unwrap()));
    }
    assert_eq!(app.events("token_minted")[0]["user_agent"], "test/1");
    assert_eq!(
        app.events("session_mismatch")[0]["client_ip"],
        "198.51.100.1"
    );
}

#[tokio::test]
async fn an_event_names_the_origin_and_the_persona() {
    let app = TestApp::new();
    app.post("/token").origin(PAGE).send().await;
    let event = &app.events("token_minted")[0];
    assert_eq!(event["details"]["origin"], PAGE);
    assert_eq!(event["details"]["persona"], "default");
}

#[tokio::test]
async fn a_flood_of_refusals_is_folded_and_counted() {
    let app = TestApp::with(&[("guard.threshold", "1000"), ("limits.token", "1/60s")]);
    let total = 3000;
    for _ in 0..=total {
        app.post("/token").send().await;
    }
    app.app.state().audit.sum_up(true);
    let lines = app.events("rate_limit_exceeded");
    assert!(lines.len() <= 10, "{} lines", lines.len());
    let folded: u64 = lines
        .iter()
        .filter_map(|line| line["details"]["folded"].as_u64())
        .sum();
    assert_eq!(folded + (lines.len() as u64 - 1), total);
}

/// The names of all events, as the source has them.
fn inventory() -> Vec<String> {
    let source = include_str!("../../src/audit.rs");
    let (_, rest) = source.split_once("pub enum Event {").unwrap();
    let (variants, _) = rest.split_once("\n}").unwrap();
    let names = variants.lines().map(str::trim);
    let names = names.filter(|line| !line.is_empty() && !line.starts_with("///"));
    let snake = |name: &str| {
        let words = name
            .trim_end_matches(',')
            .chars()
            .map(|letter| match letter {
                'A'..='Z' => format!("_{}", letter.to_ascii_lowercase()),
                other => other.to_string(),
            });
        words.collect::<String>().trim_start_matches('_').to_owned()
    };
    names.map(snake).collect()
}

#[test]
fn the_documents_list_every_event() {
    let page = include_str!("../../docs/operating.md");
    let (_, rest) = page.split_once("* **Audit events**").unwrap();
    let (list, _) = rest.split_once("\n* ").unwrap();
    for name in inventory() {
        assert!(list.contains(&format!("`{name}`")), "{name} is not listed");
    }
}

#[test]
fn no_event_is_without_a_test() {
    let mut tested = [
        &OF_REQUESTS[..],
        &OF_IDENTITY,
        &OF_CALLS,
        &OF_SETTINGS,
        &OF_WEBHOOKS,
    ]
    .concat();
    tested.sort_unstable();
    let mut inventory = inventory();
    inventory.sort_unstable();
    assert_eq!(inventory, tested);
}

#[tokio::test]
async fn a_credential_that_is_not_good_is_told_once_whatever_is_wrong_with_it() {
    let mut expired = claims("ana", "student");
    expired["exp"] = 1_000_000_000.into();
    for bad in [
        sign(&expired),
        sign_with(
            &claims("ana", "student"),
            "another-secret-that-is-long-enough-9c",
        ),
        "not-even-one".to_owned(),
    ] {
        let test = TestApp::of(REQUIRED, &[]);
        test.post("/token")
            .bearer(&bad)
            .send()
            .await
            .is(401, "unauthorized");
        let told = test.events("auth_failed");
        assert_eq!(told.len(), 1, "{bad}");
        assert_eq!(told[0]["severity"], "medium");
        assert!(!told[0].to_string().contains(&bad), "{}", told[0]);
        assert!(test.events("token_minted").is_empty());
    }
}

#[tokio::test]
async fn a_quota_or_a_budget_that_is_used_up_is_told_once_for_each_refusal() {
    let quota = format!("{REQUIRED}\n[quota.student]\nsessions_per_month = 1");
    let test = TestApp::of(&quota, &[]);
    for refusals in 0..3 {
        test.post("/token").bearer(&student("ana")).send().await;
        assert_eq!(test.events("quota_exceeded").len(), refusals);
    }
    let test = TestApp::of(REQUIRED, &[("limits.mints", "1/60s")]);
    for refusals in 0..3 {
        test.post("/token").bearer(&student("ana")).send().await;
        assert_eq!(test.events("quota_exceeded").len(), refusals);
    }
    assert_eq!(test.events("rate_limit_exceeded").len(), 0);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_is_told_once_for_each_mint_that_fails_for_it() {
    for (reserves, settles) in [(true, true), (false, true)] {
        let (test, ledger) = fragile(REQUIRED);
        ledger.fail(reserves, settles);
        let refused = test.post("/token").bearer(&student("ana")).send().await;
        refused.is(503, "ledger_unavailable");
        let told = test.events("ledger_unavailable");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["severity"], "high");
        assert!(test.events("token_minted").is_empty());
    }
}

#[tokio::test]
async fn a_ticket_that_is_shown_again_is_told_of_without_naming_it() {
    let test = TestApp::with(&[("connect.mode", "call")]);
    let minted = test.post("/token").send().await;
    let ticket = minted.json["token"].as_str().unwrap();
    for reused in 0..3 {
        let dial = test.post("/calls").body("application/sdp", OFFER);
        let opened = dial.bearer(ticket).send().await;
        assert_eq!(opened.status, if reused == 0 { 201 } else { 409 });
        assert_eq!(test.events("ticket_reused").len(), reused);
    }
    let told = json!(test.all_events()).to_string();
    assert!(!told.contains(&ticket[3..]), "{told}");
}

#[tokio::test]
async fn sessions_that_an_operator_ends_are_told_once() {
    const TOKEN: &str = "operators-token-that-is-long-enough";
    let test = TestApp::of(REQUIRED, &[("ops.token", TOKEN)]);
    for _ in 0..3 {
        test.post("/token").bearer(&student("ana")).send().await;
    }
    let call = test
        .post("/sessions/end")
        .through(test.app.ops_onion().unwrap());
    let whose = json!({ "issuer": ISSUER, "subject": "ana" });
    call.bearer(TOKEN).json(&whose).send().await;
    let told = test.events("sessions_ended");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["details"], json!({ "identity": "ana", "ended": 3 }));
}

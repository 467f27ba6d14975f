//! Sessions of GPT-Live that the provider announces: those whose creation got no answer are found (row LV23).

use std::time::Duration;

use serde_json::json;
use token_broker::broker::BrokerError;
use token_broker::clock::{Clock, Timestamp};
use token_broker::domain::{CallState, Party, UpstreamCallId};
use token_broker::metrics::Form;
use token_broker::upstream::UpstreamError;

use super::live::{LIVE, closed, closes};
use super::{OFFER, Opened, channel, ended, offer, pass};
use crate::fragile::fragile;
use crate::kit::in_process::{START, TestApp, student};
use crate::kit::issuer::REQUIRED;
use crate::kit::waiting::{SOON, eventually};

const SECRET: (&str, &str) = (
    "live.webhook_secret",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
);

/// The id under which the scripted provider knows the first session that it was asked for.
const FIRST: &str = "live_u1_test1";

fn app(settings: &[(&str, &str)]) -> TestApp {
    TestApp::with(&[&LIVE, &[SECRET][..], settings].concat())
}

/// A call whose offer got no answer, although its session may exist.
async fn lose(app: &TestApp) {
    lose_of(app, "default").await;
}

async fn lose_of(app: &TestApp, persona: &str) {
    app.calls.fail_exchange(UpstreamError::Cut("reset".into()));
    let path = format!("/calls?persona={persona}");
    let refused = app.post(&path).body("application/sdp", OFFER).send().await;
    assert_eq!(refused.status, 503, "{refused:?}");
}

async fn announce_at(app: &TestApp, webhook: &str, session: &str, created_at: Timestamp) {
    let session = UpstreamCallId::of_live(session).unwrap();
    let broker = &app.app.state().broker;
    let announced = broker.announced(webhook, session, created_at);
    announced.await.unwrap();
}

async fn announce(app: &TestApp, session: &str) {
    announce_at(app, session, session, START).await;
}

/// Returns how many announcements were judged so.
fn judged(app: &TestApp, outcome: &str) -> bool {
    let page = app.app.state().face.vitals.series.page(Form::Text);
    let line = format!("broker_live_announcements_total{{outcome=\"{outcome}\"}} 1");
    page.lines().any(|one| one == line)
}

/// Judges what is due, second by second, until an announcement was judged so.
async fn judges(app: &TestApp, outcome: &str) {
    eventually(outcome, SOON, async || {
        app.app.state().broker.judge_announcements().await;
        pass(app, 1).await;
        judged(app, outcome)
    })
    .await;
}

#[tokio::test]
async fn lv23_a_session_whose_creation_got_no_answer_is_closed_and_billed_by_its_last_report() {
    let app = app(&[]);
    lose(&app).await;
    announce(&app, FIRST).await;
    judges(&app, "adopted").await;
    closes(&app).await;
    channel(&app).say(&closed("close_requested", &json!({ "seconds": 30 })));
    let ended = ended(&app).await;
    assert_eq!(
        (&ended["reason"], &ended["call"]),
        (&json!("provider"), &json!(FIRST))
    );
    // The 15 s that were held stay an estimate, and the report adds what was beyond them.
    assert_eq!(ended["cost"], "0.025");
    assert_eq!(ended["estimated_cost"], "0.0125");
    let adopted = app.events("call_adopted");
    let details = json!({ "call": FIRST, "persona": "default" });
    assert_eq!(adopted[0]["details"], details);
    assert!(app.calls.hung_up().is_empty(), "it has closed itself");
    // A second webhook of the same session finds a call that is known.
    announce_at(&app, "evt_2", FIRST, START).await;
    judges(&app, "known").await;
    assert_eq!(app.events("call_adopted").len(), 1);
}

#[tokio::test]
async fn lv23_an_orphan_that_does_not_close_is_hung_up_and_its_time_is_an_estimate() {
    let app = app(&[]);
    lose(&app).await;
    announce(&app, FIRST).await;
    judges(&app, "adopted").await;
    closes(&app).await;
    pass(&app, 16).await;
    eventually("the hang-up", SOON, async || app.calls.hung_up().len() == 1).await;
    let ended = ended(&app).await;
    let cost = ended["cost"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((0.0125..0.03).contains(&cost), "{ended}");
    assert_eq!(ended["cost"], ended["estimated_cost"]);
}

#[tokio::test]
async fn lv23_an_orphan_that_the_provider_does_not_know_everywhere_yet_is_looked_for_again() {
    let app = app(&[]);
    lose(&app).await;
    app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    app.calls.fail_join(UpstreamError::Broken(503.into()));
    announce(&app, FIRST).await;
    judges(&app, "adopted").await;
    let passed = app.clock.now().since(START);
    assert!(
        passed >= Duration::from_secs(4),
        "after two pauses: {passed:?}"
    );
    assert!(app.events("unowned_session").is_empty());
}

#[tokio::test]
async fn lv23_an_orphan_that_is_over_leaves_its_call_lost() {
    let app = app(&[]);
    lose(&app).await;
    for _ in 0..20 {
        app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    }
    announce(&app, FIRST).await;
    judges(&app, "over").await;
    let calls = app.app.state().broker.calls(None, (0, 10)).await.unwrap();
    assert_eq!(calls[0].state, CallState::Lost);
    assert_eq!(calls[0].used.cost, calls[0].used.estimated);
}

#[tokio::test]
async fn lv23_a_session_of_a_known_call_goes_on() {
    let app = app(&[("live.unowned", "close")]);
    let call = Opened::by(&app).await;
    announce(&app, FIRST).await;
    judges(&app, "known").await;
    assert_eq!(call.look(&app).await["state"], "open");
    assert!(app.calls.hung_up().is_empty());
    assert!(channel(&app).sent().is_empty());
}

#[tokio::test]
async fn lv23_a_session_of_others_is_reported_once_and_goes_on() {
    let app = app(&[]);
    // A call that was lost is no reason to look at sessions that were created long after it.
    lose(&app).await;
    pass(&app, 121).await;
    let now = Timestamp::from_seconds(START.as_seconds() + 121);
    announce_at(&app, "evt_1", FIRST, now).await;
    announce_at(&app, "evt_1", FIRST, now).await;
    judges(&app, "unowned").await;
    pass(&app, 60).await;
    app.app.state().broker.judge_announcements().await;
    pass(&app, 1).await;
    let events = app.events("unowned_session");
    assert_eq!(events.len(), 1);
    let details = json!({ "session": FIRST, "closed": false });
    assert_eq!(events[0]["details"], details);
    assert!(app.calls.channels().is_empty() && app.calls.hung_up().is_empty());
}

#[tokio::test]
async fn lv23_a_session_of_others_is_hung_up_until_that_is_confirmed_where_the_operator_wants_it() {
    let app = app(&[("live.unowned", "close")]);
    app.calls.fail_hang_up(UpstreamError::Broken(500.into()));
    announce(&app, "sess_of_others").await;
    app.app.state().broker.judge_announcements().await;
    pass(&app, 30).await;
    app.app.state().broker.judge_announcements().await;
    pass(&app, 1).await;
    assert!(app.events("unowned_session").is_empty());
    judges(&app, "closed").await;
    let hung_up = app.calls.hung_up();
    assert_eq!(hung_up.len(), 1);
    assert_eq!(hung_up[0].id.as_provider_writes(), "sess_of_others");
    let details = json!({ "session": "sess_of_others", "closed": true });
    assert_eq!(app.events("unowned_session")[0]["details"], details);
}

#[tokio::test]
async fn lv23_another_session_with_other_instructions_is_not_taken_for_the_lost_one() {
    let app = app(&[]);
    lose(&app).await;
    app.calls.show(json!({ "instructions": "those of others" }));
    announce(&app, FIRST).await;
    judges(&app, "unowned").await;
    assert!(app.events("call_adopted").is_empty());
    let calls = app.app.state().broker.calls(None, (0, 10)).await.unwrap();
    assert_eq!(calls[0].state, CallState::Lost);
}

#[tokio::test]
async fn lv23_a_session_without_instructions_is_known_by_its_model_and_its_lists() {
    let theirs =
        json!({ "data_channel": { "allowed_client_events": [], "allowed_server_events": [] } });
    let all = json!({ "data_channel": { "allowed_client_events": "all", "allowed_server_events": "all" } });
    let usual = "You are a helpful voice assistant.";
    for (shown, is_its) in [
        (json!({ "instructions": usual }), true),
        (json!({ "model": "gpt-live-1-2026-09-10" }), true),
        (json!({ "model": "gpt-live-1.1" }), false),
        (json!({ "client": theirs }), false),
        (json!({ "client": all }), false),
        (json!({ "client": null }), false),
    ] {
        let app = app(&[]);
        lose_of(&app, "plain").await;
        app.calls.show(shown);
        announce(&app, FIRST).await;
        judges(&app, if is_its { "adopted" } else { "unowned" }).await;
    }
}

#[tokio::test]
async fn lv23_the_session_of_a_caller_with_identity_is_known_by_its_name() {
    let settings = [&LIVE, &[SECRET][..]].concat();
    for is_its in [true, false] {
        let app = TestApp::of(REQUIRED, &settings);
        app.calls.fail_exchange(UpstreamError::TimedOut);
        let refused = offer(&app).bearer(&student("ana")).send().await;
        assert_eq!(refused.status, 504, "{refused:?}");
        let owner = app.app.state().broker.calls(None, (0, 10)).await.unwrap()[0].owner;
        assert!(matches!(owner, Party::Identity(_)));
        // The scripted provider names callers so.
        let name = if is_its {
            format!("{owner:?}")
        } else {
            "another".to_owned()
        };
        // Its instructions may have named the listener.
        app.calls
            .show(json!({ "safety_identifier": name, "instructions": "Speak with Ana." }));
        announce(&app, FIRST).await;
        judges(&app, if is_its { "adopted" } else { "unowned" }).await;
    }
}

#[tokio::test]
async fn lv23_an_announcement_of_an_hour_ago_tells_nothing_of_others() {
    let app = app(&[("live.unowned", "close")]);
    let old = Timestamp::from_seconds(START.as_seconds() - 3_601);
    announce_at(&app, "evt_1", FIRST, old).await;
    judges(&app, "old").await;
    assert!(app.calls.hung_up().is_empty());
    assert!(app.events("unowned_session").is_empty());
}

#[tokio::test]
async fn lv23_a_webhook_that_cannot_be_written_down_is_an_error_so_that_it_is_repeated() {
    let (app, ledger) = fragile("");
    ledger.fail(false, true);
    let session = UpstreamCallId::of_live(FIRST).unwrap();
    let broker = &app.app.state().broker;
    let failed = broker.announced("evt_1", session, START).await;
    assert!(matches!(failed, Err(BrokerError::NotRecorded(_))));
}

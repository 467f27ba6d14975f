//! GPT-Live sessions that nobody can attach to, or that another run takes over (rows LV).

use std::sync::Arc;

use serde_json::json;
use token_broker::upstream::{Complaint, UpstreamError};

use super::leash::is_over_at_the_next_join;
use super::live::{LIVE, app, closed};
use super::live_money::{costs, lasted, opened};
use super::{Opened, channel, ended, offer, pass};
use crate::kit::in_process::TestApp;
use crate::kit::waiting::{SOON, eventually};

/// Personas that know nothing of GPT-Live.
const OTHERS: &str = "tests/api/calls/personas.toml";

#[tokio::test]
async fn lv9_a_session_that_cannot_be_attached_to_within_five_seconds_is_hung_up() {
    let app = app(&[]);
    for _ in 0..60 {
        app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    }
    let page = tokio::spawn(offer(&app).send());
    pass(&app, 4).await;
    assert!(!page.is_finished());
    eventually("the answer", SOON, async || {
        pass(&app, 1).await;
        page.is_finished()
    })
    .await;
    page.await.unwrap().is(502, "upstream_invalid");
    assert_eq!(app.calls.hung_up().len(), 1);
    assert_eq!(ended(&app).await["cost"], "0.0125");
}

#[tokio::test]
async fn lv20_a_lost_side_channel_is_attached_again_and_an_unknown_session_is_over() {
    let app = app(&[]);
    let call = Opened::by(&app).await;
    app.calls.drop_channels();
    eventually("another side channel", SOON, async || {
        pass(&app, 1).await;
        app.calls.channels().len() == 1
    })
    .await;
    assert_eq!(call.look(&app).await["state"], "open");
    let unknown = Complaint {
        code: "session_id_not_found".into(),
        ..404.into()
    };
    app.calls.fail_join(UpstreamError::UnknownCall(unknown));
    is_over_at_the_next_join(&app, &call).await;
}

#[tokio::test]
async fn lv20_a_session_that_nobody_sees_for_30_s_is_hung_up_and_billed_until_then() {
    let app = app(&[("call.idle_timeout", "300s")]);
    let call = Opened::by(&app).await;
    pass(&app, 60).await;
    for _ in 0..40 {
        app.calls.fail_join(UpstreamError::Broken(503.into()));
    }
    app.calls.drop_channels();
    pass(&app, 28).await;
    assert_eq!(call.look(&app).await["state"], "open");
    pass(&app, 4).await;
    assert_eq!(call.reason(&app).await, "blind");
    assert_eq!(app.calls.hung_up().len(), 1);
    let ended = ended(&app).await;
    let cost = ended["cost"].as_str().unwrap().parse::<f64>().unwrap();
    // Ninety seconds are 0.075.
    assert!((0.073..0.08).contains(&cost), "{ended}");
}

#[tokio::test]
async fn lv22_a_call_whose_persona_is_gone_or_has_moved_is_hung_up_and_its_voice_is_billed_as_before()
 {
    // One persona is missing in the other file, and one speaks with the Realtime API there.
    for (persona, personas) in [
        ("plain", OTHERS),
        ("default", OTHERS),
        ("plain", "tests/api/calls/live.toml"),
    ] {
        let usual = [&LIVE[..], &[("call.idle_timeout", "30m")]].concat();
        let first = TestApp::with(&usual);
        let call = opened(&first, persona).await;
        pass(&first, 60).await;
        let (ledger, clock) = (Arc::clone(&first.ledger), Arc::clone(&first.clock));
        let settings = [&usual[..], &[("personas.file", personas)]].concat();
        let second = TestApp::over(ledger, clock, ("", &settings));
        second.calls.remember(first.calls.orders().remove(0));
        second.app.state().broker.tend_calls().await;
        if personas == OTHERS {
            assert_eq!(call.reason(&second).await, "shutdown");
            assert_eq!(second.calls.hung_up().len(), 1);
            costs(&second, &call, "0.05").await;
            assert!(second.events("zero_price").is_empty());
        } else {
            assert_eq!(call.look(&second).await["state"], "open");
        }
    }
}

#[tokio::test]
async fn lv22_a_call_that_another_run_takes_over_is_billed_once() {
    let settings = [&LIVE[..], &[("call.idle_timeout", "30m")]].concat();
    let first = TestApp::with(&settings);
    let call = opened(&first, "default").await;
    channel(&first).say(&lasted(&json!({ "seconds": 31 })));
    costs(&first, &call, "0.025").await;
    let (ledger, clock) = (Arc::clone(&first.ledger), Arc::clone(&first.clock));
    let second = TestApp::over(ledger, clock, ("", &settings));
    second.calls.remember(first.calls.orders().remove(0));
    second.app.state().broker.tend_calls().await;
    eventually("the side channel", SOON, async || {
        !second.calls.channels().is_empty()
    })
    .await;
    let side = channel(&second);
    assert_eq!(side.call, channel(&first).call);
    pass(&second, 30).await;
    // The report is of the whole session.
    side.say(&lasted(&json!({ "seconds": 61 })));
    costs(&second, &call, "0.05").await;
    side.say(&closed("expired", &json!({ "seconds": 61 })));
    let ended = ended(&second).await;
    assert_eq!(ended["estimated_cost"], "0.00");
    assert_eq!(ended["cost"], "0.050833334");
}

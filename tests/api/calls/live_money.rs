//! Money of GPT-Live calls: time by two rates, the backend by its tokens, and the clock between reports (rows LV).

use serde_json::{Value, json};
use token_broker::domain::{CallState, Money};
use token_broker::upstream::UpstreamError;

use super::live::{app, closed, closes};
use super::{OFFER, Opened, channel, ended, offer, pass};
use crate::kit::answer::Answer;
use crate::kit::in_process::TestApp;
use crate::kit::waiting::{SOON, eventually};

pub(super) async fn opened(app: &TestApp, persona: &str) -> Opened {
    let path = format!("/calls?persona={persona}");
    let answer = app.post(&path).body("application/sdp", OFFER).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    Opened::of(&answer)
}

pub(super) fn lasted(usage: &Value) -> Value {
    json!({ "type": "session.usage.updated", "event_id": "e1", "usage": usage })
}

/// A response of the backend: 900 tokens read, 500 of them from the cache, 40 written.
fn worked(kind: &str, id: &str, tier: &str) -> Value {
    let usage = json!({
        "input_tokens": 900, "input_tokens_details": { "cached_tokens": 500 },
        "output_tokens": 40, "output_tokens_details": { "reasoning_tokens": 10 }, "total_tokens": 940,
    });
    let response = json!({
        "id": id, "model": "m-small-2026-03-01", "service_tier": tier, "output": [], "instructions": null, "usage": usage,
    });
    json!({
        "type": "response.event", "event_id": "e2", "delegation_id": "d1",
        "event": { "type": kind, "response": response },
    })
}

/// Lets the watch hear what was said before the clock is turned.
async fn heard() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until the call costs so much.
pub(super) async fn costs(app: &TestApp, call: &Opened, cost: &str) {
    eventually(cost, SOON, async || call.look(app).await["cost"] == cost).await;
}

#[tokio::test]
async fn lv13_reports_replace_each_other_and_15_s_are_the_least() {
    let app = app(&[]);
    let call = opened(&app, "default").await;
    assert_eq!(
        call.look(&app).await["cost"],
        "0.0125",
        "booked with its creation"
    );
    let side = channel(&app);
    for seconds in [12, 15, 15] {
        side.say(&lasted(&json!({ "seconds": seconds })));
    }
    side.say(&closed("remote_hangup", &json!({ "seconds": 14.5 })));
    let ended = ended(&app).await;
    assert_eq!(ended["cost"], "0.0125");
    assert_eq!(ended["estimated_cost"], "0.00");
    assert_eq!(ended["turns"], 0);
}

#[tokio::test]
async fn a_last_report_below_the_one_before_is_the_one_that_counts() {
    let app = app(&[]);
    let call = opened(&app, "default").await;
    let side = channel(&app);
    side.say(&lasted(&json!({ "seconds": 61 })));
    // The last second of a report waits for the next one.
    costs(&app, &call, "0.05").await;
    side.say(&closed("remote_hangup", &json!({ "seconds": 60.6 })));
    let ended = ended(&app).await;
    assert_eq!(ended["cost"], "0.0505");
    assert_eq!(ended["estimated_cost"], "0.00");
}

#[tokio::test]
async fn lv14_without_any_report_the_clock_ends_a_call_at_its_money() {
    let app = app(&[
        ("call.max_money", "0.10"),
        ("call.idle_timeout", "30m"),
        ("call.max_duration", "30m"),
    ]);
    let call = opened(&app, "default").await;
    pass(&app, 119).await;
    assert_eq!(call.look(&app).await["state"], "open");
    // Two minutes cost as much. The clock is looked at every ten seconds.
    pass(&app, 12).await;
    closes(&app).await;
    pass(&app, 16).await;
    assert_eq!(call.reason(&app).await, "money_limit");
    let ended = ended(&app).await;
    let cost = ended["cost"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((0.10..0.127).contains(&cost), "{ended}");
}

#[tokio::test]
async fn lv14_a_budget_is_held_ahead_of_the_clock_and_a_call_that_gets_no_more_is_warned_and_ends()
{
    let app = app(&[("money.per_day", "0.12"), ("call.idle_timeout", "30m")]);
    let call = opened(&app, "default").await;
    let id = channel(&app).call.id;
    let row = async || app.ledger.call(&id).await.unwrap().unwrap();
    assert_eq!(
        row().await.held.money,
        Money::from_nanos(50_000_000),
        "a minute"
    );
    pass(&app, 31).await;
    eventually("more is held", SOON, async || {
        row().await.held.money == Money::from_nanos(75_000_000)
    })
    .await;
    pass(&app, 60).await;
    eventually("the warning", SOON, async || row().await.is_warned).await;
    pass(&app, 12).await;
    closes(&app).await;
    pass(&app, 16).await;
    assert_eq!(call.reason(&app).await, "money_limit");
    let row = row().await;
    assert!(row.used.cost <= Money::from_nanos(120_000_000), "{row:?}");
}

#[tokio::test]
async fn lv15_standby_has_a_price_of_its_own_by_report_and_by_the_clock() {
    for is_reported in [true, false] {
        let app = app(&[("call.idle_timeout", "30m")]);
        opened(&app, "backed").await;
        let side = channel(&app);
        pass(&app, 60).await;
        side.say(&json!({ "type": "session.paused", "event_id": "e1" }));
        heard().await;
        pass(&app, 60).await;
        let mut usage = json!({ "seconds": 120 });
        if is_reported {
            usage["active_seconds"] = 60.into();
            usage["paused_seconds"] = 60.into();
        }
        side.say(&closed("close_requested", &usage));
        heard().await;
        let ended = ended(&app).await;
        assert_eq!(ended["cost"], "0.07", "{is_reported}");
    }
}

#[tokio::test]
async fn lv16_the_backend_is_billed_once_for_each_response_by_its_tier() {
    let app = app(&[]);
    let call = opened(&app, "backed").await;
    let side = channel(&app);
    side.say(&worked("response.created", "resp_1", "default"));
    for _ in 0..2 {
        side.say(&worked("response.completed", "resp_1", "default"));
    }
    // 400 fresh, 500 cached, 40 written: 0.0004 + 0.00005 + 0.00016.
    costs(&app, &call, "0.01311").await;
    side.say(&worked("response.failed", "resp_2", "priority"));
    costs(&app, &call, "0.01433").await;
    let mut searched = worked("response.incomplete", "resp_3", "priority");
    searched["event"]["response"]["tool_usage"] = json!({ "web_search": { "num_requests": 2 } });
    side.say(&searched);
    costs(&app, &call, "0.03555").await;
    let seen = call.look(&app).await;
    assert_eq!(
        (&seen["turns"], &seen["tokens"]),
        (&json!(0), &json!(3 * 940))
    );
    assert!(app.events("zero_price").is_empty());
    side.say(&worked("response.completed", "resp_4", "flex"));
    eventually("the alarm", SOON, async || {
        !app.events("zero_price").is_empty()
    })
    .await;
}

#[tokio::test]
async fn lv16_work_at_a_tier_without_a_price_ends_a_limited_call() {
    let app = app(&[("call.max_money", "5.00")]);
    let call = opened(&app, "backed").await;
    let side = channel(&app);
    side.say(&worked("response.completed", "resp_1", "flex"));
    closes(&app).await;
    side.say(&closed("close_requested", &json!({ "seconds": 15 })));
    assert_eq!(call.reason(&app).await, "money_limit");
}

fn updated(app: &TestApp, model: &str) -> Value {
    let order = app.calls.orders().pop().unwrap();
    let mut session: Value = serde_json::from_str(order.session.as_json().get()).unwrap();
    session["id"] = channel(app).call.id.as_str().into();
    session["delegation"]["responses"]["model"] = model.into();
    json!({ "type": "session.updated", "event_id": "e3", "session": session })
}

#[tokio::test]
async fn lv17_a_backend_that_the_page_has_chosen_is_put_back_and_the_fourth_ends_the_call() {
    let app = app(&[]);
    let call = opened(&app, "backed").await;
    let side = channel(&app);
    side.say(&updated(&app, "m-small"));
    side.say(&updated(&app, "m-large"));
    eventually("the correction", SOON, async || side.sent().len() == 1).await;
    let correction = side.sent().remove(0);
    let session = correction["session"].as_object().unwrap();
    assert_eq!(session.keys().collect::<Vec<_>>(), ["delegation"]);
    assert_eq!(session["delegation"]["responses"]["model"], "m-small");
    for _ in 0..3 {
        side.say(&updated(&app, "m-large"));
    }
    closes(&app).await;
    side.say(&closed("close_requested", &json!({ "seconds": 15 })));
    assert_eq!(call.reason(&app).await, "persona_violation");
}

#[tokio::test]
async fn lv17_lv20_a_backend_that_a_page_has_chosen_while_nobody_saw_it_is_put_back() {
    let app = app(&[]);
    let call = opened(&app, "watched").await;
    let delegation = |at: usize| {
        let sent = channel(&app).sent();
        assert_eq!(sent.len(), at + 1, "{sent:?}");
        sent[at]["session"]["delegation"]["responses"]["model"].clone()
    };
    assert_eq!(delegation(0), "m-small");
    let theirs = json!({ "type": "responses", "responses": { "model": "m-large" } });
    app.calls.show(json!({ "delegation": theirs }));
    app.calls.drop_channels();
    eventually("another side channel", SOON, async || {
        pass(&app, 1).await;
        let channels = app.calls.channels();
        channels.len() == 1 && !channels[0].sent().is_empty()
    })
    .await;
    assert_eq!(delegation(0), "m-small");
    assert_eq!(call.look(&app).await["state"], "open");
    // What the broker has put back is the model for what comes.
    channel(&app).say(&updated(&app, "m-large"));
    eventually("the correction", SOON, async || {
        channel(&app).sent().len() == 2
    })
    .await;
    assert_eq!(delegation(1), "m-small");
}

#[tokio::test]
async fn lv17_where_a_page_may_choose_its_backend_one_without_a_price_ends_a_limited_call() {
    for (limit, ends) in [("5.00", true), ("", false)] {
        let app = app(&[("call.max_money", limit)]);
        let call = opened(&app, "open").await;
        let side = channel(&app);
        side.say(&updated(&app, "m-large"));
        side.say(&updated(&app, "m-of-tomorrow"));
        pass(&app, 1).await;
        if ends {
            closes(&app).await;
            side.say(&closed("close_requested", &json!({ "seconds": 15 })));
            assert_eq!(call.reason(&app).await, "money_limit");
        } else {
            assert_eq!(call.look(&app).await["state"], "open");
        }
    }
}

#[tokio::test]
async fn lv4_whoever_has_less_money_than_a_minute_and_one_answer_of_the_backend_gets_402() {
    // A minute costs 0.05, and an answer of the backend 0.00452: 520 tokens of instructions, and 1000 of output.
    for (persona, less, enough) in [("default", "0.049", "0.05"), ("backed", "0.053", "0.06")] {
        let call = async |limit: &str| -> (Answer, usize) {
            let app = app(&[("money.per_day", limit)]);
            let path = format!("/calls?persona={persona}");
            let answer = app.post(&path).body("application/sdp", OFFER).send().await;
            (answer, app.calls.orders().len())
        };
        let (refused, orders) = call(less).await;
        refused.is(402, "money_exhausted");
        assert_eq!(orders, 0);
        assert_eq!(call(enough).await.0.status, 201, "{persona}");
    }
}

#[tokio::test]
async fn a_live_model_without_a_price_is_refused_where_money_is_limited() {
    let limited = app(&[("money.per_day", "5.00")]);
    let path = "/calls?persona=unpriced";
    let refused = limited
        .post(path)
        .body("application/sdp", OFFER)
        .send()
        .await;
    refused.is(503, "no_price");
    assert!(limited.calls.orders().is_empty());
    let free = app(&[]);
    opened(&free, "unpriced").await;
    assert!(!free.events("zero_price").is_empty());
}

#[tokio::test]
async fn lv6_of_an_unknown_outcome_one_attempt_is_made_and_15_s_are_booked_as_an_estimate() {
    for error in [
        UpstreamError::Cut("reset".into()),
        UpstreamError::TimedOut,
        UpstreamError::Broken(502.into()),
        UpstreamError::Broken(503.into()),
        UpstreamError::Invalid("it names no session"),
    ] {
        let app = app(&[("money.per_day", "0.06")]);
        app.calls.fail_exchange(error);
        let request = json!({ "transport": { "type": "webrtc", "sdp": OFFER } });
        let refused = app.post("/v1/live/sessions").json(&request).send().await;
        assert!([502, 503, 504].contains(&refused.status), "{refused:?}");
        // OpenAI's SDKs would repeat it twice.
        assert_eq!(refused.header("x-should-retry"), Some("false"));
        assert_eq!(app.calls.orders().len(), 1, "one attempt");
        let calls = app.app.state().broker.calls(None, (0, 10)).await.unwrap();
        assert_eq!(calls[0].state, CallState::Lost);
        assert_eq!(calls[0].used.cost, Money::from_nanos(12_500_000));
        assert_eq!(calls[0].used.estimated, calls[0].used.cost);
        // What is left is less than a call needs, also when the place of the lost one is free again.
        pass(&app, 60).await;
        offer(&app).send().await.is(402, "money_exhausted");
    }
}

#[tokio::test]
async fn lv7_a_session_that_was_refused_costs_nothing() {
    let app = app(&[("money.per_day", "0.06")]);
    app.calls
        .fail_exchange(UpstreamError::SessionLimit(429.into()));
    let request = json!({ "transport": { "type": "webrtc", "sdp": OFFER } });
    let refused = app.post("/v1/live/sessions").json(&request).send().await;
    refused.is(503, "upstream_unavailable");
    assert!(refused.retry_after() >= 1);
    assert_eq!(
        refused.header("x-should-retry"),
        None,
        "worth another attempt"
    );
    let calls = app.app.state().broker.calls(None, (0, 10)).await.unwrap();
    assert_eq!(calls[0].used.cost, Money::ZERO);
    pass(&app, 60).await;
    assert_eq!(offer(&app).send().await.status, 201, "given back");
}

#[tokio::test]
async fn lv6_a_session_that_is_hung_up_at_once_has_cost_and_no_sdk_repeats_it() {
    let app = app(&[("limits.token", "1/60s")]);
    app.calls.fail_join(UpstreamError::RateLimited(429.into()));
    let request = json!({ "transport": { "type": "webrtc", "sdp": OFFER } });
    let ask = async || app.post("/v1/live/sessions").json(&request).send().await;
    let refused = ask().await;
    refused.is(503, "upstream_unavailable");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!(app.calls.hung_up().len(), 1);
    let calls = app.app.state().broker.calls(None, (0, 10)).await.unwrap();
    assert_eq!(calls[0].used.cost, Money::from_nanos(12_500_000));
    ask().await.is(429, "rate_limited");
    assert_eq!(app.calls.orders().len(), 1);
}

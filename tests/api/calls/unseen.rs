//! What nobody saw: estimated when a call is taken over or seen again, counted once, and judged at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use token_broker::upstream::UpstreamError;

use super::leash::{done, named};
use super::spending::{USUAL, app, nanos, row, turns};
use super::{Opened, channel, ended, pass, says};
use crate::kit::in_process::TestApp;
use crate::kit::waiting::{SOON, eventually};

/// A replica that dies claims the calls of `app`, and is not heard of again.
async fn dies(app: &TestApp) {
    let lease = Duration::from_secs(30);
    app.ledger.renew_calls("dead", lease).await.unwrap();
    let claimed = app.ledger.claim_calls("dead").await.unwrap();
    assert_eq!(claimed.len(), 1);
}

/// Another replica over the same records, which takes over what nobody watches.
async fn another(app: &TestApp, settings: &[(&str, &str)]) -> TestApp {
    let (ledger, clock) = (Arc::clone(&app.ledger), Arc::clone(&app.clock));
    let settings = [&USUAL, settings].concat();
    let other = TestApp::over(ledger, clock, ("", &settings));
    other.calls.show(model());
    other.app.state().broker.tend_calls().await;
    other
}

/// What the provider shows of every session.
fn model() -> Value {
    json!({ "model": "gpt-realtime-2.1" })
}

fn created(id: &str) -> Value {
    json!({ "type": "response.created", "response": { "id": id } })
}

/// Loses the side channel of the call for some seconds.
async fn blink(app: &TestApp) {
    app.calls.show(model());
    for _ in 0..3 {
        app.calls.fail_join(UpstreamError::Broken(503.into()));
    }
    app.calls.drop_channels();
    eventually("another side channel", SOON, async || {
        pass(app, 1).await;
        !app.calls.channels().is_empty()
    })
    .await;
}

/// Opens a call, and loses its side channel for some seconds while the model answers.
async fn blink_amid_an_answer(app: &TestApp) {
    Opened::by(app).await;
    let side = named(app);
    side.say(&says("input_audio_buffer.speech_started"));
    side.say(&created("resp_1"));
    pass(app, 1).await;
    drop(side);
    blink(app).await;
}

#[tokio::test]
async fn what_was_said_between_the_death_of_a_replica_and_the_takeover_is_estimated() {
    let one = app("", &[]);
    Opened::by(&one).await;
    named(&one).say(&done("resp_1"));
    let before = turns(&one, 1).await.used;
    dies(&one).await;
    one.clock.advance(Duration::from_secs(40));
    let two = another(&one, &[]).await;
    let used = turns(&two, 2).await.used;
    // Forty seconds of speech after all that was said before, and an answer as long as may be.
    let context = 163;
    let heard = used.usage.fresh.audio - before.usage.fresh.audio;
    assert_eq!(heard, context + 400);
    assert_eq!(used.usage.output.audio - before.usage.output.audio, 100);
    assert_eq!(used.estimated, used.cost - before.cost);
    assert!(two.events("zero_price").is_empty());
    // Whatever the next replica sees is counted as ever.
    named(&two).say(&done("resp_2"));
    let used = turns(&two, 3).await.used;
    assert_eq!(used.estimated, used.cost - before.cost - before.cost);
}

#[tokio::test]
async fn a_call_that_is_taken_over_after_its_deadline_ends_at_once_and_what_nobody_saw_is_estimated()
 {
    let one = app("", &[("call.max_duration", "60s")]);
    Opened::by(&one).await;
    named(&one).say(&done("resp_1"));
    let before = turns(&one, 1).await.used;
    dies(&one).await;
    one.clock.advance(Duration::from_secs(100));
    let two = another(&one, &[]).await;
    let ended = ended(&two).await;
    assert_eq!(ended["reason"], "time_limit");
    assert_eq!(two.calls.hung_up().len(), 1);
    let used = row(&two).await.used;
    assert_eq!(used.turns, 2);
    assert!(used.estimated > nanos(0));
    assert_eq!(used.estimated, used.cost - before.cost);
    assert_eq!(
        ended["cost"],
        used.cost.to_string(),
        "the estimate is in it"
    );
}

#[tokio::test]
async fn the_money_of_a_call_is_judged_when_the_call_is_taken_over() {
    let one = app("", &[]);
    Opened::by(&one).await;
    named(&one).say(&done("resp_1"));
    turns(&one, 1).await;
    dies(&one).await;
    let two = another(&one, &[("call.max_money", "0.01")]).await;
    eventually("the end", SOON, async || !two.calls.hung_up().is_empty()).await;
    let reason = row(&two).await.end_reason.unwrap();
    assert_eq!(reason.as_str(), "money_limit");
}

#[tokio::test]
async fn the_money_of_a_call_is_judged_after_an_estimate() {
    let one = app("", &[("call.max_money", "0.015")]);
    Opened::by(&one).await;
    named(&one).say(&done("resp_1"));
    turns(&one, 1).await;
    assert!(one.calls.hung_up().is_empty());
    one.calls.show(model());
    for _ in 0..3 {
        one.calls.fail_join(UpstreamError::Broken(503.into()));
    }
    one.calls.drop_channels();
    eventually("the end", SOON, async || {
        pass(&one, 1).await;
        !one.calls.hung_up().is_empty()
    })
    .await;
    let reason = row(&one).await.end_reason.unwrap();
    assert_eq!(reason.as_str(), "money_limit");
}

#[tokio::test]
async fn an_answer_whose_end_was_missed_is_estimated_when_the_next_one_begins() {
    let app = app("", &[]);
    blink_amid_an_answer(&app).await;
    assert_eq!(row(&app).await.used.turns, 0, "it may still end");
    named(&app).say(&created("resp_2"));
    let used = turns(&app, 1).await.used;
    assert_eq!(used.cost, used.estimated);
    named(&app).say(&done("resp_2"));
    let both = turns(&app, 2).await.used;
    assert_eq!(both.estimated, used.estimated);
    // Nothing is open any more, so that the next time without a side channel is estimated as ever.
    pass(&app, 11).await;
    blink(&app).await;
    let all = turns(&app, 3).await.used;
    assert!(all.estimated > both.estimated);
}

#[tokio::test]
async fn an_answer_whose_end_comes_after_all_is_counted_as_measured_and_once() {
    let app = app("", &[]);
    blink_amid_an_answer(&app).await;
    channel(&app).say(&done("resp_1"));
    turns(&app, 1).await;
    named(&app).say(&created("resp_2"));
    named(&app).say(&done("resp_2"));
    let used = turns(&app, 2).await.used;
    assert_eq!(used.estimated, nanos(0));
}

/// The estimate of an answer is counted, and then the answer comes: only the first counts, here as in the records.
#[tokio::test]
async fn an_answer_that_was_estimated_already_is_not_counted_again() {
    let app = app("", &[("call.max_money", "0.02")]);
    blink_amid_an_answer(&app).await;
    named(&app).say(&created("resp_2"));
    let estimated = turns(&app, 1).await.used;
    named(&app).say(&done("resp_1"));
    named(&app).say(&done("resp_2"));
    let used = turns(&app, 2).await.used;
    assert_eq!(used.estimated, estimated.estimated);
    pass(&app, 1).await;
    assert!(app.calls.hung_up().is_empty(), "{}", used.cost);
}

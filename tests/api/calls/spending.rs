//! Money of calls while they run: more is held before each answer, and what nobody saw is estimated (rows MO).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use token_broker::domain::{Call, Money, UpstreamCallId};

use super::leash::{done, named};
use super::{Opened, PERSONAS, channel, ended, offer, pass, says};
use crate::kit::calls::Channel;
use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::REQUIRED;
use crate::kit::waiting::{SOON, eventually};

pub const fn nanos(nanos: i64) -> Money {
    Money::from_nanos(nanos)
}

/// The side channels of these tests show another session than the persona's, so that nobody may mind.
pub const USUAL: [(&str, &str); 4] = [
    ("connect.mode", "call"),
    ("personas.file", PERSONAS),
    ("call.idle_timeout", "300s"),
    ("call.persona", "free"),
];

pub fn app(limit: &str, settings: &[(&str, &str)]) -> TestApp {
    TestApp::of(limit, &[&USUAL, settings].concat())
}

/// The row of the first call.
pub async fn row(app: &TestApp) -> Call {
    let id = UpstreamCallId::parse("rtc_u0_test1").unwrap();
    app.ledger.call(&id).await.unwrap().unwrap()
}

pub async fn turns(app: &TestApp, number: u64) -> Call {
    eventually("the answers", SOON, async || {
        row(app).await.used.turns == number
    })
    .await;
    row(app).await
}

/// A call needs 0.027692 dollars. An answer of MO1 costs 0.010296, and its context of 163 tokens of audio raises the need
/// of the next one to 0.032908.
#[tokio::test]
async fn mo13_mo20_more_is_held_before_each_answer_and_a_call_that_gets_none_is_warned_and_ends() {
    let limit = format!("{REQUIRED}[quota.student]\nmoney_per_week = \"0.10\"\n");
    let app = app(&limit, &[]);
    let call = offer(&app).bearer(&student("ana")).send().await;
    assert_eq!(call.status, 201);
    let side = named(&app);
    assert_eq!(row(&app).await.held.money, nanos(27_692_000));
    for answer in 1..=6 {
        side.say(&done(&format!("resp_{answer}")));
        let needed = nanos(answer * 10_296_000 + 32_908_000);
        eventually("more is held", SOON, async || {
            row(&app).await.held.money == needed
        })
        .await;
        assert!(!row(&app).await.is_warned);
    }
    // The seventh answer leaves 0.027928.
    side.say(&done("resp_7"));
    eventually("the warning", SOON, async || row(&app).await.is_warned).await;
    assert!(
        app.calls.hung_up().is_empty(),
        "the last answer may be heard"
    );
    pass(&app, 11).await;
    eventually("the end", SOON, async || !app.calls.hung_up().is_empty()).await;
    drop(side);
    let ended = ended(&app).await;
    assert_eq!(ended["reason"], "money_limit");
    assert_eq!(ended["cost"], "0.072072");
}

#[tokio::test]
async fn a_call_without_money_ends_when_its_last_answer_was_heard_or_the_next_one_begins() {
    for next in ["output_audio_buffer.stopped", "response.created"] {
        let app = app("", &[("money.per_day", "0.04")]);
        let call = Opened::by(&app).await;
        let side = named(&app);
        side.say(&done("resp_1"));
        eventually("the warning", SOON, async || row(&app).await.is_warned).await;
        let mut event = says(next);
        event["response"] = json!({ "id": "resp_2" });
        side.say(&event);
        assert_eq!(call.reason(&app).await, "money_limit", "{next}");
        let cancelled = side.sent().into_iter();
        let cancelled = cancelled.filter(|event| event["type"] == "response.cancel");
        assert_eq!(cancelled.count(), usize::from(next == "response.created"));
    }
}

/// An answer that costs as much as one may: it reads all that was said before and a minute of speech, and is as long as may be.
fn longest(id: &str, answer: u64) -> Value {
    let audio = answer * 700 - 100;
    let mut done = done(id);
    done["response"]["usage"] = json!({
        "total_tokens": 523 + audio + 100, "input_tokens": 523 + audio, "output_tokens": 100,
        "input_token_details": { "text_tokens": 523, "audio_tokens": audio },
        "output_token_details": { "text_tokens": 0, "audio_tokens": 100 },
    });
    done
}

/// The bound of issue 12: the answers that the model worked on when the money was used up, and what a time without a side
/// channel can spend.
#[tokio::test]
async fn an_overshoot_is_at_most_the_answers_in_progress_and_what_nobody_saw() {
    let limit = nanos(500_000_000);
    let app = app("", &[("money.per_day", "0.50")]);
    Opened::by(&app).await;
    let side = named(&app);
    let mut answer = 0;
    while app.calls.hung_up().is_empty() {
        answer += 1;
        let (one, two) = (format!("a_{answer}"), format!("b_{answer}"));
        for id in [&one, &two] {
            side.say(&json!({ "type": "response.created", "response": { "id": id } }));
        }
        for id in [&one, &two] {
            side.say(&longest(id, answer));
        }
        pass(&app, 2).await;
        assert!(answer < 100, "the call does not end");
    }
    let next = |answer: i64| nanos(523 * 4_000 + (answer * 700 - 100) * 32_000 + 100 * 64_000);
    let last = next(answer.cast_signed());
    // Half a minute of speech is read and answered; an answer has 100 tokens at most.
    let blind = last + nanos(300 * 32_000);
    eventually("the settlement", SOON, async || {
        row(&app).await.state.as_str() == "ended"
    })
    .await;
    let spent = row(&app).await.used.cost;
    println!("spent under a limit of ${limit}: ${spent}, where one answer costs ${last}");
    assert!(spent > limit - last - last, "{spent}: the money is used");
    assert!(spent <= limit + last + last + blind, "{spent}");
    assert!(spent <= limit + last, "{spent}: one answer was not covered");
}

/// The other replica knows the role of the call's owner, what is held, and what the call has read at most.
#[tokio::test]
async fn a_replica_that_takes_a_call_over_holds_its_money_against_the_same_budget() {
    let limit = format!("{REQUIRED}[quota.student]\nmoney_per_day = \"0.08\"\n");
    let one = app(&limit, &[]);
    let call = offer(&one).bearer(&student("ana")).send().await;
    assert_eq!(call.status, 201);
    named(&one).say(&done("resp_1"));
    turns(&one, 1).await;
    let (ledger, clock) = (Arc::clone(&one.ledger), Arc::clone(&one.clock));
    let two = TestApp::over(ledger, clock, (&limit, &USUAL));
    two.app.state().broker.tend_calls().await;
    eventually("the other side channel", SOON, async || {
        !two.calls.channels().is_empty()
    })
    .await;
    let side = named(&two);
    for answer in 2..=5 {
        side.say(&done(&format!("resp_{answer}")));
    }
    turns(&two, 5).await;
    pass(&two, 11).await;
    eventually("the end", SOON, async || !two.calls.hung_up().is_empty()).await;
    drop(side);
    assert_eq!(ended(&two).await["reason"], "money_limit");
    assert!(one.calls.hung_up().is_empty());
}

#[tokio::test]
async fn mo06_cancelled_and_incomplete_answers_count_in_full_and_one_without_figures_as_estimated()
{
    let app = app("", &[]);
    Opened::by(&app).await;
    let side = named(&app);
    for (number, status) in [(1, "cancelled"), (2, "incomplete")] {
        let mut event = done(&format!("resp_{number}"));
        event["response"]["status"] = status.into();
        side.say(&event);
        let row = turns(&app, number).await;
        assert_eq!(
            row.used.cost,
            nanos(10_296_000 * number.cast_signed()),
            "{status}"
        );
    }
    side.say(&json!({ "type": "input_audio_buffer.speech_started", "audio_start_ms": 1_000 }));
    side.say(&json!({ "type": "input_audio_buffer.speech_stopped", "audio_end_ms": 6_000 }));
    let mut failed = done("resp_3");
    failed["response"]["status"] = "failed".into();
    failed["response"]["usage"] = Value::Null;
    side.say(&failed);
    // The context that was reserved, 523 tokens of text and 163 of audio, and 50 of speech.
    let row = turns(&app, 3).await;
    let estimate = 523 * 4_000 + (163 + 50) * 32_000;
    assert_eq!(row.used.cost, nanos(2 * 10_296_000 + estimate));
    assert_eq!(row.used.estimated, nanos(estimate));
}

#[tokio::test]
async fn an_answer_whose_end_nobody_saw_is_estimated_at_the_end() {
    let app = app("", &[]);
    let call = Opened::by(&app).await;
    let side = named(&app);
    side.say(&json!({ "type": "response.created", "response": { "id": "resp_1" } }));
    pass(&app, 3).await;
    let hang_up = format!("{}/hangup", call.path);
    app.post(&hang_up).bearer(&call.ticket).send().await;
    drop(side);
    // The last words are waited for.
    pass(&app, 3).await;
    let row = turns(&app, 1).await;
    // Two seconds of an answer are 40 tokens at least, and an answer has 100 at most.
    assert_eq!(row.used.usage.fresh.text, 523);
    let spoken = row.used.usage.output.audio;
    assert!((40..=100).contains(&spoken), "{spoken}");
}

#[tokio::test]
async fn what_may_have_been_said_while_nobody_saw_is_estimated() {
    let app = app("", &[]);
    Opened::by(&app).await;
    named(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 1).await;
    for _ in 0..3 {
        let broken = token_broker::upstream::UpstreamError::Broken(503.into());
        app.calls.fail_join(broken);
    }
    app.calls.drop_channels();
    eventually("another side channel", SOON, async || {
        pass(&app, 1).await;
        !app.calls.channels().is_empty()
    })
    .await;
    let row = turns(&app, 1).await;
    // The waits are 1, 2 and 4 seconds.
    let heard = row.used.usage.fresh.audio;
    assert!((70..=100).contains(&heard), "{heard}");
    assert_eq!(
        row.used.usage.output.audio, 100,
        "as long as an answer may be"
    );
    channel(&app).say(&done("resp_1"));
    turns(&app, 2).await;
    app.clock.advance(Duration::from_secs(1));
}

/// Says an answer with these figures in place of its own.
fn with(id: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut event = done(id);
    change(&mut event["response"]["usage"]);
    event
}

#[tokio::test]
async fn mo09_use_that_costs_nothing_raises_an_alarm() {
    let app = app("", &[]);
    Opened::by(&app).await;
    let side = channel(&app);
    let mut session = json!({ "type": "realtime", "id": "sess_u0_test1" });
    session["model"] = "gpt-realtime-of-tomorrow".into();
    side.say(&json!({ "type": "session.updated", "session": session }));
    side.say(&done("resp_1"));
    assert_eq!(turns(&app, 1).await.used.cost, Money::ZERO);
    let events = app.events("zero_price");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["details"]["model"], "gpt-realtime-of-tomorrow");
}

#[tokio::test]
async fn mo10_figures_that_cannot_be_right_raise_an_alarm_and_count_as_the_larger_reading() {
    let app = app("", &[]);
    Opened::by(&app).await;
    let side = named(&app);
    // Ten tokens of no kind more are ten of audio.
    side.say(&with("resp_1", |usage| usage["output_tokens"] = 174.into()));
    let cost = turns(&app, 1).await.used.cost;
    assert_eq!(cost, nanos(10_296_000 + 10 * 64_000));
    assert_eq!(app.events("odd_usage").len(), 1);
    for (answer, wrong) in [(2, json!(-1)), (3, json!("41"))] {
        let id = format!("resp_{answer}");
        side.say(&with(&id, |usage| usage["input_tokens"] = wrong));
        turns(&app, answer).await;
        assert_eq!(
            app.events("odd_usage").len(),
            usize::try_from(answer).unwrap()
        );
    }
    let reads = 523 * 4_000 + (27 + 146) * 32_000;
    assert_eq!(row(&app).await.used.cost, cost + nanos(2 * reads));
    side.say(&with("resp_4", |usage| usage["scent_tokens"] = 7.into()));
    turns(&app, 4).await;
    assert_eq!(
        app.events("odd_usage").len(),
        3,
        "unknown kinds are ignored"
    );
}

const UNPRICED: &str = "whisper-of-tomorrow";

/// What a session shows when the page has chosen this model to transcribe.
fn transcribed_by(model: &str) -> Value {
    json!({ "input": { "transcription": { "model": model, "language": null } } })
}

/// The provider says that the page has chosen this model to transcribe.
fn transcribes(model: &str) -> Value {
    let audio = transcribed_by(model);
    json!({ "type": "session.updated", "session": { "id": "sess_u0_test1", "audio": audio } })
}

/// What the broker has put back of transcriptions.
fn put_back(side: &Channel) -> Vec<Value> {
    let sent = side.sent().into_iter();
    let inputs = sent.map(|event| event["session"]["audio"]["input"].clone());
    inputs.filter(|input| !input.is_null()).collect()
}

#[tokio::test]
async fn a_transcription_without_a_price_is_put_back_where_money_is_limited_and_the_fourth_ends_the_call()
 {
    let free = app("", &[]);
    Opened::by(&free).await;
    let side = channel(&free);
    side.say(&transcribes(UNPRICED));
    pass(&free, 1).await;
    assert!(put_back(&side).is_empty(), "money is not limited");

    let limited = app("", &[("money.per_day", "5.00")]);
    let call = Opened::by(&limited).await;
    let side = channel(&limited);
    side.say(&transcribes("gpt-4o-mini-transcribe"));
    side.say(&transcribes(UNPRICED));
    eventually("the correction", SOON, async || !put_back(&side).is_empty()).await;
    assert_eq!(put_back(&side), [json!({ "transcription": null })]);
    for _ in 0..3 {
        side.say(&transcribes(UNPRICED));
    }
    assert_eq!(call.reason(&limited).await, "persona_violation");
}

#[tokio::test]
async fn a_transcription_without_a_price_that_was_chosen_while_nobody_saw_is_put_back_too() {
    let app = app("", &[("money.per_day", "5.00")]);
    Opened::by(&app).await;
    channel(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 1).await;
    app.calls.show(json!({ "audio": transcribed_by(UNPRICED) }));
    app.calls.drop_channels();
    eventually("the correction", SOON, async || {
        pass(&app, 1).await;
        let channels = app.calls.channels();
        channels
            .last()
            .is_some_and(|side| !put_back(side).is_empty())
    })
    .await;
}

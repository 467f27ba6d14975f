//! Offers that are exchanged for answers, and everything that can go wrong with one.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::ManualClock;
use token_broker::domain::{KeyFingerprint, SafetyKey};
use token_broker::metrics::Vitals;
use token_broker::upstream::openai::OpenAi;
use token_broker::upstream::{HungUp, Kind, NotBegun, Payer, Upstream, UpstreamError};

use super::{DEADLINE, Door, OFFER, settings_for};
use crate::kit::calls::ScriptedCalls;
use crate::kit::provider::KEY;
use crate::kit::waiting::until;

#[tokio::test]
async fn ca1_the_offer_arrives_byte_for_byte_with_the_session_and_the_answer_comes_back() {
    let door = Door::open().await;
    let begun = door.exchange().await.unwrap();
    assert_eq!(begun.call.key, KeyFingerprint::of(KEY));
    let id = begun.call.id.clone();
    let answer = begun.answer().await.unwrap();
    assert!(answer.starts_with("v=0\r\n") && answer.contains("\r\nm=audio 9 "));

    let call = door.simulator.calls().get(id.as_str()).unwrap();
    assert_eq!(call.offer, OFFER);
    let request = door.simulator.calls().requests().pop().unwrap();
    let header = |name: &str| {
        let value = request.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let kind = header("content-type").unwrap();
    assert!(kind.starts_with("multipart/form-data; boundary="), "{kind}");
    assert_eq!(header("openai-safety-identifier").unwrap().len(), 43);
    assert_eq!(header("openai-beta"), None);
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    assert!(body.contains(door.order.session.as_json().get()));
    assert_eq!(body.matches("name=\"").count(), 2);
    assert!(!format!("{:?}", door.call_order()).contains("192.0.2"));
}

/// What becomes of an exchange that fails so, and whether a call certainly was not created.
const FAILURES: [(&str, &str, Kind, bool); 14] = [
    ("calls+401", "refused", Kind::Unavailable, true),
    ("calls+no-model", "refused", Kind::Unavailable, true),
    ("calls+400", "refused", Kind::Invalid, true),
    ("calls+429:7", "rate_limited", Kind::Unavailable, true),
    ("calls+quota", "quota_exhausted", Kind::Unavailable, true),
    ("calls+500", "broken", Kind::Invalid, true),
    ("calls+503", "broken", Kind::Unavailable, true),
    ("calls+502", "broken", Kind::Unavailable, false),
    (
        "calls+redirect:/v1/realtime/calls/rtc_u0_A1",
        "invalid",
        Kind::Invalid,
        false,
    ),
    ("calls+no-location", "invalid", Kind::Invalid, false),
    ("calls+location:/evil/../x", "invalid", Kind::Invalid, false),
    ("calls+not-created", "invalid", Kind::Invalid, false),
    ("calls+disconnect", "cut", Kind::Unavailable, false),
    ("calls+html", "invalid", Kind::Invalid, false),
];

#[tokio::test]
async fn ca9_each_failure_has_its_meaning_and_no_exchange_is_repeated() {
    for (fault, code, kind, is_definite) in FAILURES {
        let door = Door::open().await;
        door.simulator.plan(fault.parse().unwrap());
        let failed = door.exchange().await.unwrap_err();
        let facts = failed.error.facts_of_call();
        let meaning = (facts.code, facts.kind, facts.is_definite);
        assert_eq!(meaning, (code, kind, is_definite), "{fault}");
        assert!(failed.late.is_none() && !format!("{failed:?}").contains(KEY));
        assert_eq!(door.simulator.calls().requests().len(), 1, "{fault}");
        if fault.ends_with(":7") {
            assert_eq!(facts.wait, Duration::from_secs(7));
        }
    }
}

#[tokio::test]
async fn ca9_an_answer_that_cannot_be_read_leaves_a_call_whose_id_is_known() {
    for (fault, code) in [
        ("empty-answer", "invalid"),
        ("huge-answer", "invalid"),
        ("cut-answer", "unreachable"),
    ] {
        let door = Door::open().await;
        door.simulator
            .plan(format!("calls+{fault}").parse().unwrap());
        let begun = door.exchange().await.unwrap();
        let call = begun.call.clone();
        assert_eq!(
            begun.answer().await.unwrap_err().facts().code,
            code,
            "{fault}"
        );
        assert_eq!(door.simulator.calls().open(), 1);
        assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
        assert_eq!(door.simulator.calls().open(), 0);
    }
}

#[tokio::test]
async fn the_deadline_of_an_exchange_holds_for_its_answer_too() {
    let door = Door::open().await;
    door.simulator.plan("calls+hang-answer".parse().unwrap());
    let begun = door.exchange().await.unwrap();
    let turn = async {
        door.clock.awaited(DEADLINE).await;
        door.clock.advance(DEADLINE);
    };
    let (answer, ()) = tokio::join!(begun.answer(), turn);
    assert!(matches!(answer, Err(UpstreamError::TimedOut)));
}

#[tokio::test]
async fn ca7_a_call_that_is_created_after_the_deadline_is_still_learnt_of() {
    let door = Door::with(&[("upstream.timeout", "10s")]).await;
    door.simulator.plan("calls+1xslow:300ms".parse().unwrap());
    let late = late(&door).await;
    let begun = late.begun().await.unwrap();
    assert_eq!(
        door.upstream.hang_up(&begun.call).await.unwrap(),
        HungUp::Ended
    );
    assert_eq!(door.simulator.calls().open(), 0);
}

#[tokio::test]
async fn ca7_an_exchange_that_has_ended_by_itself_is_not_waited_for() {
    let door = Door::open().await;
    let calls = ScriptedCalls::default();
    calls.fail_exchange(UpstreamError::TimedOut);
    let (settings, _) = settings_for(&door.simulator.base_url(), &[]);
    let clock = Arc::<ManualClock>::clone(&door.clock);
    let minter = Arc::new(OpenAi::new(&settings, &SafetyKey::random(), clock).unwrap());
    let vitals = Vitals::new(Arc::<ManualClock>::clone(&door.clock));
    let upstream = Upstream::new(minter, Arc::new(calls), &settings, Arc::new(vitals));
    let turn = upstream
        .turn(door.order.behalf, Payer::default())
        .await
        .unwrap();
    let failed = upstream.exchange(door.call_order(), turn).await;
    assert!(failed.unwrap_err().late.is_none());
}

#[tokio::test]
async fn ca7_nobody_waits_for_a_late_call_longer_than_a_minute() {
    let door = Door::with(&[("upstream.timeout", "10s")]).await;
    door.simulator.plan("calls+hang".parse().unwrap());
    let late = late(&door).await;
    let turn = async {
        door.clock.awaited(Duration::from_secs(50)).await;
        door.clock.advance(Duration::from_secs(50));
    };
    let (begun, ()) = tokio::join!(late.begun(), turn);
    assert!(begun.is_none());
}

/// Exchanges an offer whose deadline passes once the provider has seen it.
async fn late(door: &Door) -> token_broker::upstream::Late {
    let turn = async {
        let seen = || !door.simulator.calls().requests().is_empty();
        until("the provider sees the offer", seen).await;
        door.clock.awaited(Duration::from_secs(10)).await;
        door.clock.advance(Duration::from_secs(10));
    };
    let (begun, ()) = tokio::join!(door.exchange(), turn);
    let NotBegun { error, late } = begun.unwrap_err();
    assert!(matches!(error, UpstreamError::TimedOut));
    late.unwrap()
}

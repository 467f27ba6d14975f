//! What calls may do and may not do, and what holds whatever happens to them.

use proptest::prelude::*;

use super::*;
use crate::domain::{
    KeyFingerprint, Kind, Quota, RequestId, SessionId, SessionKey, UpstreamCallId,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_000 + seconds)
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn dialled() -> Call {
    let caller = Caller::at([203, 0, 113, 7].into(), RequestId::random());
    let intent = Intent {
        id: EntryId::new(at(0)),
        at: at(0),
        kind: Kind::Call,
        account: None,
        role: None,
        persona: PersonaName::parse("default").unwrap(),
        network: caller.neighbourhood(),
        origin: None,
        session: SessionKey::of(&SessionId::random()),
        request_id: RequestId::random(),
        quota: Quota::default(),
    };
    let dial = Dial {
        caller: Arc::new(caller),
        idempotency: None,
        ticket: None,
        uses: 0,
        replica: "one".into(),
        gives_up: seconds(25),
        want: Amount::default(),
        budgets: Budgets::default(),
        kin: None,
    };
    Call::dialled(&intent, &dial, at(0))
}

fn named() -> CallStep {
    CallStep::Named(UpstreamCall {
        id: UpstreamCallId::parse("rtc_u0_abc").unwrap(),
        key: KeyFingerprint::of("key"),
    })
}

/// The call after these steps of its watcher, all at `now`.
fn after(call: &Call, now: Timestamp, steps: &[CallStep]) -> Call {
    steps.iter().fold(call.clone(), |call, step| {
        let change = step.clone().by(call.epoch);
        call.apply(&change, now)
            .unwrap_or_else(|| panic!("{step:?} of {call:?}"))
    })
}

fn opened() -> Call {
    after(
        &dialled(),
        at(1),
        &[named(), CallStep::Opened(seconds(600))],
    )
}

#[test]
fn a_call_is_opened_once_it_has_an_id_and_not_before() {
    let open = CallStep::Opened(seconds(600)).by(0);
    assert_eq!(dialled().apply(&open, at(1)), None);
    let call = opened();
    assert_eq!((call.state, call.deadline_at), (CallState::Open, at(601)));
    assert_eq!(call.seconds_left(at(600)), 1);
    assert_eq!(call.apply(&open, at(2)), None, "twice");
    let named_again = named().by_anybody();
    assert_eq!(call.apply(&named_again, at(2)), None);
}

#[test]
fn the_first_reason_stays() {
    let ending = after(&opened(), at(9), &[CallStep::End(EndReason::Idle)]);
    let other = CallStep::End(EndReason::Operator).by_anybody();
    assert_eq!(ending.apply(&other, at(10)), None);
    let over = after(&ending, at(10), &[CallStep::Over(EndReason::Provider)]);
    assert_eq!(
        (over.state, over.end_reason),
        (CallState::Ended, Some(EndReason::Idle))
    );
}

#[test]
fn whoever_watched_a_call_before_changes_it_no_more_and_anybody_may_end_it() {
    let call = opened().claimed("two", at(40));
    assert_eq!((call.epoch, &*call.replica), (1, "two"));
    let idle = CallStep::End(EndReason::Idle);
    assert_eq!(call.apply(&idle.clone().by(0), at(41)), None);
    assert_eq!(call.apply(&CallStep::Joined.by(0), at(41)), None);
    assert!(call.apply(&idle.clone().by(1), at(41)).is_some());
    assert!(call.apply(&idle.by_anybody(), at(41)).is_some());
}

#[test]
fn a_failed_hang_up_is_repeated_after_1_5_10_and_30_seconds_and_then_each_minute_for_an_hour() {
    let mut call = after(&opened(), at(100), &[CallStep::End(EndReason::TimeLimit)]);
    let mut now = at(100);
    let mut waits = Vec::new();
    while call.state == CallState::Ending {
        call = after(&call, now, &[CallStep::HangUpFailed]);
        if let Some(due) = call.hang_up_due {
            waits.push(due.since(now).as_secs());
            now = due;
        }
    }
    assert_eq!(waits[..6], [1, 5, 10, 30, 60, 60]);
    assert!(waits[6..].iter().all(|wait| *wait == 60));
    assert_eq!(call.state, CallState::Ended);
    assert!(now >= at(3_700) && now <= at(3_761), "{now:?}");
    assert_eq!(call.end_reason, Some(EndReason::TimeLimit));
}

#[test]
fn while_somebody_tries_to_hang_up_nobody_else_does() {
    let ending = after(&opened(), at(10), &[CallStep::End(EndReason::HungUp)]);
    assert!(!ending.is_claimable(true, at(24)));
    assert!(ending.is_claimable(true, at(25)), "whoever tried is gone");
    let taken = ending.claimed("two", at(25));
    assert!(!taken.is_claimable(true, at(39)));
    let failed = after(&taken, at(26), &[CallStep::HangUpFailed]);
    assert!(failed.is_claimable(true, at(27)));
}

#[test]
fn whoever_closes_a_live_session_has_time_for_its_last_report_and_a_hang_up() {
    let mut call = opened();
    let upstream = call.upstream.as_mut().unwrap();
    upstream.id = UpstreamCallId::of_live("live_u1_abc").unwrap();
    let ending = after(&call, at(10), &[CallStep::End(EndReason::HungUp)]);
    assert!(!ending.is_claimable(true, at(39)));
    assert!(ending.is_claimable(true, at(40)), "whoever tried is gone");
}

#[test]
fn a_call_is_taken_over_when_its_lease_has_run_out_or_its_watcher_missed_the_deadline() {
    let call = opened();
    assert!(!call.is_claimable(true, at(29)));
    assert!(call.is_claimable(false, at(29)));
    assert!(!call.is_claimable(true, at(615)));
    assert!(call.is_claimable(true, at(616)));
    let over = after(&call, at(9), &[CallStep::Over(EndReason::Provider)]);
    assert!(!over.is_claimable(false, at(99_999)));
}

#[test]
fn a_hang_up_that_somebody_else_has_to_make_is_due_at_once() {
    let call = after(&opened(), at(9), &[CallStep::Disown(EndReason::LoggedOut)]);
    assert!(call.is_claimable(true, at(9)));
    let early = after(&dialled(), at(1), &[CallStep::Disown(EndReason::LoggedOut)]);
    assert!(!early.is_claimable(true, at(9)), "there is no id yet");
}

#[test]
fn a_call_that_is_given_up_while_it_is_dialled_is_hung_up_as_soon_as_it_has_an_id() {
    let gone = after(&dialled(), at(2), &[CallStep::End(EndReason::HungUp)]);
    assert_eq!(gone.hang_up_due, None);
    let named = after(&gone, at(3), &[named()]);
    assert_eq!(named.state, CallState::Ending);
    assert!(named.hang_up_due.is_some());
    assert_eq!(
        named.apply(&CallStep::Opened(seconds(9)).by(0), at(4)),
        None
    );
}

#[test]
fn the_place_of_a_lost_call_is_free_after_its_time_and_a_late_id_is_hung_up() {
    let lost = after(&dialled(), at(10), &[CallStep::Lost(seconds(15))]);
    assert!(lost.takes_a_place(at(24)));
    assert!(!lost.takes_a_place(at(25)));
    let late = lost.apply(&named().by_anybody(), at(60)).unwrap();
    assert_eq!(late.state, CallState::Ending);
    assert!(late.takes_a_place(at(60)) && late.hang_up_due.is_some());
    let lost_with_id = CallStep::Lost(seconds(15)).by_anybody();
    assert_eq!(opened().apply(&lost_with_id, at(9)), None);
}

#[test]
fn the_seconds_of_a_call_run_from_the_first_sign_of_life_to_the_end_of_the_upstream_call() {
    let call = after(&opened(), at(5), &[CallStep::Joined]);
    let ending = after(&call, at(20), &[CallStep::End(EndReason::HungUp)]);
    assert_eq!(ending.used.seconds, 0);
    let end = at(22).plus(Duration::from_millis(1));
    let over = after(&ending, end, &[CallStep::Over(EndReason::Provider)]);
    assert_eq!(over.used.seconds, 18);
    let never = after(&opened(), at(20), &[CallStep::Over(EndReason::NotJoined)]);
    assert_eq!(never.used.seconds, 0);
}

fn step() -> impl Strategy<Value = CallStep> {
    let time = (0_u64..900).prop_map(seconds);
    let reason = prop::sample::select(EndReason::ALL.to_vec());
    prop_oneof![
        Just(named()),
        Just(CallStep::Joined),
        Just(CallStep::Warned),
        Just(CallStep::HangUpFailed),
        time.clone().prop_map(CallStep::Opened),
        time.clone().prop_map(CallStep::Shortened),
        time.prop_map(CallStep::Lost),
        reason.clone().prop_map(CallStep::End),
        reason.clone().prop_map(CallStep::Disown),
        reason.prop_map(CallStep::Over),
    ]
}

/// What a page may see of a call.
fn seen(call: &Call) -> impl PartialEq + std::fmt::Debug {
    let end = (call.state, call.end_reason, call.is_warned);
    let deadline = (call.state == CallState::Open).then_some(call.deadline_at);
    (end, deadline, call.joined_at, call.used)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_a_call_its_promises_hold(
        steps in prop::collection::vec((0_u64..100, step(), 0_u32..2), 0..30),
    ) {
        let (mut call, mut now) = (dialled(), 0);
        for (gap, step, epoch) in steps {
            now += gap;
            let change = step.by(epoch);
            let Some(next) = call.apply(&change, at(now)) else { continue };
            prop_assert_eq!(epoch, call.epoch, "a stale watcher was heard");
            if call.end_reason.is_some() {
                prop_assert_eq!(next.end_reason, call.end_reason);
            }
            if (call.state, next.state) == (CallState::Open, CallState::Open) {
                prop_assert!(next.deadline_at <= call.deadline_at);
            }
            let grows = u64::from(seen(&next) != seen(&call));
            prop_assert_eq!(next.revision, call.revision + grows, "{:?}", change);
            prop_assert!(next.hang_up_attempts >= call.hang_up_attempts);
            let owes = next.state == CallState::Ending && next.upstream.is_some();
            prop_assert_eq!(next.hang_up_due.is_some(), owes, "{:?}", change);
            prop_assert_eq!(next.ended_at.is_some(), next.state == CallState::Ended);
            call = next;
        }
    }
}

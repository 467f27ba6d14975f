//! What every kind promises of calls: opened with their use within bounds, and changed by one judge.

use std::sync::Arc;
use std::time::Duration;

use token_broker::domain::{
    Amount, Budgets, Call, CallState, CallStep, Caller, Dial, EndReason, Intent, KeyFingerprint,
    Kin, Kind, PersonaName, Quota, UpstreamCall, UpstreamCallId,
};
use token_broker::records::{CallBound, CallBounds, CallQuery, Records, ReserveError, postgres};

use super::kinds::{
    FAILED, START, Subject, TIMEOUT, account, clock, each, mint, minted, postgres_at, settled,
};
use super::sessions::{somebody, verified};
use crate::kit::postgres::empty_database;

pub const MANY: CallBounds = CallBounds {
    owner: 1000,
    anonymous: 1000,
    total: 1000,
};

pub fn use_of(caller: &Caller) -> Intent {
    Intent {
        kind: Kind::Call,
        account: caller.identity.as_ref().map(|known| known.account.clone()),
        ..mint("", START)
    }
}

pub fn dial(caller: &Arc<Caller>) -> Dial {
    Dial {
        caller: Arc::clone(caller),
        idempotency: None,
        ticket: Some("hash-of-a-ticket".into()),
        uses: 0,
        replica: "one".into(),
        gives_up: Duration::from_secs(45),
        want: Amount::default(),
        budgets: Budgets::default(),
        kin: None,
    }
}

async fn open(
    records: &dyn Records,
    caller: &Arc<Caller>,
    bounds: CallBounds,
) -> Result<Call, ReserveError> {
    records
        .open_call(use_of(caller), dial(caller), bounds)
        .await
}

pub fn upstream(name: &str) -> UpstreamCall {
    UpstreamCall {
        id: UpstreamCallId::parse(&format!("rtc_u0_{name}")).unwrap(),
        key: KeyFingerprint::of("key"),
    }
}

pub async fn change(records: &dyn Records, call: &Call, step: CallStep) -> Option<Call> {
    let change = step.by(call.epoch);
    records.change_call(call.entry, change).await.unwrap()
}

/// A call that runs.
pub async fn running(records: &dyn Records, caller: &Arc<Caller>, name: &str) -> Call {
    let call = open(records, caller, MANY).await.unwrap();
    let named = change(records, &call, CallStep::Named(upstream(name))).await;
    let lasts = CallStep::Opened(Duration::from_mins(10));
    change(records, &named.unwrap(), lasts).await.unwrap()
}

pub async fn find(records: &dyn Records, name: &str) -> Option<Call> {
    records.call(&upstream(name).id).await.unwrap()
}

fn full(opened: Result<Call, ReserveError>) -> CallBound {
    match opened {
        Err(ReserveError::TooManyCalls(bound)) => bound,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_found_as_it_was_changed_last() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let (ana, stranger) = (verified(account("ana")), somebody());
        let call = running(records, &ana, "a").await;
        let other = running(records, &stranger, "b").await;
        assert_eq!(call.ticket.as_deref(), Some("hash-of-a-ticket"), "{name}");
        assert_eq!(call.account, Some(account("ana")), "{name}");
        assert_eq!(other.origin, stranger.origin, "{name}");
        let left = call.deadline_at.since(call.opened_at.unwrap());
        assert_eq!(left, Duration::from_mins(10), "{name}");
        let joined = change(records, &call, CallStep::Joined).await.unwrap();
        let warned = change(records, &joined, CallStep::Warned).await.unwrap();
        let ending = change(records, &warned, CallStep::End(EndReason::Idle)).await;
        assert_eq!(find(records, "a").await, ending, "{name}");
        let failed = change(records, &ending.unwrap(), CallStep::HangUpFailed).await;
        assert_eq!(find(records, "a").await, failed, "{name}");
        assert_eq!(find(records, "b").await, Some(other.clone()), "{name}");
        assert_eq!(find(records, "c").await, None, "{name}");
        let over = CallStep::Over(EndReason::Provider);
        let over = change(records, &failed.unwrap(), over).await.unwrap();
        assert_eq!(over.end_reason, Some(EndReason::Idle), "{name}");
        assert_eq!(change(records, &over, CallStep::Warned).await, None);
        let query = |account| CallQuery {
            account,
            ticket: None,
            skip: 0,
            most: 10,
        };
        let all = records.calls(query(None)).await.unwrap();
        assert_eq!(all.len(), 2, "{name}");
        let of_ana = records.calls(query(Some(account("ana")))).await.unwrap();
        assert_eq!(of_ana, [over], "{name}");
        let second = CallQuery {
            skip: 1,
            ..query(None)
        };
        assert_eq!(records.calls(second).await.unwrap(), of_ana, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_call_that_was_written_down_is_not_written_down_again() {
    each(async |Subject { name, ledger, .. }| {
        let caller = somebody();
        let intent = use_of(&caller);
        let bounds = CallBounds { owner: 1, ..MANY };
        let mut calls = Vec::new();
        for _ in 0..2 {
            let opened = ledger.open_call(intent.clone(), dial(&caller), bounds);
            calls.push(opened.await.unwrap());
        }
        assert_eq!(calls[0], calls[1], "{name}");
    })
    .await;
}

#[tokio::test]
async fn calls_at_once_are_bounded_for_one_owner_for_all_strangers_and_in_total() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let bounds = CallBounds {
            owner: 2,
            anonymous: 3,
            total: 4,
        };
        let (one, two, ana) = (somebody(), somebody(), verified(account("ana")));
        let dialled = open(records, &one, bounds).await.unwrap();
        let lost = open(records, &one, bounds).await.unwrap();
        let third = open(records, &one, bounds).await;
        assert_eq!(full(third), CallBound::Owner, "{name}");
        open(records, &two, bounds).await.unwrap();
        let fourth = open(records, &two, bounds).await;
        assert_eq!(full(fourth), CallBound::Anonymous, "{name}");
        let running = open(records, &ana, bounds).await.unwrap();
        let fifth = open(records, &ana, bounds).await;
        assert_eq!(full(fifth), CallBound::Total, "{name}");
        let over = CallStep::Over(EndReason::Provider);
        change(records, &running, over).await.unwrap();
        change(records, &lost, CallStep::Lost(Duration::ZERO)).await;
        open(records, &ana, bounds).await.unwrap();
        change(records, &dialled, CallStep::End(EndReason::HungUp)).await;
        open(records, &one, bounds).await.unwrap();
        let full_again = open(records, &one, bounds).await;
        assert_eq!(full(full_again), CallBound::Owner, "{name}: one is ending");
    })
    .await;
}

#[tokio::test]
async fn lv5_calls_of_personas_that_count_together_are_bounded_and_others_are_not() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let open = async |persona: &str, most| {
            let caller = somebody();
            let named = |name| PersonaName::parse(name).unwrap();
            let kin = ["one", "two"].map(named);
            let dial = Dial {
                kin: Some(Kin {
                    personas: kin.into(),
                    most,
                }),
                ..dial(&caller)
            };
            let intent = Intent {
                persona: named(persona),
                ..use_of(&caller)
            };
            records.open_call(intent, dial, MANY).await
        };
        let both = tokio::join!(open("one", 1), open("two", 1));
        let (opened, refused) = match both {
            (Ok(opened), refused) | (refused, Ok(opened)) => (opened, refused),
            (Err(error), _) => panic!("{name}: {error}"),
        };
        assert_eq!(full(refused), CallBound::Kin, "{name}");
        open("three", 2).await.unwrap();
        open("two", 2).await.unwrap();
        assert_eq!(full(open("one", 2).await), CallBound::Kin, "{name}");
        let over = CallStep::Over(EndReason::Provider);
        change(records, &opened, over).await.unwrap();
        open("one", 2).await.unwrap();
    })
    .await;
}

async fn opened_at_once(records: &[Arc<dyn Records>], bounds: CallBounds) -> usize {
    let mut callers = tokio::task::JoinSet::new();
    let caller = somebody();
    for number in 0..60 {
        let records = Arc::clone(&records[number % records.len()]);
        let caller = if number % 2 == 0 {
            Arc::clone(&caller)
        } else {
            somebody()
        };
        callers.spawn(async move {
            match open(&*records, &caller, bounds).await {
                Ok(_) => true,
                Err(ReserveError::TooManyCalls(_)) => false,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let opened = callers.join_all().await;
    opened.into_iter().filter(|opened| *opened).count()
}

#[tokio::test]
async fn of_many_calls_at_once_exactly_as_many_are_opened_as_there_are_places() {
    let bounds = CallBounds { total: 7, ..MANY };
    each(async |Subject { name, ledger, .. }| {
        assert_eq!(opened_at_once(&[ledger], bounds).await, 7, "{name}");
    })
    .await;
}

#[tokio::test]
async fn ca19_replicas_that_share_a_server_never_exceed_a_bound_together() {
    let url = empty_database().await;
    let one = postgres_at(&url).await;
    let two = postgres::open(&url, clock(), TIMEOUT).await.unwrap();
    let three = postgres::open(&url, clock(), TIMEOUT).await.unwrap();
    let replicas = [one, Arc::new(two), Arc::new(three)];
    for bounds in [
        CallBounds {
            owner: 3,
            anonymous: 3,
            total: 50,
        },
        CallBounds {
            owner: 9,
            anonymous: 9,
            total: 9,
        },
    ] {
        let before = replicas[0].calls(CallQuery {
            account: None,
            ticket: None,
            skip: 0,
            most: 99,
        });
        let before = before.await.unwrap().len();
        let bound = usize::try_from(bounds.anonymous).unwrap();
        let opened = opened_at_once(&replicas, bounds).await;
        assert_eq!(before + opened, bound);
    }
}

#[tokio::test]
async fn a_call_counts_as_a_session_and_one_that_found_no_place_or_failed_does_not() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let ana = verified(account("ana"));
        let open = async |owner| {
            let quota = Quota {
                sessions_per_month: Some(2),
                ..Quota::default()
            };
            let intent = Intent {
                quota,
                ..use_of(&ana)
            };
            let bounds = CallBounds { owner, ..MANY };
            let dialled = records.open_call(intent, dial(&ana), bounds);
            dialled.await
        };
        let failed = open(9).await.unwrap();
        assert_eq!(full(open(1).await), CallBound::Owner, "{name}");
        let settlement = settled(failed.entry, FAILED);
        records.settle(settlement).await.unwrap();
        let first = open(1).await.unwrap();
        records
            .settle(settled(first.entry, minted()))
            .await
            .unwrap();
        open(9).await.unwrap();
        let third = open(9).await;
        assert!(
            matches!(third, Err(ReserveError::QuotaExceeded(_))),
            "{name}: {third:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_use_that_failed_takes_its_call_back_and_one_that_the_provider_knows_is_hung_up() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let unknown = open(records, &somebody(), MANY).await.unwrap();
        let known = open(records, &somebody(), MANY).await.unwrap();
        change(records, &known, CallStep::Named(upstream("a"))).await;
        for call in [&unknown, &known] {
            records.settle(settled(call.entry, FAILED)).await.unwrap();
        }
        let state = |call: Option<Call>| call.map(|call| (call.state, call.end_reason));
        let provider = Some(EndReason::Provider);
        let ending = Some((CallState::Ending, provider));
        assert_eq!(state(find(records, "a").await), ending, "{name}");
        let late = CallStep::Named(upstream("b"));
        change(records, &unknown, late).await;
        assert_eq!(state(find(records, "b").await), ending, "{name}: a late id");
        let due = records.claim_calls("one").await.unwrap();
        assert_eq!(due.len(), 1, "{name}: {due:?}");
        assert_eq!(due[0].entry, known.entry, "{name}");
        assert_eq!(due[0].epoch, 1, "{name}");
        assert!(records.claim_calls("one").await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_same_idempotency_key_of_the_same_owner_opens_one_call() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let open = async |caller: &Arc<Caller>| {
            let dial = Dial {
                idempotency: Some("hash".into()),
                ..dial(caller)
            };
            records.open_call(use_of(caller), dial, MANY).await
        };
        let (ana, ben) = (verified(account("ana")), verified(account("ben")));
        let first = open(&ana).await.unwrap();
        open(&ben).await.unwrap();
        change(records, &first, CallStep::Over(EndReason::Provider)).await;
        match open(&ana).await {
            Err(ReserveError::Repeated(entry)) => assert_eq!(entry, first.entry, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn calls_that_run_are_listed_before_those_that_are_ending_and_those_that_are_over() {
    each(async |Subject { name, ledger, .. }| {
        let (records, caller) = (&*ledger, somebody());
        for number in 0..9 {
            let call = running(records, &caller, &format!("call{number}")).await;
            // Whoever ends all calls reads on only after a page of calls that run.
            if number >= 4 {
                change(records, &call, CallStep::End(EndReason::Operator)).await;
            }
            if number >= 8 {
                change(records, &call, CallStep::Over(EndReason::Operator)).await;
            }
        }
        let query = CallQuery {
            account: None,
            ticket: None,
            skip: 0,
            most: 9,
        };
        let listed = records.calls(query).await.unwrap();
        let states: Vec<_> = listed.iter().map(|call| call.state).collect();
        assert_eq!(states[..4], [CallState::Open; 4], "{name}");
        assert_eq!(states[4..8], [CallState::Ending; 4], "{name}");
        assert_eq!(states[8..], [CallState::Ended], "{name}");
    })
    .await;
}

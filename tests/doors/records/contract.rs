//! What every kind promises: what stays, what is given back, what is listed and removed.

use std::time::Duration;

use token_broker::clock::Timestamp;
use token_broker::domain::{Intent, Kind, Network, Outcome};
use token_broker::records::{By, Records, RecordsCondition, ReserveError, UsageQuery, UsageRow};

use super::kinds::{FAILED, START, UNCERTAIN, account, each, limited, mint, minted, settled};

async fn report(ledger: &dyn Records, by: By) -> Vec<UsageRow> {
    let query = UsageQuery {
        by,
        since: Timestamp::from_millis(0),
        most: 100,
    };
    ledger.usage(query).await.unwrap()
}

/// Sessions, uncertain and failed of everybody together.
async fn sums(ledger: &dyn Records) -> (u64, u64, u64) {
    let rows = report(ledger, By::Role).await;
    let sum = |pick: fn(&UsageRow) -> u64| rows.iter().map(pick).sum();
    (
        sum(|row| row.sums.get("sessions")),
        sum(|row| row.sums.get("uncertain")),
        sum(|row| row.sums.get("failed")),
    )
}

async fn is_full(ledger: &dyn Records, subject: &str, limit: u32) -> bool {
    match ledger.reserve(limited(subject, START, limit)).await {
        Ok(()) => false,
        Err(ReserveError::QuotaExceeded { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_first_outcome_stays_with_two_exceptions() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let steps = [
            // (outcome, (sessions, uncertain, failed) then)
            (UNCERTAIN, (1, 1, 0)),
            (minted(), (1, 0, 0)),
            (UNCERTAIN, (1, 0, 0)),
            (FAILED, (1, 0, 0)),
            (Outcome::Undelivered, (1, 0, 0)),
            (minted(), (1, 0, 0)),
            (FAILED, (1, 0, 0)),
        ];
        let intent = mint("ana", START);
        let id = intent.id;
        ledger.reserve(intent).await.unwrap();
        assert_eq!(sums(ledger).await, (1, 0, 0), "pending counts");
        for (outcome, expected) in steps {
            ledger.settle(settled(id, outcome.clone())).await.unwrap();
            assert_eq!(sums(ledger).await, expected, "{} {outcome:?}", subject.name);
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_entry_is_given_back_once_and_stays_failed() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let (first, second) = (limited("ana", START, 2), limited("ana", START, 2));
        let id = first.id;
        ledger.reserve(first).await.unwrap();
        ledger.reserve(second).await.unwrap();
        assert!(is_full(ledger, "ana", 2).await);
        for outcome in [UNCERTAIN, FAILED, FAILED, minted(), FAILED] {
            ledger.settle(settled(id, outcome)).await.unwrap();
        }
        assert_eq!(sums(ledger).await, (1, 0, 1), "{}", subject.name);
        assert!(!is_full(ledger, "ana", 2).await);
        assert!(is_full(ledger, "ana", 2).await, "{}", subject.name);
    })
    .await;
}

#[tokio::test]
async fn an_outcome_without_intent_changes_nothing() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        for outcome in [minted(), FAILED, UNCERTAIN] {
            let stranger = mint("ana", START).id;
            ledger.settle(settled(stranger, outcome)).await.unwrap();
        }
        assert_eq!(report(ledger, By::Day).await, [], "{}", subject.name);
        assert!(ledger.recent(START).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_reservation_that_is_there_is_not_counted_again() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let intent = limited("ana", START, 1);
        for _ in 0..3 {
            ledger.reserve(intent.clone()).await.unwrap();
        }
        ledger.settle(settled(intent.id, minted())).await.unwrap();
        ledger.reserve(intent).await.unwrap();
        assert_eq!(sums(ledger).await, (1, 0, 0), "{}", subject.name);
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_was_left_pending_becomes_uncertain_and_counts() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let (old, done, young) = (
            limited("ana", START, 2),
            mint("ben", START),
            mint("eva", START.plus(Duration::from_secs(1))),
        );
        let done_id = done.id;
        for intent in [old, done, young] {
            ledger.reserve(intent).await.unwrap();
        }
        ledger.settle(settled(done_id, minted())).await.unwrap();
        let boundary = START.plus(Duration::from_millis(1));
        assert_eq!(ledger.give_up(boundary, None).await.unwrap(), 1);
        assert_eq!(ledger.give_up(boundary, None).await.unwrap(), 0);
        assert_eq!(sums(ledger).await, (3, 1, 0), "{}", subject.name);
        assert!(!is_full(ledger, "ana", 2).await);
        assert!(is_full(ledger, "ana", 2).await, "it is still counted");
    })
    .await;
}

#[tokio::test]
async fn every_entry_that_was_left_pending_is_given_up_however_many_there_are() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        for _ in 0..600 {
            ledger.reserve(mint("ana", START)).await.unwrap();
        }
        let later = START.plus(Duration::from_secs(1));
        assert_eq!(ledger.give_up(later, None).await.unwrap(), 600);
        assert_eq!(sums(ledger).await, (600, 600, 0), "{}", subject.name);
    })
    .await;
}

#[tokio::test]
async fn recent_entries_are_those_that_count_oldest_first() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let second = |number| START.plus(Duration::from_secs(number));
        let refresh = |at| Intent {
            kind: Kind::Refresh,
            account: None,
            role: None,
            ..mint("", at)
        };
        // Written in another order than they happened.
        let failed = mint("ana", second(3));
        let failed_id = failed.id;
        let entries = [
            mint("eva", second(5)),
            mint("ana", second(1)),
            failed,
            refresh(second(4)),
            mint("ben", second(2)),
        ];
        for intent in entries {
            ledger.reserve(intent).await.unwrap();
        }
        ledger.settle(settled(failed_id, FAILED)).await.unwrap();
        let recent = ledger.recent(second(2)).await.unwrap();
        let seen: Vec<_> = recent
            .iter()
            .map(|recent| (recent.at, recent.kind, recent.account.clone()))
            .collect();
        let expected = [
            (second(2), Kind::Mint, Some(account("ben"))),
            (second(4), Kind::Refresh, None),
            (second(5), Kind::Mint, Some(account("eva"))),
        ];
        assert_eq!(seen, expected, "{}", subject.name);
    })
    .await;
}

#[tokio::test]
async fn a_recent_entry_names_the_neighbourhood_of_its_caller() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let around = |address: &str| Network::around(address.parse().unwrap());
        let neighbourhoods = [around("203.0.113.7"), around("2001:db8:1:2::3")];
        for (seconds, network) in (0..).zip(neighbourhoods) {
            let at = START.plus(Duration::from_secs(seconds));
            let intent = Intent {
                network,
                ..mint("ana", at)
            };
            ledger.reserve(intent).await.unwrap();
        }
        let recent = ledger.recent(START).await.unwrap();
        let seen: Vec<_> = recent.iter().map(|recent| recent.neighbourhood).collect();
        assert_eq!(seen, neighbourhoods.map(Some), "{}", subject.name);
    })
    .await;
}

#[tokio::test]
async fn erasing_removes_all_that_names_the_account_and_nothing_else() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        for _ in 0..300 {
            ledger.reserve(limited("ana", START, 300)).await.unwrap();
        }
        ledger.reserve(mint("ben", START)).await.unwrap();
        let anonymous = Intent {
            account: None,
            ..mint("", START)
        };
        ledger.reserve(anonymous).await.unwrap();
        assert!(is_full(ledger, "ana", 300).await);
        assert_eq!(ledger.erase(&account("ana")).await.unwrap(), 300);
        assert_eq!(ledger.erase(&account("ana")).await.unwrap(), 0);
        let users = report(ledger, By::User).await;
        let names: Vec<_> = users.into_iter().filter_map(|row| row.subject).collect();
        assert_eq!(names, ["", "ben"], "{}", subject.name);
        assert_eq!(sums(ledger).await, (2, 0, 0), "{}", subject.name);
        assert!(!is_full(ledger, "ana", 1).await, "its count is gone too");
        let users = report(ledger, By::User).await;
        assert_eq!(
            users.len(),
            3,
            "{}: the account is known again",
            subject.name
        );
    })
    .await;
}

#[tokio::test]
async fn old_entries_are_forgotten_a_thousand_at_once_and_so_is_what_they_summed_up_to() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let day = Duration::from_hours(24);
        for number in 0..1_100 {
            let at = START.plus(Duration::from_millis(number));
            ledger.reserve(mint("ana", at)).await.unwrap();
        }
        ledger.reserve(mint("ben", START.plus(day))).await.unwrap();
        let before = START.plus(day);
        assert_eq!(ledger.forget(START).await.unwrap(), 0);
        assert_eq!(ledger.forget(before).await.unwrap(), 1000);
        assert_eq!(sums(ledger).await.0, 101, "{}", subject.name);
        let recent = ledger.recent(START).await.unwrap();
        assert_eq!(recent[0].at, START.plus(Duration::from_secs(1)));
        assert_eq!(ledger.forget(before).await.unwrap(), 100);
        let days = report(ledger, By::Day).await;
        assert_eq!(
            (days.len(), days[0].sums.get("sessions")),
            (1, 1),
            "{}",
            subject.name
        );
        assert_eq!(report(ledger, By::User).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_closed_ledger_refuses() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        assert_eq!(ledger.condition(), RecordsCondition::Operational);
        ledger.close().await;
        if subject.name != "memory" {
            assert!(ledger.reserve(mint("ana", START)).await.is_err());
        }
    })
    .await;
}

#[tokio::test]
async fn one_entry_that_cannot_be_written_takes_no_other_with_it() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let poisoned = Intent {
            // A server cannot store it as text.
            account: Some(account("a\0b")),
            ..mint("", START)
        };
        let mut callers = vec![ledger.reserve(poisoned)];
        for _ in 0..20 {
            callers.push(ledger.reserve(mint("ana", START)));
        }
        let mut answers = Vec::new();
        for caller in callers.iter_mut().rev() {
            answers.push(caller);
        }
        let answers = join_all(answers).await;
        let good = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(good >= 20, "{}: {answers:?}", subject.name);
        assert_eq!(ledger.condition(), RecordsCondition::Operational);
    })
    .await;
}

/// All of them at once, in order.
async fn join_all<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(Some).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in waiting.iter_mut().zip(&mut done) {
            if let Some(running) = future
                && let std::task::Poll::Ready(value) = std::pin::Pin::new(running).poll(context)
            {
                *output = Some(value);
                *future = None;
            }
        }
        if waiting.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

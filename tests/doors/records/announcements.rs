//! What every kind promises of sessions that the provider announces: each webhook counts once, on one of all replicas.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use token_broker::clock::{ManualClock, Timestamp};
use token_broker::domain::{CallState, CallStep, Caller, EndReason, RequestId, UpstreamCallId};
use token_broker::records::{Announcement, MemoryRecords, Records, sqlite};

use super::calls::{MANY, dial, upstream, use_of};
use super::kinds::{Folder, START, TIMEOUT, each, postgres_at};
use crate::kit::postgres::empty_database;

fn announcement(webhook: &str) -> Announcement {
    Announcement {
        webhook: webhook.into(),
        session: UpstreamCallId::of_live("live_u0_A").unwrap(),
        created_at: START,
        received_at: START,
    }
}

async fn announced(records: &dyn Records, webhook: &str) -> bool {
    records.announce(announcement(webhook)).await.unwrap()
}

async fn due(records: &dyn Records) -> Vec<Announcement> {
    records.due_announcements().await.unwrap()
}

#[tokio::test]
async fn lv23_a_webhook_counts_once_and_is_due_until_it_is_judged() {
    each(async |subject| {
        let records = &*subject.ledger;
        assert!(announced(records, "evt_1").await);
        assert!(!announced(records, "evt_1").await, "{}", subject.name);
        let found = due(records).await;
        assert_eq!(found.len(), 1, "{}", subject.name);
        let expected = Announcement {
            received_at: found[0].received_at,
            ..announcement("evt_1")
        };
        assert_eq!(found[0], expected);
        // Whoever has it has time to judge it.
        subject.tick().await;
        assert!(due(records).await.is_empty(), "{}", subject.name);

        let at_once = Some(Duration::ZERO);
        records.judged("evt_1", at_once).await.unwrap();
        assert_eq!(due(records).await.len(), 1, "{}", subject.name);
        let later = Some(Duration::from_mins(1));
        records.judged("evt_1", later).await.unwrap();
        subject.tick().await;
        assert!(due(records).await.is_empty(), "{}", subject.name);
        records.judged("evt_1", at_once).await.unwrap();
        records.judged("evt_1", None).await.unwrap();
        subject.tick().await;
        assert!(due(records).await.is_empty(), "{}", subject.name);
        assert!(!announced(records, "evt_1").await, "{}", subject.name);
    })
    .await;
}

#[tokio::test]
async fn lv23_of_many_replicas_that_get_a_webhook_or_look_for_one_at_once_one_has_it() {
    let url = empty_database().await;
    let (one, two) = (postgres_at(&url).await, postgres_at(&url).await);
    let both = [&*one, &*two];
    let all = || (0..20).map(|number| both[number % 2]);
    let new = join_all(all().map(|records| announced(records, "evt_1"))).await;
    assert_eq!(new.into_iter().filter(|new| *new).count(), 1);
    let found = join_all(all().map(due)).await;
    assert_eq!(found.concat().len(), 1);
}

#[tokio::test]
async fn announcements_are_kept_for_an_hour() {
    let clock = Arc::new(ManualClock::at(START));
    let folder = Folder::new();
    let file = folder.file();
    let sqlite = sqlite::open(&file, Arc::<ManualClock>::clone(&clock), TIMEOUT);
    let memory = MemoryRecords::new(100, Arc::<ManualClock>::clone(&clock));
    let kinds: [Arc<dyn Records>; 2] = [Arc::new(sqlite.await.unwrap()), Arc::new(memory)];
    for records in &kinds {
        assert!(announced(&**records, "evt_1").await);
    }
    clock.advance(Duration::from_hours(1));
    for records in &kinds {
        records.forget(Timestamp::from_seconds(0)).await.unwrap();
        assert!(!announced(&**records, "evt_1").await);
    }
    clock.advance(Duration::from_mins(1));
    for records in &kinds {
        records.forget(Timestamp::from_seconds(0)).await.unwrap();
        assert!(announced(&**records, "evt_1").await);
        records.close().await;
    }
}

#[tokio::test]
async fn calls_that_may_have_an_id_that_nobody_knows_are_listed() {
    each(async |subject| {
        let records = &*subject.ledger;
        let mut calls = Vec::new();
        for host in 1..=4 {
            let request = RequestId::parse("req_1").unwrap();
            let caller = Arc::new(Caller::at([203, 0, 113, host].into(), request));
            let call = records
                .open_call(use_of(&caller), dial(&caller), MANY)
                .await;
            calls.push(call.unwrap().entry);
        }
        let steps = [
            CallStep::Named(upstream("a")),
            CallStep::Lost(Duration::from_millis(1)),
            CallStep::Over(EndReason::Provider),
        ];
        for (entry, step) in calls.iter().zip(steps) {
            let changed = records.change_call(*entry, step.by_anybody()).await;
            assert!(changed.unwrap().is_some());
        }
        // Also when its place is free again.
        subject.tick().await;
        let mut unnamed = records.unnamed_calls().await.unwrap();
        unnamed.sort_by_key(|call| call.entry);
        let seen: Vec<_> = unnamed
            .iter()
            .map(|call| (call.entry, call.state))
            .collect();
        let mut expected = [(calls[1], CallState::Lost), (calls[3], CallState::Dialling)];
        expected.sort_by_key(|(entry, _)| *entry);
        assert_eq!(seen, expected, "{}", subject.name);
    })
    .await;
}

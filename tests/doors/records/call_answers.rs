//! What every kind promises when a call gets its answer, and how few transactions many calls share.

use std::time::Duration;

use token_broker::domain::{Call, CallState, CallStep, EndReason, Outcome};
use token_broker::records::{By, Records, Spending, UsageQuery};
use tokio::time::Instant;

use super::calls::{MANY, change, dial, find, running, upstream, use_of};
use super::kinds::{FAILED, Folder, START, Subject, each, minted, settled, sqlite_at};
use super::sessions::somebody;

/// Returns the number of entries that failed.
async fn failed(records: &dyn Records) -> u64 {
    let query = UsageQuery {
        by: By::Persona,
        since: START,
        most: 10,
    };
    let rows = records.usage(query).await.unwrap();
    rows.iter().map(|row| row.sums.get("failed")).sum()
}

#[tokio::test]
async fn a_call_opens_together_with_its_outcome_or_not_at_all() {
    each(async |Subject { name, ledger, .. }| {
        let (records, caller) = (&*ledger, somebody());
        let open = async || {
            let opened = records.open_call(use_of(&caller), dial(&caller), MANY);
            opened.await.unwrap()
        };
        let lasts = Duration::from_mins(10);
        let answer = async |call: &Call, outcome: Outcome, id: &str| {
            let named = CallStep::Named(upstream(id));
            let steps = [named, CallStep::Opened(lasts)].map(|step| step.by(0));
            let settlement = settled(call.entry, outcome);
            records.answer_call(settlement, steps.to_vec()).await
        };
        let call = open().await;
        // An answer that was lost is asked for again.
        for _ in 0..2 {
            let opened = answer(&call, minted(), "a").await.unwrap().unwrap();
            assert_eq!(opened.state, CallState::Open, "{name}");
            assert_eq!(find(records, "a").await, Some(opened), "{name}");
        }
        records.settle(settled(call.entry, FAILED)).await.unwrap();
        assert_eq!(failed(records).await, 0, "{name}: the outcome is known");
        let gone = open().await;
        change(records, &gone, CallStep::End(EndReason::HungUp)).await;
        let refused = answer(&gone, minted(), "b").await.unwrap();
        assert_eq!(refused, None, "{name}: somebody has ended the call");
        assert_eq!(find(records, "b").await, None, "{name}");
        records.settle(settled(gone.entry, FAILED)).await.unwrap();
        assert_eq!(failed(records).await, 1, "{name}: there was no outcome");
    })
    .await;
}

#[tokio::test]
async fn calls_that_only_count_share_transactions_and_what_cannot_wait_takes_them_along() {
    let folder = Folder::new();
    let (records, caller) = (sqlite_at(&folder).await, somebody());
    let call = running(&*records, &caller, "a").await;
    let can_wait = || Spending {
        can_wait: true,
        ..Spending::default()
    };
    let spend = async || {
        let spent = records.spend_call(call.entry, can_wait());
        spent.await.unwrap().unwrap()
    };
    spend().await;
    let (began, before) = (Instant::now(), records.figures().commits);
    // Each comes when the one before it is written: without a pause of the writer, as fast as it writes.
    let one_by_one = async || {
        for _ in 0..10 {
            spend().await;
        }
    };
    tokio::join!(one_by_one(), one_by_one(), one_by_one());
    let commits = records.figures().commits - before;
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(u128::from(commits) <= most, "{commits}, not {most}");

    let before = records.figures().commits;
    let joined = CallStep::Warned.by(call.epoch);
    let ended = CallStep::End(EndReason::Operator).by_anybody();
    let (_, _, ended) = tokio::join!(
        spend(),
        records.change_call(call.entry, joined),
        records.change_call(call.entry, ended),
    );
    assert_eq!(ended.unwrap().unwrap().state, CallState::Ending);
    assert_eq!(records.figures().commits - before, 1);
    records.close().await;
}

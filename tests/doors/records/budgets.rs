//! What every kind promises of budgets: calls hold time and money against them, and never exceed them together.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{Clock, SystemClock};
use token_broker::domain::{
    Amount, Budget, Budgets, Call, CallStep, CallUse, Caller, Dial, EndReason, EntryId, Exhausted,
    Intent, Limit, Mark, Money, Period, Purse, Usage,
};
use token_broker::records::{CallQuery, Records, ReserveError, Spending, TopUp, postgres};

use super::calls::{MANY, change, dial, upstream, use_of};
use super::kinds::{Subject, TIMEOUT, account, clock, each, postgres_at};
use super::sessions::{somebody, verified};
use crate::kit::postgres::empty_database;

const LEASE: Duration = Duration::from_secs(30);

const fn cents(number: i64) -> Money {
    Money::from_nanos(number * 10_000_000)
}

fn minutes_per_week(number: u64) -> Budgets {
    let limit = Limit {
        seconds: Some(number * 60),
        money: None,
    };
    let own = Budget {
        week: limit,
        ..Budget::default()
    };
    Budgets {
        own,
        ..Budgets::default()
    }
}

fn money_per_day(most: Money) -> Budget {
    let day = Limit {
        seconds: None,
        money: Some(most),
    };
    Budget {
        day,
        ..Budget::default()
    }
}

/// Opens a call of ten minutes, for which ten cents are held.
async fn open(
    records: &dyn Records,
    caller: &Arc<Caller>,
    budgets: Budgets,
) -> Result<Call, ReserveError> {
    let dial = Dial {
        want: Amount {
            seconds: 600,
            money: cents(10),
        },
        budgets,
        ..dial(caller)
    };
    // A server's clock is that of this machine. Of the other kinds, this day is in no earlier period than theirs.
    let intent = Intent {
        at: SystemClock::new().now(),
        ..use_of(caller)
    };
    records.open_call(intent, dial, MANY).await
}

fn exhausted(opened: Result<Call, ReserveError>) -> (Purse, Period, bool) {
    match opened {
        Err(ReserveError::Exhausted(Exhausted {
            purse,
            period,
            is_money,
            ..
        })) => (purse, period, is_money),
        other => panic!("{other:?}"),
    }
}

async fn over(records: &dyn Records, call: &Call) {
    let over = CallStep::Over(EndReason::Provider);
    change(records, call, over).await.unwrap();
}

fn response(id: &str, cost: Money) -> CallUse {
    CallUse {
        id: id.into(),
        is_turn: true,
        model: "gpt-realtime-2.1".into(),
        mark: Mark::Measured,
        usage: Usage::default(),
        cost,
    }
}

async fn spend(records: &dyn Records, call: &Call, id: &str, cost: Money) -> Call {
    let more = response(id, cost);
    records.use_call(call.entry, more).await.unwrap().unwrap()
}

/// Asks for more money for a call, and returns what is held for it then.
async fn top_up(
    records: &dyn Records,
    (entry, epoch): (EntryId, u32),
    to: Money,
    budgets: Budgets,
) -> Money {
    let top_up = Some(TopUp { epoch, to, budgets });
    let spending = Spending {
        top_up,
        ..Spending::default()
    };
    let row = records.spend_call(entry, spending).await;
    row.unwrap().unwrap().held.money
}

#[tokio::test]
async fn a_call_gets_the_minutes_that_are_left_and_gives_back_what_it_did_not_use() {
    each(async |subject| {
        let (name, records) = (subject.name, &*subject.ledger);
        let (ana, ben) = (verified(account("ana")), verified(account("ben")));
        let budgets = minutes_per_week(15);
        let first = open(records, &ana, budgets).await.unwrap();
        assert_eq!(first.held.seconds, 600, "{name}");
        let second = open(records, &ana, budgets).await.unwrap();
        assert_eq!(second.held.seconds, 300, "{name}: what is left");
        let third = open(records, &ana, budgets).await;
        let week = (Purse::Owner, Period::Week, false);
        assert_eq!(exhausted(third), week, "{name}");
        open(records, &ben, budgets).await.unwrap();
        over(records, &first).await;
        let again = open(records, &ana, budgets).await.unwrap();
        assert_eq!(again.held.seconds, 600, "{name}: nothing was used");
        over(records, &again).await;
        // Two milliseconds of a call are a second.
        let named = change(records, &second, CallStep::Named(upstream("a"))).await;
        let lasts = CallStep::Opened(Duration::from_mins(5));
        let opened = change(records, &named.unwrap(), lasts).await.unwrap();
        let joined = change(records, &opened, CallStep::Joined).await.unwrap();
        subject.tick().await;
        over(records, &joined).await;
        let one = open(records, &ana, minutes_per_week(10)).await.unwrap();
        assert_eq!(one.held.seconds, 599, "{name}: one second was used");
    })
    .await;
}

#[tokio::test]
async fn money_is_held_topped_up_and_settled_by_what_was_used() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let ana = verified(account("ana"));
        let budgets = Budgets {
            own: money_per_day(cents(25)),
            ..Budgets::default()
        };
        let day = (Purse::Owner, Period::Day, true);
        let first = open(records, &ana, budgets).await.unwrap();
        let second = open(records, &ana, budgets).await.unwrap();
        assert_eq!(exhausted(open(records, &ana, budgets).await), day, "{name}");
        let more =
            async |call: &Call, to| top_up(records, (call.entry, call.epoch), to, budgets).await;
        let stale = top_up(records, (first.entry, 7), cents(12), budgets).await;
        assert_eq!(stale, cents(10), "{name}: another replica watches it");
        // An answer that was lost is asked for again: nothing is held twice.
        for _ in 0..2 {
            assert_eq!(more(&first, cents(15)).await, cents(15), "{name}");
        }
        assert_eq!(more(&second, cents(11)).await, cents(10), "{name}");
        // Use within the hold changes nothing. The rest of the hold is given back at the end.
        spend(records, &first, "resp_1", cents(4)).await;
        assert_eq!(exhausted(open(records, &ana, budgets).await), day, "{name}");
        over(records, &first).await;
        let third = open(records, &ana, budgets).await.unwrap();
        assert_eq!(exhausted(open(records, &ana, budgets).await), day, "{name}");
        // Use beyond the hold counts as well.
        spend(records, &third, "resp_1", cents(22)).await;
        over(records, &second).await;
        over(records, &third).await;
        assert_eq!(exhausted(open(records, &ana, budgets).await), day, "{name}");
    })
    .await;
}

#[tokio::test]
async fn what_a_call_has_used_beyond_its_hold_is_not_held_once_more() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let budgets = Budgets {
            own: money_per_day(cents(30)),
            ..Budgets::default()
        };
        let call = open(records, &verified(account("ana")), budgets).await;
        let call = call.unwrap();
        // Ten cents are held, and the answer has cost eighteen.
        spend(records, &call, "resp_1", cents(18)).await;
        let watched = (call.entry, call.epoch);
        let topped = top_up(records, watched, cents(30), budgets).await;
        assert_eq!(topped, cents(30), "{name}");
        let beyond = top_up(records, watched, cents(31), budgets).await;
        assert_eq!(beyond, cents(30), "{name}");
    })
    .await;
}

/// The use of a call and its top-up come in one, and what the call spends beyond its hold is not there for others.
#[tokio::test]
async fn mo17_uses_count_whatever_becomes_of_the_money_that_is_held_with_them() {
    each(async |Subject { name, ledger, .. }| {
        let (records, ana) = (&*ledger, verified(account("ana")));
        let budgets = Budgets {
            own: money_per_day(cents(30)),
            ..Budgets::default()
        };
        let first = open(records, &ana, budgets).await.unwrap();
        let second = open(records, &ana, budgets).await.unwrap();
        let both = |id: &str, cost, to| Spending {
            uses: vec![response(id, cost), response("resp_0", cents(1))],
            top_up: Some(TopUp {
                epoch: 0,
                to,
                budgets,
            }),
            ..Spending::default()
        };
        // Eighteen cents and one, where ten were held: eleven of thirty are left, and the second call holds ten of them.
        let beyond = records.spend_call(first.entry, both("resp_1", cents(18), cents(21)));
        let more = top_up(records, (second.entry, 0), cents(12), budgets);
        let (beyond, more) = tokio::join!(beyond, more);
        let beyond = beyond.unwrap().unwrap();
        assert_eq!(beyond.used.cost, cents(19), "{name}");
        assert_eq!(
            beyond.held.money,
            cents(10),
            "{name}: no budget has two more"
        );
        assert_eq!(more, cents(10), "{name}");
        // Of two uses, one is counted already.
        let again = records.spend_call(first.entry, both("resp_2", cents(1), cents(20)));
        let again = again.await.unwrap().unwrap();
        assert_eq!(
            (again.used.cost, again.used.turns),
            (cents(20), 3),
            "{name}"
        );
        assert_eq!(again.held.money, cents(20), "{name}");
    })
    .await;
}

/// A replica dies between the use of its call and the end: ten cents are held, three were used.
#[tokio::test]
async fn mo12_what_a_call_did_not_use_is_given_back_once_also_when_its_replica_died_before() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let ana = verified(account("ana"));
        let budgets = Budgets {
            own: money_per_day(cents(23)),
            ..Budgets::default()
        };
        let call = open(records, &ana, budgets).await.unwrap();
        let named = change(records, &call, CallStep::Named(upstream("a"))).await;
        let lasts = CallStep::Opened(Duration::from_mins(5));
        change(records, &named.unwrap(), lasts).await.unwrap();
        spend(records, &call, "resp_1", cents(3)).await;
        open(records, &ana, budgets).await.unwrap();
        let day = (Purse::Owner, Period::Day, true);
        assert_eq!(exhausted(open(records, &ana, budgets).await), day, "{name}");
        records.renew_calls("one", Duration::ZERO).await.unwrap();
        records.renew_calls("two", LEASE).await.unwrap();
        let taken = records.claim_calls("two").await.unwrap();
        let taken = taken.iter().find(|taken| taken.entry == call.entry);
        let taken = taken.unwrap();
        // The new watcher sees the same answer, and both of them end the call.
        spend(records, taken, "resp_1", cents(3)).await;
        over(records, taken).await;
        assert_eq!(
            change(records, &call, CallStep::Over(EndReason::Provider)).await,
            None,
            "{name}"
        );
        open(records, &ana, budgets).await.unwrap();
        assert_eq!(exhausted(open(records, &ana, budgets).await), day, "{name}");
    })
    .await;
}

/// The answers of ten calls of one identity arrive at once, a hundred of each, and each is followed by a top-up.
#[tokio::test]
async fn mo17_a_thousand_settlements_at_once_add_up_and_exceed_no_budget() {
    each(async |Subject { name, ledger, .. }| {
        let ana = verified(account("ana"));
        let budgets = Budgets {
            own: money_per_day(cents(1_100)),
            ..Budgets::default()
        };
        let mut calls = Vec::new();
        for _ in 0..10 {
            calls.push(open(&*ledger, &ana, budgets).await.unwrap());
        }
        let mut settled = tokio::task::JoinSet::new();
        for number in 0..1_000 {
            let (records, call) = (Arc::clone(&ledger), calls[number % 10].clone());
            settled.spawn(async move {
                let spent = spend(&*records, &call, &format!("resp_{number}"), cents(1)).await;
                let watched = (call.entry, call.epoch);
                let to = spent.used.cost + cents(5);
                top_up(&*records, watched, to, budgets).await;
            });
        }
        settled.join_all().await;
        let query = CallQuery {
            account: Some(account("ana")),
            ticket: None,
            skip: 0,
            most: 10,
        };
        let calls = ledger.calls(query).await.unwrap();
        let sum = |of: fn(&Call) -> Money| calls.iter().map(of).fold(Money::ZERO, |a, b| a + b);
        assert_eq!(sum(|call| call.used.cost), cents(1_000), "{name}");
        // Beyond what was used, the rest of the day's budget is held at most.
        let held = sum(|call| (call.held.money - call.used.cost).max(Money::ZERO));
        assert!(held <= cents(100), "{name}: {held}");
    })
    .await;
}

#[tokio::test]
async fn strangers_share_one_budget_and_everybody_another() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let budgets = Budgets {
            own: money_per_day(cents(20)),
            everybody: money_per_day(cents(30)),
        };
        let lost = open(records, &somebody(), budgets).await.unwrap();
        open(records, &somebody(), budgets).await.unwrap();
        let third = open(records, &somebody(), budgets).await;
        let strangers = (Purse::Anonymous, Period::Day, true);
        assert_eq!(exhausted(third), strangers, "{name}");
        let ana = verified(account("ana"));
        open(records, &ana, budgets).await.unwrap();
        let everybody = (Purse::Everybody, Period::Day, true);
        assert_eq!(
            exhausted(open(records, &ana, budgets).await),
            everybody,
            "{name}"
        );
        change(records, &lost, CallStep::Lost(Duration::ZERO)).await;
        open(records, &ana, budgets).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn replicas_that_share_a_server_never_grant_more_than_a_budget_together() {
    let url = empty_database().await;
    let one = postgres_at(&url).await;
    let two: Arc<dyn Records> = Arc::new(postgres::open(&url, clock(), TIMEOUT).await.unwrap());
    let budgets = Budgets {
        own: money_per_day(cents(75)),
        ..Budgets::default()
    };
    let ana = verified(account("ana"));
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..60 {
        let records = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let ana = Arc::clone(&ana);
        callers.spawn(async move { open(&*records, &ana, budgets).await.is_ok() });
    }
    let opened = callers.join_all().await;
    assert_eq!(opened.into_iter().filter(|opened| *opened).count(), 7);
}

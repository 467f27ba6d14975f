//! What every kind promises of alerts: of all replicas, one tells operators.

use std::time::Duration;

use futures_util::future::join_all;
use token_broker::domain::{CallUse, EntryId, Intent, Money};
use token_broker::records::{AlertTimes, HourCosts, Records};

use super::call_uses::response;
use super::calls::{MANY, dial, use_of};
use super::kinds::{START, Subject, account, each, postgres_at};
use super::sessions::verified;
use crate::kit::postgres::empty_database;
use crate::kit::waiting::{SOON, eventually};

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(1);

const fn times(lasts: Duration, cooldown: Duration) -> AlertTimes {
    AlertTimes { lasts, cooldown }
}

async fn raised(records: &dyn Records, name: &str, times: AlertTimes) -> bool {
    records.raise_alert(name, times).await.unwrap()
}

async fn ended(records: &dyn Records) -> Vec<String> {
    records.end_alerts().await.unwrap()
}

#[tokio::test]
async fn an_alert_is_told_once_and_again_after_its_end_and_its_cooldown() {
    each(async |subject| {
        let records = &*subject.ledger;
        assert!(raised(records, "long", times(LONG, SHORT)).await);
        subject.tick().await;
        assert!(!raised(records, "long", times(LONG, SHORT)).await);
        assert!(records.end_alerts().await.unwrap().is_empty());

        assert!(raised(records, "rare", times(SHORT, LONG)).await);
        assert!(raised(records, "often", times(SHORT, SHORT)).await);
        subject.tick().await;
        let mut ended = records.end_alerts().await.unwrap();
        ended.sort();
        assert_eq!(ended, ["often", "rare"], "{}", subject.name);
        assert!(records.end_alerts().await.unwrap().is_empty());
        subject.tick().await;
        assert!(!raised(records, "rare", times(SHORT, LONG)).await);
        assert!(raised(records, "often", times(SHORT, SHORT)).await);
    })
    .await;
}

#[tokio::test]
async fn of_many_who_raise_or_end_an_alert_at_once_one_is_to_tell() {
    let url = empty_database().await;
    let (one, two) = (postgres_at(&url).await, postgres_at(&url).await);
    let both = [&*one, &*two];
    let all = || (0..20).map(|number| both[number % 2]);
    let told = join_all(all().map(|records| raised(records, "ledger", times(SHORT, LONG)))).await;
    assert_eq!(told.into_iter().filter(|told| *told).count(), 1);
    // The alert is over once its time has passed on the server's clock.
    let mut over = Vec::new();
    eventually("the end of the alert", SOON, async || {
        over = join_all(all().map(ended)).await.concat();
        !over.is_empty()
    })
    .await;
    assert_eq!(over, ["ledger"]);
}

#[tokio::test]
async fn an_hour_is_compared_with_the_same_hour_of_seven_days_once_the_records_are_that_old() {
    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 60 * MINUTE;
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let ana = verified(account("ana"));
        let now = START.plus(Duration::from_secs(30 * DAY));
        let cents = |cents: i64| Money::from_nanos(cents * 10_000_000);
        let spend = async |seconds: u64, money: i64| {
            let at = now.minus(Duration::from_secs(seconds));
            let id = EntryId::new(at);
            let intent = Intent {
                id,
                at,
                ..use_of(&ana)
            };
            records.open_call(intent, dial(&ana), MANY).await.unwrap();
            let used = CallUse {
                cost: cents(money),
                ..response("resp_1")
            };
            records.use_call(id, used).await.unwrap();
        };
        spend(59 * MINUTE, 150).await;
        spend(MINUTE, 150).await;
        spend(DAY + MINUTE, 70).await;
        // Of other hours, or of a day with no part in the comparison.
        spend(61 * MINUTE, 999).await;
        spend(DAY - MINUTE, 999).await;
        assert_eq!(records.hour_costs(now).await.unwrap(), None, "{name}");
        spend(7 * DAY + 30 * MINUTE, 70).await;
        spend(8 * DAY + 30 * MINUTE, 999).await;
        let expected = HourCosts {
            last: cents(300),
            usual: cents(20),
        };
        let costs = records.hour_costs(now).await.unwrap();
        assert_eq!(costs, Some(expected), "{name}");
    })
    .await;
}

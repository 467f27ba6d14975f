//! The alerts that come by webhook and by the rules for Prometheus: each comes when its condition holds, and not before.

use std::time::Duration;

use token_broker::records::{By, UsageQuery};

use super::{Desk, pair, reject_the_key, spend};
use crate::calls::{done, named};
use crate::fragile::fragile;
use crate::kit::in_process::{START, TestApp};
use crate::kit::waiting::{SOON, eventually};

const WEEK: u64 = 7 * 24 * 3600;
const CALLS: [(&str, &str); 3] = [
    ("connect.mode", "call"),
    ("personas.file", "tests/api/calls/personas.toml"),
    ("call.persona", "free"),
];

#[tokio::test]
async fn requests_that_take_the_broker_itself_long_are_told_after_ten_minutes() {
    let (test, desk) = (TestApp::new(), Desk::open(&[]).await);
    let own = &test.app.state().face.vitals.series.own_duration;
    let minute = async |slow: u32| {
        for number in 0..20 {
            let took = if number < slow { 400 } else { 3 };
            own.observe(["/token"], Duration::from_millis(took));
        }
        desk.judge(&test).await;
        test.advance(60);
    };
    // The first judgement knows nothing of what was before it.
    for slow in [20, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
        minute(slow).await;
    }
    desk.told(0).await;
    for _ in 0..10 {
        minute(2).await;
    }
    desk.told(0).await;
    minute(2).await;
    assert_eq!(desk.told(1).await, [pair("slow_itself", "firing")]);
}

/// A call for which the model answers a hundred times, which costs more than a dollar.
async fn spend_a_dollar(test: &TestApp) {
    spend(test).await;
    let side = named(test);
    for number in 2..=100 {
        side.say(&done(&format!("resp_{number}")));
    }
    let usage = UsageQuery {
        by: By::Model,
        since: START,
        most: 10,
    };
    eventually("the use", SOON, async || {
        let rows = test.ledger.usage(usage).await.unwrap();
        rows[0].sums.get("nanodollars") > 1_020_000_000
    })
    .await;
}

#[tokio::test]
async fn an_hour_that_costs_three_times_as_much_as_usual_is_told_once_there_is_a_history() {
    for (weeks, told) in [(0, 0), (1, 1)] {
        let (test, desk) = (TestApp::with(&CALLS), Desk::open(&[]).await);
        test.open().await;
        test.advance(weeks * WEEK);
        spend_a_dollar(&test).await;
        for seconds in [1, 899, 1] {
            desk.told(0).await;
            test.advance(seconds);
            desk.judge(&test).await;
        }
        let expected = vec![pair("cost", "firing"); told];
        assert_eq!(desk.told(told).await, expected);
        if told > 0 {
            let said = &desk.receiver.messages()[0].text;
            assert!(said.contains("cost 1.02 dollars, over three"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_price_that_is_missing_and_side_channels_that_are_lost_are_told() {
    let (test, desk) = (TestApp::new(), Desk::open(&[]).await);
    let series = &test.app.state().face.vitals.series;
    desk.judge(&test).await;
    series.side_channel_reconnects.add([], 20);
    desk.judge(&test).await;
    desk.told(0).await;
    series.side_channel_reconnects.add([], 1);
    desk.judge(&test).await;
    assert_eq!(desk.told(1).await, [pair("side_channels", "firing")]);
    series.price_misses.add(["gpt-realtime-of-tomorrow"], 1);
    desk.judge(&test).await;
    assert_eq!(desk.told(2).await[1], pair("price_missing", "firing"));
}

#[tokio::test]
async fn a_budget_of_mints_that_is_used_up_is_told_after_ten_minutes() {
    let settings = [("limits.mints_daily", "4/24h"), ("limits.token", "100/60s")];
    let (test, desk) = (TestApp::with(&settings), Desk::open(&[]).await);
    for _ in 0..6 {
        test.post("/token").send().await;
    }
    for seconds in [0, 599, 1] {
        desk.told(0).await;
        test.advance(seconds);
        desk.judge(&test).await;
    }
    assert_eq!(desk.told(1).await, [pair("limits", "firing")]);
}

#[tokio::test]
async fn an_alert_that_is_on_is_not_told_again_because_the_database_goes_away() {
    let (test, ledger) = fragile("");
    let desk = Desk::open(&[]).await;
    reject_the_key(&test).await;
    desk.judge(&test).await;
    test.advance(60);
    desk.judge(&test).await;
    assert_eq!(desk.told(1).await, [pair("key_rejected", "firing")]);
    ledger.fail(true, true);
    for _ in 0..2 {
        desk.judge(&test).await;
        test.advance(60);
    }
    desk.judge(&test).await;
    assert_eq!(desk.told(2).await[1], pair("ledger", "firing"));
}

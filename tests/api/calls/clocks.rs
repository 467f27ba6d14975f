//! Clocks that are set, and periods that end, while calls run.

use std::sync::Arc;

use super::leash::{done, named};
use super::spending::{USUAL, app, nanos, row, turns};
use super::{Opened, channel, ended, hang_up, offer, pass, says};
use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::REQUIRED;
use crate::kit::waiting::{SOON, eventually};

const DAY: u64 = 86_400;
const TWO_HOURS: i64 = 7_200;

/// Lets time pass, and whoever tends calls tends them each second.
async fn tended(app: &TestApp, seconds: u64) {
    for _ in 0..seconds {
        app.app.state().broker.tend_calls().await;
        pass(app, 1).await;
    }
}

#[tokio::test]
async fn sd25_setting_the_wall_clock_moves_no_deadline() {
    for set_by in [TWO_HOURS, -TWO_HOURS] {
        let app = TestApp::with(&[("call.max_duration", "60s")]);
        let call = Opened::by(&app).await;
        channel(&app).say(&says("input_audio_buffer.speech_started"));
        tended(&app, 5).await;
        app.clock.set_wall_by(set_by);
        tended(&app, 50).await;
        assert_eq!(call.look(&app).await["state"], "open", "{set_by}");
        assert!(app.calls.hung_up().is_empty(), "{set_by}");
        tended(&app, 7).await;
        assert_eq!(call.reason(&app).await, "time_limit", "{set_by}");
        assert_eq!(app.calls.hung_up().len(), 1, "{set_by}");
    }
}

#[tokio::test]
async fn sd25_after_a_restart_the_smaller_time_that_is_left_holds() {
    for (set_by, lasts) in [(TWO_HOURS, 0), (-TWO_HOURS, 60)] {
        let one = app("", &[("call.max_duration", "60s")]);
        Opened::by(&one).await;
        channel(&one).say(&says("input_audio_buffer.speech_started"));
        pass(&one, 1).await;
        one.ledger.claim_calls("dead").await.unwrap();
        one.clock.set_wall_by(set_by);
        let (ledger, clock) = (Arc::clone(&one.ledger), Arc::clone(&one.clock));
        let settings = [&USUAL, &[("call.max_duration", "60s")][..]].concat();
        let two = TestApp::over(ledger, clock, ("", &settings));
        if lasts > 0 {
            tended(&two, lasts - 5).await;
            assert!(two.calls.hung_up().is_empty(), "{set_by}");
        }
        tended(&two, 10).await;
        eventually("the end", SOON, async || two.calls.hung_up().len() == 1).await;
        assert_eq!(ended(&two).await["reason"], "time_limit", "{set_by}");
    }
}

async fn dial(app: &TestApp) -> Answer {
    offer(app).bearer(&student("ana")).send().await
}

fn limited(limit: &str) -> TestApp {
    let file = format!("{REQUIRED}[quota.student]\n{limit}\n");
    app(&file, &[("call.max_live", "9")])
}

/// A call needs 0.027692 dollars, and an answer costs 0.010296. The calls begin ten seconds before a new month.
#[tokio::test]
async fn mo15_a_call_over_the_end_of_a_month_holds_in_the_new_one_and_is_booked_where_it_began() {
    let app = app("", &[("money.per_month", "0.06")]);
    app.advance(31 * DAY - 10);
    let call = Opened::by(&app).await;
    named(&app).say(&done("resp_1"));
    turns(&app, 1).await;
    let held = row(&app).await.held.money;
    pass(&app, 20).await;
    // In February, what the call still holds is not there for others.
    assert_eq!(held, nanos(10_296_000 + 32_908_000));
    offer(&app).send().await.is(402, "money_exhausted");
    let hang_up = format!("{}/hangup", call.path);
    app.post(&hang_up).bearer(&call.ticket).send().await;
    for _ in 0..2 {
        Opened::by(&app).await;
    }
}

#[tokio::test]
async fn mo16_a_clock_that_is_set_back_into_yesterday_gives_no_money_twice() {
    let app = limited("money_per_day = \"0.03\"");
    let call = dial(&app).await;
    named(&app).say(&done("resp_1"));
    turns(&app, 1).await;
    hang_up(&app, &call, &student("ana")).await;
    let refused = async || dial(&app).await.is(402, "money_exhausted");
    refused().await;
    // The tests begin at midnight.
    app.clock.set_wall_by(-3_600);
    refused().await;
    app.clock.set_wall_by(3_600);
    refused().await;
    app.advance(DAY);
    assert_eq!(dial(&app).await.status, 201);
}

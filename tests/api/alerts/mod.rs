//! Alerts by webhook: what operators are told, once, by one replica, and that it is over.

mod conditions;

use std::sync::Arc;

use serde_json::{Value, json};
use token_broker::clock::{Clock, ManualClock, SystemClock, Timestamp};
use token_broker::config::{Alerts, Config, Mode};
use token_broker::http_client::{Unserved, Way};
use token_broker::records::{By, MemoryRecords, UsageQuery};
use token_broker::upstream::UpstreamError;
use token_broker::webhook::{Notice, Webhook};

use crate::calls::{OFFER, done, named};
use crate::fragile::fragile;
use crate::kit::answer::Answer;
use crate::kit::in_process::{START, TestApp};
use crate::kit::receiver::{Message, Receiver};
use crate::kit::waiting::{SOON, eventually, until};

/// What a replica tells operators with.
struct Desk {
    settings: Alerts,
    webhook: Arc<Webhook>,
    receiver: Receiver,
}

impl Desk {
    /// Sends in real time: no turn of the test's clock cuts a message off.
    async fn open(settings: &[(&str, &str)]) -> Self {
        Self::with(Arc::new(SystemClock::new()), settings).await
    }

    async fn with(clock: Arc<dyn Clock>, settings: &[(&str, &str)]) -> Self {
        let receiver = Receiver::start().await;
        let url = receiver.url.clone();
        let all = [&[("alerts.webhook", &*url)], settings].concat();
        let settings = Config::from_pairs(Mode::Dev, &all).unwrap().alerts;
        let webhook = Webhook::new(&settings, &Way::default(), clock).unwrap();
        Self {
            settings,
            webhook: Arc::new(webhook.unwrap()),
            receiver,
        }
    }

    async fn judge(&self, test: &TestApp) {
        let broker = &test.app.state().broker;
        broker.judge_alerts(&self.settings, &self.webhook).await;
    }

    /// Waits for so many messages. Returns the alert and the state of each.
    async fn told(&self, number: usize) -> Vec<(String, String)> {
        until("the messages", || self.receiver.messages().len() >= number).await;
        // The server answers in order: one message more would have come by now.
        self.webhook.look().await.unwrap();
        let messages = self.receiver.messages();
        assert_eq!(messages.len(), number, "{messages:?}");
        let text = |json: &Value, name: &str| json[name].as_str().unwrap().to_owned();
        let read = |message: Message| {
            let json: Value = serde_json::from_str(&message.text).unwrap();
            (text(&json, "alert"), text(&json, "state"))
        };
        messages.into_iter().map(read).collect()
    }
}

fn pair(alert: &str, state: &str) -> (String, String) {
    (alert.to_owned(), state.to_owned())
}

async fn reject_the_key(test: &TestApp) {
    test.minter.fail(UpstreamError::KeyRejected(401.into()));
    test.post("/token")
        .send()
        .await
        .is(503, "upstream_unavailable");
}

#[tokio::test]
async fn a_rejected_key_is_told_once_after_a_minute_and_so_is_its_end_and_no_more_within_the_cooldown()
 {
    let test = TestApp::new();
    let desk = Desk::open(&[("alerts.cooldown", "1h")]).await;
    reject_the_key(&test).await;
    desk.judge(&test).await;
    desk.told(0).await;
    for _ in 0..3 {
        test.advance(60);
        desk.judge(&test).await;
    }
    assert_eq!(desk.told(1).await, [pair("key_rejected", "firing")]);
    test.open().await;
    desk.judge(&test).await;
    test.advance(119);
    desk.judge(&test).await;
    desk.told(1).await;
    test.advance(1);
    desk.judge(&test).await;
    assert_eq!(desk.told(2).await[1], pair("key_rejected", "resolved"));

    reject_the_key(&test).await;
    for minutes in [1, 1, 56] {
        test.advance(minutes * 60);
        desk.judge(&test).await;
    }
    desk.told(2).await;
    test.advance(120);
    desk.judge(&test).await;
    assert_eq!(desk.told(3).await[2], pair("key_rejected", "firing"));
}

#[tokio::test]
async fn of_two_replicas_one_tells_and_an_alert_is_over_when_it_is_over_on_both() {
    let clock = Arc::new(ManualClock::at(START));
    let ledger = MemoryRecords::new(1000, Arc::<ManualClock>::clone(&clock));
    let ledger = Arc::new(ledger);
    let replica = || {
        TestApp::over(
            Arc::<MemoryRecords>::clone(&ledger),
            Arc::clone(&clock),
            ("", &[]),
        )
    };
    let (one, two) = (replica(), replica());
    let desk = Desk::open(&[]).await;
    for test in [&one, &two] {
        reject_the_key(test).await;
        desk.judge(test).await;
    }
    one.advance(60);
    tokio::join!(desk.judge(&one), desk.judge(&two));
    assert_eq!(desk.told(1).await, [pair("key_rejected", "firing")]);
    one.open().await;
    for _ in 0..5 {
        one.advance(60);
        tokio::join!(desk.judge(&one), desk.judge(&two));
    }
    desk.told(1).await;
    two.open().await;
    for _ in 0..3 {
        one.advance(60);
        tokio::join!(desk.judge(&one), desk.judge(&two));
    }
    assert_eq!(desk.told(2).await[1], pair("key_rejected", "resolved"));
}

#[tokio::test]
async fn failures_of_more_than_five_in_a_hundred_requests_are_told_and_a_few_requests_are_not() {
    let test = TestApp::with(&[("limits.token", "1000/60s")]);
    let desk = Desk::open(&[]).await;
    let fail = async || {
        test.minter.fail(UpstreamError::Refused(404.into()));
        let answer = test.post("/token").send().await;
        assert_eq!(answer.status, 502, "{}", answer.text);
    };
    fail().await;
    for _ in 0..28 {
        test.open().await;
    }
    desk.judge(&test).await;
    desk.told(0).await;
    test.open().await;
    desk.judge(&test).await;
    desk.told(0).await;
    fail().await;
    desk.judge(&test).await;
    assert_eq!(desk.told(1).await, [pair("error_rate", "firing")]);
    let message = &desk.receiver.messages()[0];
    let json: Value = serde_json::from_str(&message.text).unwrap();
    assert_eq!(
        json["summary"],
        "6.5 % of 31 requests failed within five minutes"
    );
    assert_eq!(json["severity"], "critical");
    assert_eq!(json["runbook"], "docs/runbook.md#brokererrorrate");
}

#[tokio::test]
async fn a_provider_that_is_silent_or_slow_is_told_after_minutes() {
    let (test, desk) = (TestApp::new(), Desk::open(&[]).await);
    test.minter.hold();
    let slow = async {
        test.minter.asked_for(1).await;
        test.advance(3);
        test.minter.let_through(9);
    };
    let (answer, ()) = tokio::join!(test.post("/token").send(), slow);
    assert_eq!(answer.status, 200, "{}", answer.text);
    for seconds in [0, 599, 1] {
        desk.told(0).await;
        test.advance(seconds);
        desk.judge(&test).await;
    }
    assert_eq!(desk.told(1).await, [pair("slow", "firing")]);

    test.minter.fail(UpstreamError::TimedOut);
    let answer = test.post("/token").send().await;
    assert_eq!(answer.status, 504, "{}", answer.text);
    for seconds in [0, 299, 1] {
        desk.told(1).await;
        test.advance(seconds);
        desk.judge(&test).await;
    }
    assert_eq!(desk.told(2).await[1], pair("upstream", "firing"));
}

#[tokio::test]
async fn hundreds_of_suspicious_requests_are_reported() {
    let (test, desk) = (TestApp::new(), Desk::open(&[]).await);
    let series = &test.app.state().face.vitals.series;
    let refuse = async |number: u64| {
        series.auth_failures.add(["rejected"], number - 9);
        series.origin_rejected.add(["program"], 9);
        desk.judge(&test).await;
    };
    desk.judge(&test).await;
    refuse(299).await;
    test.advance(900);
    desk.judge(&test).await;
    refuse(299).await;
    desk.told(0).await;
    refuse(10).await;
    assert_eq!(desk.told(1).await, [pair("suspicious", "firing")]);
}

/// Opens a call of a caller without identity, for which the model answers once. Returns the answer to the offer.
async fn spend(test: &TestApp) -> Answer {
    let call = test.post("/calls").body("application/sdp", OFFER);
    let answer = call.send().await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    named(test).say(&done("resp_1"));
    let usage = UsageQuery {
        by: By::Model,
        since: START,
        most: 10,
    };
    eventually("the use", SOON, async || {
        !test.ledger.usage(usage).await.unwrap().is_empty()
    })
    .await;
    test.app.state().broker.take_stock().await;
    answer
}

#[tokio::test]
async fn the_budget_of_callers_without_identity_is_told_by_its_own_name() {
    let test = TestApp::with(&[
        ("connect.mode", "call"),
        ("personas.file", "tests/api/calls/personas.toml"),
        ("call.persona", "free"),
        ("money.per_day", "5.00"),
        ("money.anonymous_per_day", "0.05"),
    ]);
    let desk = Desk::open(&[("alerts.budget_percent", "20")]).await;
    spend(&test).await;
    desk.judge(&test).await;
    assert_eq!(desk.told(1).await, [pair("budget", "firing")]);
    let said = &desk.receiver.messages()[0].text;
    assert!(said.contains("20 % of money.anonymous_per_day"), "{said}");
}

#[tokio::test]
async fn a_budget_hang_ups_that_are_owed_and_blocks_are_told() {
    let test = TestApp::with(&[
        ("connect.mode", "call"),
        ("personas.file", "tests/api/calls/personas.toml"),
        ("call.persona", "free"),
        ("money.per_day", "0.05"),
        ("limits.token", "100/60s"),
        ("guard.threshold", "1"),
    ]);
    let settings = [("alerts.budget_percent", "20"), ("alerts.blocks", "2")];
    let desk = Desk::open(&settings).await;
    let broker = &test.app.state().broker;
    desk.judge(&test).await;
    let answer = spend(&test).await;
    desk.judge(&test).await;
    assert_eq!(desk.told(1).await, [pair("budget", "firing")]);

    test.calls.fail_hang_up(UpstreamError::TimedOut);
    let (path, ticket) = ("location", "x-call-token");
    let path = answer.header(path).unwrap().to_owned() + "/hangup";
    let ended = test.post(&path).bearer(answer.header(ticket).unwrap());
    assert!(ended.send().await.status < 300);
    broker.take_stock().await;
    desk.judge(&test).await;
    desk.told(1).await;
    test.advance(119);
    desk.judge(&test).await;
    desk.told(1).await;
    test.advance(1);
    desk.judge(&test).await;
    assert_eq!(desk.told(2).await[1], pair("hang_ups_owed", "firing"));

    for address in ["198.51.100.1", "198.51.100.2"] {
        for _ in 0..4 {
            let call = test.post("/token").from(address);
            call.body("application/json", "{").send().await;
        }
    }
    desk.judge(&test).await;
    assert_eq!(desk.told(3).await[2], pair("blocks", "firing"));
}

#[tokio::test]
async fn while_nothing_can_be_written_each_replica_tells_for_itself() {
    let (test, ledger) = fragile("");
    let desk = Desk::open(&[]).await;
    ledger.fail(true, true);
    desk.judge(&test).await;
    for _ in 0..3 {
        test.advance(60);
        desk.judge(&test).await;
    }
    assert_eq!(desk.told(1).await, [pair("ledger", "firing")]);
    ledger.fail(false, false);
    desk.judge(&test).await;
    assert_eq!(desk.told(2).await[1], pair("ledger", "resolved"));
}

#[tokio::test]
async fn a_message_that_is_not_taken_is_sent_again() {
    let test = TestApp::new();
    let desk = Desk::with(Arc::<ManualClock>::clone(&test.clock), &[]).await;
    desk.receiver.refuse(2);
    reject_the_key(&test).await;
    desk.judge(&test).await;
    test.advance(60);
    desk.judge(&test).await;
    for wait in [2, 10] {
        test.clock
            .awaited(std::time::Duration::from_secs(wait))
            .await;
        test.advance(wait);
    }
    assert_eq!(desk.told(1).await, [pair("key_rejected", "firing")]);
}

fn notice() -> Notice {
    Notice {
        alert: "budget",
        is_over: false,
        is_critical: false,
        summary: "81 % of money.per_day is spent".to_owned(),
        runbook: "docs/runbook.md#brokerbudgetnearlyspent",
        at: Timestamp::from_seconds(7),
    }
}

#[tokio::test]
async fn messages_have_the_form_of_slack_of_ntfy_or_of_generic_json() {
    let line = "[FIRING] token-broker budget: 81 % of money.per_day is spent (docs/runbook.md#brokerbudgetnearlyspent)";
    let json = json!({
        "alert": "budget", "state": "firing", "severity": "warning", "timestamp": 7000,
        "summary": "81 % of money.per_day is spent", "runbook": "docs/runbook.md#brokerbudgetnearlyspent",
    });
    for (format, expected) in [
        ("auto", json.clone()),
        ("json", json),
        ("slack", json!({ "text": line })),
    ] {
        let desk = Desk::open(&[("alerts.format", format)]).await;
        desk.webhook.send(&notice()).await.unwrap();
        let message = desk.receiver.messages().pop().unwrap();
        assert_eq!(message.headers["content-type"], "application/json");
        let said: Value = serde_json::from_str(&message.text).unwrap();
        assert_eq!(said, expected, "{format}");
    }
    let desk = Desk::open(&[("alerts.format", "ntfy")]).await;
    desk.webhook.send(&notice()).await.unwrap();
    let message = desk.receiver.messages().pop().unwrap();
    assert_eq!(message.text, line);
    for (name, value) in [
        ("title", "token-broker budget"),
        ("priority", "high"),
        ("tags", "warning"),
    ] {
        assert_eq!(message.headers[name], value);
    }
}

#[tokio::test]
async fn the_address_is_a_secret_and_no_error_or_setting_shows_it() {
    let desk = Desk::open(&[]).await;
    desk.receiver.refuse(1);
    let refused = desk.webhook.send(&notice()).await.unwrap_err();
    assert!(matches!(refused, Unserved::Refused(_)));
    let settings = [("alerts.webhook", "http://127.0.0.1:1/hook-with-a-secret")];
    let config = Config::from_pairs(Mode::Dev, &settings).unwrap();
    let clock = Arc::new(SystemClock::new());
    let webhook = Webhook::new(&config.alerts, &Way::default(), clock).unwrap();
    let unreachable = webhook.unwrap().send(&notice()).await.unwrap_err();
    let texts = format!("{refused:?} {unreachable:?} {unreachable} {config:?}");
    assert!(!texts.contains("with-a-secret"), "{texts}");
}

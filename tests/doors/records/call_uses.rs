//! What every kind promises of what calls use: each response counts once, in the call and in the reports.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use token_broker::domain::{
    Amount, Call, CallStep, CallUse, Dial, EndReason, Mark, Money, Tokens, Usage, Used,
};
use token_broker::records::{By, CallSums, Records, Sums, UsageQuery, UsageRow, postgres};

use super::calls::{MANY, change, dial, find, running, use_of};
use super::kinds::{
    Folder, START, Subject, TIMEOUT, account, clock, each, minted, postgres_at, settled, sqlite_at,
};
use super::sessions::{somebody, verified};
use crate::kit::postgres::empty_database;

pub fn response(id: &str) -> CallUse {
    let tokens = |text, audio| Tokens {
        text,
        audio,
        image: 0,
    };
    CallUse {
        id: id.into(),
        is_turn: true,
        model: "gpt-realtime-2.1".into(),
        mark: Mark::Measured,
        usage: Usage {
            fresh: tokens(14, 27),
            cached: tokens(64, 0),
            output: tokens(28, 136),
            transcribed: Duration::ZERO,
        },
        cost: Money::from_nanos(10_296_000),
    }
}

fn transcription(id: &str) -> CallUse {
    CallUse {
        id: id.into(),
        is_turn: false,
        model: "gpt-realtime-whisper".into(),
        mark: Mark::Estimated,
        usage: Usage {
            transcribed: Duration::from_millis(2_800),
            ..Usage::default()
        },
        cost: Money::from_nanos(793_334),
    }
}

async fn used(records: &dyn Records, call: &Call, more: CallUse) -> Call {
    records.use_call(call.entry, more).await.unwrap().unwrap()
}

/// The sums over all use.
async fn sums(records: &dyn Records) -> Vec<Sums> {
    let query = UsageQuery {
        by: By::Persona,
        since: START,
        most: 10,
    };
    let rows = records.usage(query).await.unwrap();
    rows.into_iter().map(|row| row.sums).collect()
}

#[tokio::test]
async fn mo7_a_response_counts_once_however_often_it_is_seen() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let call = running(records, &somebody(), "a").await;
        let once = used(records, &call, response("resp_1")).await;
        assert_eq!(once.revision, call.revision + 1, "{name}");
        let again = used(records, &call, response("resp_1")).await;
        assert_eq!(again, once, "{name}");
        used(records, &call, transcription("item_1")).await;
        let model = async |id| records.model_of_use(call.entry, id).await.unwrap();
        assert_eq!(
            model("item_1").await.as_deref(),
            Some("gpt-realtime-whisper"),
            "{name}"
        );
        assert_eq!(model("item_2").await, None, "{name}");
        let all = used(records, &call, response("resp_2")).await;
        let (response, transcription) = (response(""), transcription(""));
        let expected = Used {
            turns: 2,
            seconds: 0,
            usage: response.usage + response.usage + transcription.usage,
            cost: Money::from_nanos(2 * 10_296_000 + 793_334),
            estimated: Money::from_nanos(793_334),
        };
        assert_eq!(all.used, expected, "{name}");
        assert_eq!(find(records, "a").await, Some(all), "{name}");
    })
    .await;
}

#[tokio::test]
async fn live_calls_are_summed_up_and_those_that_ended_are_only_counted() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let none = records.sum_up_calls().await.unwrap();
        assert_eq!(none, CallSums::default(), "{name}");
        let ana = verified(account("ana"));
        let held = Dial {
            want: Amount {
                seconds: 60,
                money: Money::from_nanos(30_000_000),
            },
            ..dial(&ana)
        };
        let opened = records.open_call(use_of(&ana), held, MANY).await.unwrap();
        used(records, &opened, response("resp_1")).await;
        used(records, &opened, transcription("item_1")).await;
        let over = running(records, &somebody(), "b").await;
        used(records, &over, response("resp_1")).await;
        change(records, &over, CallStep::Over(EndReason::Provider)).await;
        let expected = CallSums {
            listed: 2,
            live: 1,
            nanodollars: 10_296_000 + 793_334,
            estimated_nanodollars: 793_334,
            held_nanodollars: 30_000_000,
        };
        let summed = records.sum_up_calls().await.unwrap();
        assert_eq!(summed, expected, "{name}");
    })
    .await;
}

#[tokio::test]
async fn reports_sum_up_what_calls_used_until_it_is_erased() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let (ana, ben) = (verified(account("ana")), verified(account("ben")));
        let (one, two) = (
            running(records, &ana, "a").await,
            running(records, &ben, "b").await,
        );
        for call in [&one, &two] {
            used(records, call, response("resp_1")).await;
            used(records, call, transcription("item_1")).await;
            records.settle(settled(call.entry, minted())).await.unwrap();
        }
        let get = |sums: &[Sums], name| sums.iter().map(|sums| sums.get(name)).sum::<u64>();
        let all = sums(records).await;
        let expected = [
            ("sessions", 2),
            ("calls", 2),
            ("turns", 2),
            ("fresh_text", 28),
            ("fresh_audio", 54),
            ("cached_text", 128),
            ("output_text", 56),
            ("output_audio", 272),
            ("transcribed_ms", 5_600),
            ("nanodollars", 2 * (10_296_000 + 793_334)),
            ("estimated_nanodollars", 2 * 793_334),
        ];
        for (measure, value) in expected {
            assert_eq!(get(&all, measure), value, "{name} {measure}");
        }
        records.erase(&account("ana")).await.unwrap();
        let late = used(records, &one, response("resp_2")).await;
        assert_eq!(late.account, None, "{name}");
        let left = sums(records).await;
        for (measure, value) in expected {
            assert_eq!(get(&left, measure), value / 2, "{name} {measure}");
        }
        let later = START.plus(Duration::from_hours(1));
        assert_eq!(records.forget(later).await.unwrap(), 1, "{name}");
        assert!(sums(records).await.is_empty(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_report_by_model_says_what_was_measured_and_what_was_estimated() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let (ana, ben) = (verified(account("ana")), verified(account("ben")));
        let (one, two) = (
            running(records, &ana, "a").await,
            running(records, &ben, "b").await,
        );
        for id in ["resp_1", "resp_2"] {
            used(records, &one, response(id)).await;
        }
        used(records, &two, response("resp_1")).await;
        used(records, &two, transcription("item_1")).await;
        let report = async |since| {
            let (by, most) = (By::Model, 10);
            let query = UsageQuery { by, since, most };
            records.usage(query).await.unwrap()
        };
        let shown = |row: &UsageRow| {
            let measures = ["calls", "turns", "nanodollars", "estimated_nanodollars"];
            let named = [row.model.clone().unwrap(), row.mark.clone().unwrap()];
            (
                named.join(" "),
                measures.map(|measure| row.sums.get(measure)),
            )
        };
        let rows: Vec<_> = report(START).await.iter().map(shown).collect();
        let expected = [
            (
                "gpt-realtime-2.1 measured".to_owned(),
                [2, 3, 3 * 10_296_000, 0],
            ),
            (
                "gpt-realtime-whisper estimated".to_owned(),
                [1, 0, 793_334, 793_334],
            ),
        ];
        assert_eq!(rows, expected, "{name}");
        let tomorrow = START.plus(Duration::from_hours(24));
        assert!(report(tomorrow).await.is_empty(), "{name}");
        records.erase(&account("ben")).await.unwrap();
        let rows = report(START).await;
        assert_eq!(shown(&rows[0]).1, [1, 2, 2 * 10_296_000, 0], "{name}");
        assert_eq!(rows.len(), 1, "{name}");
    })
    .await;
}

#[tokio::test]
async fn the_seconds_of_a_call_are_reported_when_it_is_over() {
    each(async |subject| {
        let (name, records) = (subject.name, &*subject.ledger);
        let call = running(records, &somebody(), "a").await;
        let joined = change(records, &call, CallStep::Joined).await.unwrap();
        subject.tick().await;
        let over = CallStep::Over(EndReason::Provider);
        let over = change(records, &joined, over).await.unwrap();
        assert_eq!(over.used.seconds, 1, "{name}");
        assert_eq!(find(records, "a").await, Some(over), "{name}");
        assert_eq!(sums(records).await[0].get("seconds"), 1, "{name}");
    })
    .await;
}

#[tokio::test]
async fn sd18_uses_that_two_replicas_have_seen_are_entered_once() {
    let url = empty_database().await;
    let one = postgres_at(&url).await;
    let two: Arc<dyn Records> = Arc::new(postgres::open(&url, clock(), TIMEOUT).await.unwrap());
    let call = running(&*one, &somebody(), "a").await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..100 {
        let records = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let (entry, more) = (call.entry, response(&format!("resp_{}", number / 4)));
        writers.spawn(async move { records.use_call(entry, more).await.unwrap() });
    }
    writers.join_all().await;
    let found = find(&*two, "a").await.unwrap();
    assert_eq!(found.used.turns, 25);
    assert_eq!(found.used.cost, Money::from_nanos(25 * 10_296_000));
    assert_eq!(found.revision, call.revision + 25);
    assert_eq!(sums(&*one).await[0].get("turns"), 25);
    let models = by_model(&*two).await;
    let models: Vec<_> = models.iter().map(|row| row.sums).collect();
    assert_eq!(models.len(), 1);
    assert_eq!((models[0].get("calls"), models[0].get("turns")), (1, 25));
}

async fn by_model(records: &dyn Records) -> Vec<UsageRow> {
    let (by, since, most) = (By::Model, START, 10);
    let query = UsageQuery { by, since, most };
    records.usage(query).await.unwrap()
}

/// Two calls of two models, one of whose uses is estimated.
async fn fill(records: &dyn Records) -> Vec<UsageRow> {
    for name in ["a", "b"] {
        let call = running(records, &somebody(), name).await;
        for more in [response("1"), response("2"), transcription("3")] {
            used(records, &call, more).await;
        }
    }
    by_model(records).await
}

/// Takes the schema back to the version before the sums by model.
const BACK: &str = "DROP TABLE announcements; \
    DROP VIEW realtime_token_usage; DROP VIEW daily_usage; DROP TABLE daily_models; ";

#[tokio::test]
async fn a_migration_sums_up_by_model_what_was_used_before_it() {
    let folder = Folder::new();
    let file = sqlite_at(&folder).await;
    let before = fill(&*file).await;
    file.close().await;
    let options = SqliteConnectOptions::new().filename(folder.file());
    let mut connection = options.connect().await.unwrap();
    let back = sqlx::AssertSqlSafe(format!("{BACK} PRAGMA user_version = 9"));
    sqlx::raw_sql(back).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let file = sqlite_at(&folder).await;
    assert_eq!(by_model(&*file).await, before);
    file.close().await;

    let url = empty_database().await;
    let server = postgres_at(&url).await;
    let before = fill(&*server).await;
    server.close().await;
    let options: PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let back = format!(
        "SET search_path = token_broker; {BACK} DELETE FROM ledger_schema WHERE version >= 10"
    );
    let back = sqlx::raw_sql(sqlx::AssertSqlSafe(back));
    back.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let server = postgres_at(&url).await;
    assert_eq!(by_model(&*server).await, before);
    server.close().await;
}

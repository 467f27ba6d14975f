//! What the provider bills, beside what the ledger says.

use std::time::Duration;

use serde_json::{Value, json};
use token_broker::clock::{Clock, SystemClock, Timestamp};
use token_broker::domain::{Money, day_of};
use token_broker::simulator::Simulator;

use super::ledger_file::Books;
use crate::kit::executable::{Ended, Launch};
use crate::kit::provider::{KEY, simulator};

/// The beginning of the UTC day so many days ago.
fn ago(days: u64) -> Timestamp {
    let now = SystemClock::new().now();
    now.minus(Duration::from_hours(24 * days)).start_of_day()
}

fn money(dollars: &str) -> Money {
    Money::parse(dollars).unwrap()
}

/// Writes down that a model cost so much in a call of that day, as sums of days.
async fn note(books: &Books, day: Timestamp, model: &str, dollars: &str) {
    let noon = day.plus(Duration::from_hours(12));
    let statement = "INSERT INTO daily_models (day, model, mark, calls, turns, seconds, fresh_text, fresh_audio, fresh_image, \
         cached_text, cached_audio, cached_image, output_text, output_audio, transcribed_ms, nanodollars, \
         estimated_nanodollars, last_at) VALUES ($1, $2, 'measured', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, $3, 0, $4)";
    let written = sqlx::query(statement)
        .bind(day_of(day))
        .bind(model)
        .bind(money(dollars).as_nanos())
        .bind(i64::try_from(noon.as_millis()).unwrap())
        .execute(&mut books.open().await)
        .await;
    assert_eq!(written.unwrap().rows_affected(), 1);
}

/// A ledger of the last days, in which three days cost something.
async fn kept(simulator: &Simulator) -> Books {
    let books = Books::new();
    books.launch(simulator).start().await.stop().await;
    note(&books, ago(40), "gpt-realtime-2.1", "2.00").await;
    note(&books, ago(2), "gpt-realtime-2.1", "1.50").await;
    note(&books, ago(1), "gpt-realtime-2.1", "0.75").await;
    note(&books, ago(0), "gpt-realtime-2.1", "9.00").await;
    books
}

fn reconcile(books: &Books, simulator: &Simulator, extra: &[&str]) -> Launch {
    let arguments = [&["reconcile", "--config", "settings.toml"], extra].concat();
    books
        .of(&arguments)
        .env("OPENAI_BASE_URL", &simulator.base_url())
        .env("OPENAI_ADMIN_KEY", &format!("{KEY}-admin"))
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"))
}

#[tokio::test]
async fn money_that_agrees_is_fine_on_every_page_of_the_bill_and_today_is_not_compared() {
    let simulator = simulator(&[]).await;
    let books = kept(&simulator).await;
    for (days, item, dollars) in [
        (40, "gpt-realtime-2.1-2026-05-01, audio input", "2.00"),
        (2, "gpt-realtime-2.1, audio input", "1.00"),
        (2, "gpt-realtime-2.1, audio output", "0.502"),
        (1, "gpt-realtime-2.1, audio output", "0.75"),
        (1, "gpt-5, output", "3.00"),
        (0, "gpt-realtime-2.1, audio output", "0.10"),
    ] {
        simulator.bill(ago(days), item, money(dollars));
    }
    let ended = reconcile(&books, &simulator, &["--since", "45d", "--json"]);
    let ended = ended.finish().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = report(&ended);
    let row = |days: u64, ledger: &str, provider: &str, difference: &str| {
        json!({
            "day": day_of(ago(days)), "model": "gpt-realtime-2.1", "ledger": ledger, "provider": provider,
            "difference": difference, "differs": false,
        })
    };
    let rows = json!([
        row(40, "2.00", "2.00", "0.00"),
        row(2, "1.50", "1.502", "0.002"),
        row(1, "0.75", "0.75", "0.00"),
    ]);
    assert_eq!(report["rows"], rows, "{report}");
    assert_eq!(
        (&report["ok"], &report["other_items"]),
        (&json!(true), &json!("3.00"))
    );
    let ended = reconcile(&books, &simulator, &[]).finish().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("agrees") && !ended.out.contains("differs"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn money_that_differs_is_named_by_day_and_model_with_exit_code_1() {
    let simulator = simulator(&[]).await;
    let books = kept(&simulator).await;
    for (days, dollars) in [(2, "1.50"), (1, "1.75")] {
        simulator.bill(ago(days), "gpt-realtime-2.1, audio output", money(dollars));
    }
    let ended = reconcile(&books, &simulator, &["--json"]).finish().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report = report(&ended);
    assert_eq!(report["ok"], false);
    let differing = report["rows"].as_array().unwrap().iter();
    let differing: Vec<_> = differing.filter(|row| row["differs"] == true).collect();
    assert_eq!(differing.len(), 1, "{report}");
    assert_eq!(differing[0]["day"], day_of(ago(1)));
    assert_eq!(differing[0]["difference"], "1.00");
    let loose = ["--percent", "60"];
    let ended = reconcile(&books, &simulator, &loose).finish().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = reconcile(&books, &simulator, &[]).finish().await;
    assert!(
        ended.out.contains("differs") && ended.out.contains("direct mode"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn without_a_good_admin_key_it_says_so_and_shows_no_key() {
    let simulator = simulator(&[]).await;
    let books = kept(&simulator).await;
    for (key, code, says) in [
        ("", 78, "upstream.admin_key"),
        ("sk-admin-canary", 1, "upstream.admin_key"),
        (KEY, 1, "upstream.admin_key"),
    ] {
        let launch = reconcile(&books, &simulator, &[]).env("OPENAI_ADMIN_KEY", key);
        let ended = launch.finish().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.err.contains(says), "{ended:?}");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
    let ended = reconcile(&books, &simulator, &["--since", "1h"])
        .finish()
        .await;
    assert!(
        ended.code == Some(1) && ended.err.contains("--since"),
        "{ended:?}"
    );
}

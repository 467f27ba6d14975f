//! The views for dashboards of others, asked with the queries that people wrote for a table of that name.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use token_broker::clock::{Clock, SystemClock, Timestamp};
use token_broker::domain::{Kind, day_of};
use token_broker::records::Records;

use super::kinds::{FAILED, Folder, mint, minted, postgres_at, settled, sqlite_at};
use crate::kit::postgres::empty_database;

const BY_ROLE: &str = "SELECT \n  DATE(created_at) as date,\n  role,\n  COUNT(*) as token_count\n\
    FROM realtime_token_usage\nGROUP BY DATE(created_at), role\nORDER BY date DESC";
const TOP_USERS: &str = "SELECT \n  user_id,\n  COUNT(*) as session_count,\n  MAX(created_at) as last_session\n\
    FROM realtime_token_usage\nWHERE created_at > NOW() - INTERVAL '7 days'\n\
    GROUP BY user_id\nORDER BY session_count DESC\nLIMIT 10";
const OF_THE_LAST_HOUR: &str = "SELECT created_at FROM realtime_token_usage \
    WHERE user_id = 'ana' AND created_at >= NOW() - INTERVAL '1 hour'";
const DAILY: &str = "SELECT CAST(day AS TEXT), role, CAST(sessions AS BIGINT), CAST(refreshes AS BIGINT), \
    CAST(tokens_in AS BIGINT), CAST(dollars * 100 AS BIGINT), CAST(estimated_dollars * 100 AS BIGINT) \
    FROM daily_usage ORDER BY day, role";
/// What calls cost, as their use is summed up.
const SPEND: &str = "UPDATE daily SET fresh_text = 3, fresh_audio = 4, nanodollars = 1500000000, \
    estimated_nanodollars = 500000000";

/// The statements of the documentation that give a role the views.
fn documented() -> &'static str {
    let text = include_str!("../../../docs/operating.md");
    let mut blocks = text.split("```sql\n").skip(1);
    let block = blocks.find(|block| block.contains("CREATE ROLE dashboard"));
    block.unwrap().split("```").next().unwrap()
}

/// Two uses of ana today, one of them a refresh; one of ben eight days ago; one that failed.
async fn fill(ledger: &dyn Records, now: Timestamp) {
    let mut refresh = mint("ana", now);
    refresh.kind = Kind::Refresh;
    for (intent, outcome) in [
        (mint("ana", now), minted()),
        (refresh, minted()),
        (mint("ben", long_before(now)), minted()),
        (mint("ana", now), FAILED),
    ] {
        ledger.reserve(intent.clone()).await.unwrap();
        ledger.settle(settled(intent.id, outcome)).await.unwrap();
    }
}

fn long_before(now: Timestamp) -> Timestamp {
    now.minus(Duration::from_hours(24 * 8))
}

type Daily = (String, String, i64, i64, i64, i64, i64);

/// What `DAILY` answers.
fn daily(now: Timestamp) -> [Daily; 2] {
    let row = |day, refreshes| (day_of(day), "student".into(), 1, refreshes, 7, 150, 50);
    [row(long_before(now), 0), row(now, 1)]
}

/// Asks for texts and numbers: the dates of databases have types of their own.
macro_rules! ask {
    ($connection:expr, $columns:literal, $query:expr) => {
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            concat!("SELECT ", $columns, " FROM ({}) AS asked"),
            $query
        )))
        .fetch_all(&mut $connection)
        .await
        .unwrap()
    };
}

#[tokio::test]
async fn the_queries_of_other_dashboards_are_answered_by_postgresql_for_a_role_that_has_the_views_alone()
 {
    let url = empty_database().await;
    let (ledger, now) = (postgres_at(&url).await, SystemClock::new().now());
    fill(&*ledger, now).await;
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([("search_path", "token_broker"), ("timezone", "UTC")]);
    let mut owner = options.connect().await.unwrap();
    sqlx::raw_sql(documented())
        .execute(&mut owner)
        .await
        .unwrap();
    sqlx::raw_sql(SPEND).execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();

    let options = options.username("dashboard").password("…");
    let mut reader = options.connect().await.unwrap();
    let days: Vec<(String, i64)> = ask!(reader, "CAST(date AS TEXT), token_count", BY_ROLE);
    assert_eq!(days, [(day_of(now), 2), (day_of(long_before(now)), 1)]);
    let users: Vec<(String, i64)> = ask!(reader, "user_id, session_count", TOP_USERS);
    assert_eq!(users, [("ana".to_owned(), 2)]);
    let recent: Vec<(i64,)> = ask!(reader, "COUNT(*)", OF_THE_LAST_HOUR);
    assert_eq!(recent, [(2,)]);
    let rows: Vec<Daily> = sqlx::query_as(DAILY).fetch_all(&mut reader).await.unwrap();
    assert_eq!(rows, daily(now));
    for theirs in ["SELECT FROM entries", "DELETE FROM realtime_token_usage"] {
        let refused = sqlx::raw_sql(theirs)
            .execute(&mut reader)
            .await
            .unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap();
        assert_eq!(code, "42501", "{theirs}");
    }
    reader.close().await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn the_queries_of_other_dashboards_are_answered_by_sqlite() {
    let folder = Folder::new();
    let (ledger, now) = (sqlite_at(&folder).await, SystemClock::new().now());
    fill(&*ledger, now).await;
    let options = SqliteConnectOptions::new().filename(folder.file());
    let mut owner = options.connect().await.unwrap();
    sqlx::raw_sql(SPEND).execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();

    let mut reader = options.read_only(true).connect().await.unwrap();
    let days: Vec<(String, i64)> = ask!(reader, "CAST(date AS TEXT), token_count", BY_ROLE);
    assert_eq!(days, [(day_of(now), 2), (day_of(long_before(now)), 1)]);
    // SQLite spells moments before now in its own way.
    let week = TOP_USERS.replace("NOW() - INTERVAL '7 days'", "datetime('now', '-7 days')");
    let users: Vec<(String, i64)> = ask!(reader, "user_id, session_count", week);
    assert_eq!(users, [("ana".to_owned(), 2)]);
    let hour = OF_THE_LAST_HOUR.replace("NOW() - INTERVAL '1 hour'", "datetime('now', '-1 hour')");
    let recent: Vec<(i64,)> = ask!(reader, "COUNT(*)", hour);
    assert_eq!(recent, [(2,)]);
    let rows: Vec<Daily> = sqlx::query_as(DAILY).fetch_all(&mut reader).await.unwrap();
    assert_eq!(rows, daily(now));
    reader.close().await.unwrap();
    ledger.close().await;
}

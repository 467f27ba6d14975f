//! Where the tables stand in a database that others use too, and who may read them.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use token_broker::records::{By, Records, UsageQuery, postgres};

use super::kinds::{START, TIMEOUT, account, clock, mint, postgres_at};
use crate::kit::postgres::empty_database;

/// A database as generous as those are whose tables an API serves, with a table that is called like one of ours.
const GENEROUS: &str = "CREATE ROLE stranger LOGIN; \
    GRANT ALL ON SCHEMA public TO PUBLIC; \
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; \
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC; \
    CREATE TABLE public.entries (theirs TEXT)";

async fn number(connection: &mut PgConnection, question: &'static str) -> i64 {
    let asked = sqlx::query_scalar(question).fetch_one(connection);
    asked.await.unwrap()
}

#[tokio::test]
async fn nothing_of_ours_is_in_public_and_nobody_without_a_grant_can_read_it() {
    let url = empty_database().await;
    let options: PgConnectOptions = url.parse().unwrap();
    let mut owner = options.connect().await.unwrap();
    sqlx::raw_sql(GENEROUS).execute(&mut owner).await.unwrap();
    let ledger = postgres_at(&url).await;
    ledger.reserve(mint("ana", START)).await.unwrap();

    let in_public = "SELECT COUNT(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(number(&mut owner, in_public).await, 1, "theirs alone");
    let ours = "SELECT COUNT(*) FROM token_broker.entries";
    assert_eq!(number(&mut owner, ours).await, 1);
    let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'token_broker'";
    assert_eq!(number(&mut owner, tables).await, 16);

    let mut stranger = options
        .clone()
        .username("stranger")
        .connect()
        .await
        .unwrap();
    let asked = sqlx::query(ours).execute(&mut stranger).await.unwrap_err();
    let code = asked
        .as_database_error()
        .unwrap()
        .code()
        .unwrap()
        .into_owned();
    assert_eq!(code, "42501", "insufficient_privilege: {asked}");
    let theirs = "SELECT COUNT(*) FROM entries";
    assert_eq!(
        number(&mut stranger, theirs).await,
        0,
        "it may read what is public"
    );

    let query = UsageQuery {
        by: By::User,
        since: START,
        most: 10,
    };
    let reader = postgres::open_for_reading(&url, clock(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(reader.usage(query).await.unwrap().len(), 1);
    reader.close().await;
    stranger.close().await.unwrap();
    owner.close().await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_search_path_in_the_url_changes_nothing() {
    let url = empty_database().await;
    let public = format!("{url}?options=-c%20search_path%3Dpublic");
    let ledger = postgres_at(&public).await;
    ledger.reserve(mint("ana", START)).await.unwrap();
    assert_eq!(ledger.recent(START).await.unwrap().len(), 1);
    ledger.close().await;
}

#[tokio::test]
async fn an_entry_of_a_kind_that_this_version_does_not_know_is_left_out_of_the_recent_ones() {
    let url = empty_database().await;
    let ledger = postgres_at(&url).await;
    let (known, other) = (mint("ana", START), mint("ben", START));
    let id = other.id.to_string();
    ledger.reserve(known).await.unwrap();
    ledger.reserve(other).await.unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let changed = "UPDATE token_broker.entries SET kind = 'preview' WHERE id = $1";
    let changed = sqlx::query(changed).bind(id).execute(&mut connection).await;
    assert_eq!(changed.unwrap().rows_affected(), 1);
    let recent = ledger.recent(START).await.unwrap();
    let accounts: Vec<_> = recent.into_iter().map(|recent| recent.account).collect();
    assert_eq!(accounts, [Some(account("ana"))]);
    ledger.close().await;
}

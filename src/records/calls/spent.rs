//! Reads from a database what was spent and what is held, where a budget limits it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::purses::{Asked, Key, key};
use crate::clock::Timestamp;
use crate::domain::{Account, Amount, Money, Party, Period, Purse, day_of};
use crate::records::book::Book;
use crate::records::command::Paid;
use crate::records::database::{Connection, Fault, page};
use crate::records::statement::Statement;

/// A purse that has a limit in a period. Callers without identity have no name.
#[derive(Serialize)]
struct LimitedRow {
    /// The owner of the purse. Of a purse that many share, one of them.
    party: String,
    issuer: String,
    subject: String,
    purse: &'static str,
    period: &'static str,
    /// The first day of the period.
    since: String,
}

/// The columns of [`LimitedRow`].
const LIMITED: &str = "party text, issuer text, subject text, purse text, period text, since text";

/// Sums up what the purses on the page have spent.
static SPENT: Statement = Statement::list(
    LIMITED,
    "party, purse, period, seconds, nanodollars",
    "SELECT party, purse, period, CAST(SUM(seconds) AS BIGINT) AS seconds, \
     CAST(SUM(nanodollars) AS BIGINT) AS nanodollars FROM page \
     JOIN accounts ON accounts.issuer = page.issuer AND accounts.subject = page.subject \
     JOIN daily_accounts ON daily_accounts.account = accounts.account AND day >= since \
     WHERE purse <> 'everybody' GROUP BY party, purse, period \
     UNION ALL SELECT party, purse, period, CAST(SUM(seconds) AS BIGINT) AS seconds, \
     CAST(SUM(nanodollars) AS BIGINT) AS nanodollars FROM page JOIN daily ON day >= since \
     WHERE purse = 'everybody' GROUP BY party, purse, period",
);

/// Sums up what is held for live calls beyond what they used: of the owners on the page by the index, and of callers without
/// identity and of everybody in one pass each, however many owners are on the page.
static HELD: Statement = Statement::list(
    LIMITED,
    "party, purse, seconds, nanodollars",
    "SELECT held.party AS party, purse, CAST(SUM(held_seconds) AS BIGINT) AS seconds, \
     CAST(SUM(CASE WHEN held_nanodollars > COALESCE(nanodollars, 0) \
     THEN held_nanodollars - COALESCE(nanodollars, 0) ELSE 0 END) AS BIGINT) AS nanodollars \
     FROM (SELECT asked.party AS party, purse, entry, held_seconds, held_nanodollars \
     FROM (SELECT DISTINCT party, purse FROM page) AS asked JOIN calls ON calls.party = asked.party \
     AND state <> 'ended' AND (state <> 'lost' OR deadline_at > {now}) WHERE purse = 'owner' \
     UNION ALL SELECT asked.party AS party, purse, entry, held_seconds, held_nanodollars \
     FROM (SELECT DISTINCT party, purse FROM page) AS asked JOIN calls ON (purse = 'everybody' OR calls.party LIKE 'n%') \
     AND state <> 'ended' AND (state <> 'lost' OR deadline_at > {now}) WHERE purse <> 'owner') AS held \
     LEFT JOIN {sums} ON id = entry GROUP BY held.party, purse",
);

#[derive(Deserialize)]
struct AmountRow {
    party: String,
    purse: Box<str>,
    period: Option<Box<str>>,
    seconds: u64,
    nanodollars: i64,
}

impl AmountRow {
    fn owner_and_purse(&self) -> Option<(Party, Purse)> {
        let purses = [Purse::Owner, Purse::Anonymous, Purse::Everybody];
        let purse = purses.into_iter().find(|one| *one.as_str() == *self.purse);
        Party::parse(&self.party).zip(purse)
    }

    fn period(&self) -> Option<Period> {
        let period = self.period.as_deref()?;
        Period::ALL.into_iter().find(|one| one.as_str() == period)
    }

    const fn amount(&self) -> Amount {
        Amount {
            seconds: self.seconds,
            money: Money::from_nanos(self.nanodollars),
        }
    }
}

/// Reads what was spent and is held, as far as the commands have budgets.
pub(super) async fn read(
    connection: &mut dyn Connection,
    book: &mut Book,
    (commands, now): (&[&Paid], Timestamp),
) -> Result<(), Fault> {
    let mut limited = BTreeMap::new();
    for command in commands {
        match command {
            Paid::OpenCall(dialled) => limit(&mut limited, &dialled.asked(), now),
            Paid::Spend(entry, spending) => {
                if let Some((call, top_up)) = book.calls.get(entry).zip(spending.top_up) {
                    limit(&mut limited, &top_up.asked(call), now);
                }
            }
            _ => {}
        }
    }
    if limited.is_empty() {
        return Ok(());
    }
    let limited: Vec<_> = limited.into_values().collect();
    let limited = [page(&limited)?, now.into()];
    let held: Vec<AmountRow> = connection.rows(&HELD, &limited).await?;
    for row in &held {
        if let Some((owner, purse)) = row.owner_and_purse() {
            book.purses.note_held(purse, owner, row.amount());
        }
    }
    let spent: Vec<AmountRow> = connection.rows(&SPENT, &limited[..1]).await?;
    for row in &spent {
        if let Some(((owner, purse), period)) = row.owner_and_purse().zip(row.period()) {
            book.purses.note_spent((purse, period), owner, row.amount());
        }
    }
    Ok(())
}

fn limit(limited: &mut BTreeMap<(Key, Period), LimitedRow>, asked: &Asked<'_>, now: Timestamp) {
    let named = |pick: fn(&Account) -> &str| asked.account.map_or("", pick).to_owned();
    for (purse, period, _) in asked.budgets.limits(asked.is_anonymous()) {
        let row = LimitedRow {
            party: asked.owner.to_text(),
            issuer: named(|account| &account.issuer),
            subject: named(|account| &account.subject),
            purse: purse.as_str(),
            period: period.as_str(),
            since: day_of(period.start(now)),
        };
        limited.insert((key(purse, asked.owner), period), row);
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions, Row};

    use super::super::rows::TAKEN;
    use super::*;
    use crate::domain::{Budget, Budgets, Limit, Network};

    /// How SQLite carries a statement out, with a line for each table that it reads.
    async fn plan(statement: &'static Statement) -> Vec<String> {
        let mut database = SqliteConnectOptions::new()
            .in_memory(true)
            .connect()
            .await
            .unwrap();
        for script in [
            include_str!("../migrations/sqlite/1_entries.sql"),
            include_str!("../migrations/sqlite/2_sums.sql"),
            include_str!("../migrations/sqlite/3_sessions.sql"),
            include_str!("../migrations/sqlite/4_sessions.sql"),
            include_str!("../migrations/sqlite/5_calls.sql"),
            include_str!("../migrations/sqlite/6_tickets.sql"),
            include_str!("../migrations/sqlite/7_estimated.sql"),
        ] {
            sqlx::raw_sql(script).execute(&mut database).await.unwrap();
        }
        let words = format!("EXPLAIN QUERY PLAN {}", statement.sqlite());
        let steps = sqlx::query(AssertSqlSafe(words)).bind("[]").bind(0_i64);
        let steps = steps.fetch_all(&mut database).await.unwrap();
        steps.iter().map(|step| step.get("detail")).collect()
    }

    #[tokio::test]
    async fn live_calls_are_read_by_their_owner_and_once_for_everybody_however_many_owners_ask() {
        for statement in [&HELD, &TAKEN] {
            let plan = plan(statement).await;
            let number = |step: &str| plan.iter().filter(|line| line.starts_with(step)).count();
            let by_owner = "SEARCH calls USING INDEX calls_live (party=?)";
            assert_eq!(number(by_owner), 1, "{plan:#?}");
            assert_eq!(number("SCAN calls"), 1, "{plan:#?}");
        }
        let some = Limit {
            seconds: Some(60),
            money: None,
        };
        let daily = Budget {
            day: some,
            ..Budget::default()
        };
        let budgets = Budgets {
            own: daily,
            everybody: daily,
        };
        let mut limited = BTreeMap::new();
        for number in 0..3 {
            let asked = Asked {
                owner: Party::Network(Network::around([10, number, 0, 1].into())),
                account: None,
                budgets,
            };
            limit(&mut limited, &asked, Timestamp::from_seconds(0));
        }
        let purses: Vec<_> = limited.values().map(|row| row.purse).collect();
        assert_eq!(purses, ["anonymous", "everybody"]);
    }
}

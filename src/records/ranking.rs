//! The report on accounts: which are the busiest, and then all measures of these alone.

use std::cmp::Reverse;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::database::{Bind, Fault, page};
use super::reports::{REPORT, ReportRow};
use super::sql::SqlRecords;
use super::statement::{NO_PAGE, Statement};
use super::{RecordsError, UsageQuery};
use crate::domain::day_of;

/// The parts in which accounts are read. Each part has a connection of its own: it adds up a row for each day of each account.
const PARTS: usize = 2;

/// Ranks the accounts of the part `$3`, which are about half of all, by their use since the day `$1`. One sum has the sessions in
/// its upper half and the refreshes in its lower one: two sums over a million rows take a quarter longer.
static RANK: Statement = Statement::list(
    NO_PAGE,
    "account, sessions, refreshes",
    "SELECT account, used >> 32 AS sessions, used & 4294967295 AS refreshes FROM \
     (SELECT account, COALESCE((SELECT CAST(SUM((sessions << 32) + refreshes) AS BIGINT) FROM daily_accounts \
     WHERE daily_accounts.account = accounts.account AND day >= $1), -1) AS used FROM accounts \
     WHERE account > (SELECT MAX(account) FROM accounts) * $3 / 2 \
     AND account <= (SELECT MAX(account) FROM accounts) * ($3 + 1) / 2 \
     ORDER BY 2 DESC, 1 LIMIT $2) AS ranked WHERE used >= 0",
);

/// Sums up all measures of the accounts on the page since the day `$2`.
static SUM_UP: Statement = Statement::list(
    "account bigint",
    REPORT,
    "SELECT issuer AS one, subject AS two, {each #}, last_at FROM \
     (SELECT account, {each CAST(SUM(#) AS BIGINT) AS #}, MAX(last_at) AS last_at FROM daily_accounts \
     WHERE day >= $2 AND account IN (SELECT page.account FROM page) GROUP BY account) AS summed \
     JOIN accounts ON accounts.account = summed.account",
);

/// An account and its use.
#[derive(Deserialize)]
struct Ranked {
    account: u64,
    sessions: u64,
    refreshes: u64,
}

/// An account on a page.
#[derive(Serialize)]
struct Account {
    account: u64,
}

impl SqlRecords {
    /// Lists the busiest accounts. Of two that are equally busy, the one that was known first may be the only one on the list.
    pub(super) async fn busiest(&self, query: UsageQuery) -> Result<Vec<ReportRow>, RecordsError> {
        let ranked = (0..PARTS).map(|part| self.rank(query, part));
        let ranked = try_join_all(ranked).await?;
        let mut ranked: Vec<_> = ranked.into_iter().flatten().collect();
        ranked.sort_unstable_by_key(|one| (Reverse((one.sessions, one.refreshes)), one.account));
        ranked.truncate(usize::try_from(query.most).unwrap_or(usize::MAX));
        let parts = ranked.chunks(ranked.len().div_ceil(PARTS).max(1));
        let rows = try_join_all(parts.map(|some| self.sums_of(query, some))).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn rank(&self, query: UsageQuery, part: usize) -> Result<Vec<Ranked>, Fault> {
        let since = Bind::Text(day_of(query.since));
        let binds = [since, u64::from(query.most).into(), part.into()];
        self.reader.rows(&RANK, &binds).await
    }

    async fn sums_of(&self, query: UsageQuery, some: &[Ranked]) -> Result<Vec<ReportRow>, Fault> {
        let accounts = some.iter().map(|one| Account {
            account: one.account,
        });
        let page = page(&accounts.collect::<Vec<_>>())?;
        let binds = [page, Bind::Text(day_of(query.since))];
        self.reader.rows(&SUM_UP, &binds).await
    }
}

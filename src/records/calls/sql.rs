//! Calls in a database.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::row::{FOUND, FoundRow};
use super::rows::{FORGET, WITHOUT_ACCOUNT};
use super::{CallBounds, CallQuery, CallRecords, CallSums, Dialled, KEPT, Spending};
use crate::domain::{
    Call, CallChange, CallState, CallStep, Dial, EndReason, EntryId, Intent, LATE, Party,
    Settlement, UpstreamCallId,
};
use crate::records::command::{Command, Paid, Upkeep};
use crate::records::database::Bind;
use crate::records::entries::CHUNK;
use crate::records::sql::{SqlRecords, TotalRow};
use crate::records::statement::{NO_PAGE, Statement};
use crate::records::{RecordsError, ReserveError, tickets};

/// Most calls that are claimed at a time.
const CLAIMED: usize = 100;

/// Lists the call `$1`.
static FIND: Statement = Statement::list(
    NO_PAGE,
    FOUND,
    "SELECT {columns} FROM calls LEFT JOIN {sums} ON id = entry WHERE upstream = $1 ORDER BY entry DESC LIMIT 1",
);

/// Lists the model of the use `$2` of the call `$1`.
static MODEL: Statement = Statement::list(
    NO_PAGE,
    "model",
    "SELECT {columns} FROM call_uses WHERE entry = $1 AND id = $2",
);

/// Lists, transcriptions left out, the `$2` latest calls of the owner `$1`, or of everybody, that the ticket `$3` opened, or any,
/// those that run first, then those that are ending, after the first `$4`. Only the calls on the list are looked up among the entries.
static LATEST: Statement = Statement::list(
    NO_PAGE,
    FOUND,
    "SELECT {columns} FROM (SELECT * FROM calls WHERE ($1 = '' OR party = $1) AND ($3 = '' OR ticket = $3) \
     AND persona <> 'transcription' ORDER BY state NOT IN ('dialling', 'open'), state <> 'ending', entry DESC \
     LIMIT $2 OFFSET $4) AS calls LEFT JOIN {sums} ON id = entry ORDER BY state NOT IN ('dialling', 'open'), state <> 'ending', entry DESC",
);

/// Sums up all calls, transcriptions left out.
static SUM_UP: Statement = Statement::list(
    NO_PAGE,
    "listed, live, nanodollars, estimated_nanodollars, held_nanodollars",
    "SELECT (SELECT COUNT(*) FROM calls WHERE persona <> 'transcription') AS listed, COUNT(*) AS live, \
     CAST(COALESCE(SUM(nanodollars), 0) AS BIGINT) AS nanodollars, \
     CAST(COALESCE(SUM(estimated_nanodollars), 0) AS BIGINT) AS estimated_nanodollars, \
     CAST(COALESCE(SUM(held_nanodollars), 0) AS BIGINT) AS held_nanodollars \
     FROM calls LEFT JOIN {sums} ON id = entry WHERE state <> 'ended' AND state <> 'lost' AND persona <> 'transcription'",
);

/// Lists the calls without an id of the provider that may have one. `$1` is empty.
static UNNAMED: Statement = Statement::list(
    NO_PAGE,
    FOUND,
    "SELECT {columns} FROM calls LEFT JOIN {sums} ON id = entry WHERE upstream IS NULL AND entry <> $1 \
     AND state IN ('dialling', 'ending', 'lost') AND persona <> 'transcription'",
);

/// Counts the calls whose hang-up failed, or is overdue at `$1`.
static COUNT_OWED: Statement = Statement::list(
    NO_PAGE,
    "total",
    "SELECT COUNT(*) AS total FROM calls WHERE state = 'ending' AND (hang_up_attempts > 0 OR hang_up_due <= $1)",
);

/// Lists the calls of the replica `$1` that have to end.
static ENDING: Statement = Statement::list(
    NO_PAGE,
    FOUND,
    "SELECT {columns} FROM calls LEFT JOIN {sums} ON id = entry WHERE replica = $1 AND state = 'ending'",
);

/// Renews the lease of the replica `$1` for `$3` milliseconds.
static RENEW: Statement = Statement::change(
    NO_PAGE,
    "INSERT INTO leases (replica, until, renewed_at) VALUES ($1, {now} + $3, {now}) \
     ON CONFLICT (replica) DO UPDATE SET until = excluded.until, renewed_at = excluded.renewed_at",
);

/// Removes leases that ran out `$1` milliseconds ago.
static FORGET_LEASES: Statement =
    Statement::change(NO_PAGE, "DELETE FROM leases WHERE until < {now} - $1");

#[derive(Deserialize)]
struct ModelRow {
    model: Box<str>,
}

impl SqlRecords {
    async fn find_calls(
        &self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<Vec<Call>, RecordsError> {
        let rows: Vec<FoundRow> = self.reader.rows(statement, binds).await?;
        Ok(rows.into_iter().filter_map(FoundRow::read).collect())
    }

    /// Owes a hang-up to all calls of `owner`, and takes the account's name out of them.
    pub(in crate::records) async fn erase_calls(&self, owner: Party) -> Result<(), RecordsError> {
        let party = Bind::Text(owner.to_text());
        let most = Bind::Number(i64::MAX);
        let all = [party.clone(), most, "".into(), Bind::Number(0)];
        for call in self.find_calls(&LATEST, &all).await? {
            if matches!(call.state, CallState::Dialling | CallState::Open) {
                let change = CallStep::Disown(EndReason::LoggedOut).by_anybody();
                self.change_call(call.entry, change).await?;
            }
        }
        self.run(&WITHOUT_ACCOUNT, &[party]).await.map(drop)
    }

    /// Removes calls that were over for long, tickets that expired long ago, and leases of replicas that are gone.
    pub(in crate::records) async fn forget_calls(&self) -> Result<(), RecordsError> {
        let now = self.clock.now();
        let binds = vec![KEPT.into(), now.into(), CHUNK.into()];
        for forget in [&FORGET, &tickets::FORGET] {
            let forget = Upkeep::Run(forget, binds.clone());
            self.in_chunks(forget, u64::MAX).await?;
        }
        let binds = [KEPT.into(), now.into()];
        self.run(&FORGET_LEASES, &binds).await.map(drop)
    }
}

#[async_trait]
impl CallRecords for SqlRecords {
    async fn open_call(
        &self,
        intent: Intent,
        dial: Dial,
        bounds: CallBounds,
    ) -> Result<Call, ReserveError> {
        let dialled = Dialled {
            intent,
            dial,
            bounds,
        };
        let done = self.paid(Paid::OpenCall(Box::new(dialled))).await?;
        done.calls.into_iter().next().ok_or(ReserveError::Unknown)
    }

    async fn change_call(
        &self,
        entry: EntryId,
        change: CallChange,
    ) -> Result<Option<Call>, RecordsError> {
        let command = Paid::ChangeCall(entry, Box::new(change));
        let done = self.certain(Command::Paid(command)).await?;
        Ok(done.calls.into_iter().next())
    }

    async fn spend_call(
        &self,
        entry: EntryId,
        spending: Spending,
    ) -> Result<Option<Call>, RecordsError> {
        let command = Paid::Spend(entry, Box::new(spending));
        let done = self.certain(Command::Paid(command)).await?;
        Ok(done.calls.into_iter().next())
    }

    async fn answer_call(
        &self,
        settlement: Settlement,
        changes: Vec<CallChange>,
    ) -> Result<Option<Call>, RecordsError> {
        let command = Paid::Answer(Box::new(settlement), changes);
        let done = self.certain(Command::Paid(command)).await?;
        Ok(done.calls.into_iter().next())
    }

    async fn model_of_use(
        &self,
        entry: EntryId,
        id: &str,
    ) -> Result<Option<Box<str>>, RecordsError> {
        let binds = [Bind::Text(entry.to_string()), id.into()];
        let rows: Vec<ModelRow> = self.reader.rows(&MODEL, &binds).await?;
        Ok(rows.into_iter().next().map(|row| row.model))
    }

    async fn call(&self, id: &UpstreamCallId) -> Result<Option<Call>, RecordsError> {
        let found = self.find_calls(&FIND, &[id.as_str().into()]).await?;
        Ok(found.into_iter().next())
    }

    async fn calls(&self, query: CallQuery) -> Result<Vec<Call>, RecordsError> {
        let owner = query.account.map(|account| Party::Identity(account.key()));
        let party = Bind::Text(owner.map(Party::to_text).unwrap_or_default());
        let most = u64::from(query.most).into();
        let ticket = Bind::Text(query.ticket.unwrap_or_default().into());
        let skip = u64::from(query.skip).into();
        self.find_calls(&LATEST, &[party, most, ticket, skip]).await
    }

    async fn sum_up_calls(&self) -> Result<CallSums, RecordsError> {
        let sums: Vec<CallSums> = self.reader.rows(&SUM_UP, &[]).await?;
        Ok(sums.into_iter().next().unwrap_or_default())
    }

    async fn unnamed_calls(&self) -> Result<Vec<Call>, RecordsError> {
        self.find_calls(&UNNAMED, &["".into()]).await
    }

    async fn owed_hang_ups(&self) -> Result<u64, RecordsError> {
        let rows: Vec<TotalRow> = self
            .reader
            .rows(&COUNT_OWED, &[self.clock.now().into()])
            .await?;
        Ok(rows.first().map_or(0, |row| row.total))
    }

    async fn ending_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError> {
        self.find_calls(&ENDING, &[replica.into()]).await
    }

    async fn renew_calls(&self, replica: &str, lease: Duration) -> Result<(), RecordsError> {
        let binds = [replica.into(), self.clock.now().into(), lease.into()];
        self.run(&RENEW, &binds).await.map(drop)
    }

    async fn claim_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError> {
        let binds = vec![
            replica.into(),
            self.clock.now().into(),
            CLAIMED.into(),
            LATE.into(),
        ];
        let claim = Upkeep::Claim(binds, replica.into());
        Ok(self.certain(Command::Upkeep(claim)).await?.calls)
    }
}

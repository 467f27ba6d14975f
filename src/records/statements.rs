//! Owns the words that are said to a database, in both dialects.

/// One statement, as SQLite and as PostgreSQL hear it.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// A statement over `page`: the rows of the one parameter, a JSON array of arrays.
macro_rules! over_page {
    ($sqlite:expr, $postgres:expr) => {
        Statement {
            sqlite: concat!("WITH page AS (SELECT value FROM json_each($1)) ", $sqlite),
            postgres: concat!(
                "WITH page AS (SELECT value FROM json_array_elements(CAST($1 AS json))) ",
                $postgres
            ),
        }
    };
    ($same:expr) => {
        over_page!($same, $same)
    };
}

/// A list of rows as one JSON array of arrays; in PostgreSQL `$lock` keeps others away from them.
macro_rules! listed {
    (sqlite, $columns:expr, $rows:expr) => {
        concat!(
            "SELECT json_group_array(json_array(",
            $columns,
            ")) FROM (",
            $rows,
            ") AS listed"
        )
    };
    (postgres, $columns:expr, $rows:expr, $lock:expr) => {
        concat!(
            "SELECT CAST(COALESCE(json_agg(json_build_array(",
            $columns,
            ")), '[]') AS text) FROM (",
            $rows,
            $lock,
            ") AS listed"
        )
    };
}

macro_rules! list_over_page {
    ($columns:expr, $rows:expr) => {
        over_page!(
            listed!(sqlite, $columns, concat!("SELECT ", $columns, " ", $rows)),
            listed!(
                postgres,
                $columns,
                concat!("SELECT ", $columns, " ", $rows),
                " FOR UPDATE"
            )
        )
    };
}

macro_rules! list {
    ($columns:expr, $rows:expr) => {
        Statement {
            sqlite: listed!(sqlite, $columns, $rows),
            postgres: listed!(postgres, $columns, $rows, ""),
        }
    };
}

macro_rules! known {
    () => {
        "id, at, kind, outcome, issuer, subject, role, persona"
    };
}

macro_rules! sums_added_to {
    ($table:literal) => {
        concat!(
            "DO UPDATE SET sessions = ",
            $table,
            ".sessions + excluded.sessions, ",
            "refreshes = ",
            $table,
            ".refreshes + excluded.refreshes, ",
            "uncertain = ",
            $table,
            ".uncertain + excluded.uncertain, ",
            "failed = ",
            $table,
            ".failed + excluded.failed, ",
            "last_at = CASE WHEN excluded.last_at > ",
            $table,
            ".last_at ",
            "THEN excluded.last_at ELSE ",
            $table,
            ".last_at END"
        )
    };
}

macro_rules! sums_of_page {
    () => {
        "CAST(value->>3 AS BIGINT), CAST(value->>4 AS BIGINT), CAST(value->>5 AS BIGINT), \
         CAST(value->>6 AS BIGINT), CAST(value->>7 AS BIGINT)"
    };
}

macro_rules! page_and_accounts {
    () => {
        "FROM page JOIN accounts ON accounts.issuer = value->>1 AND accounts.subject = value->>2"
    };
}

/// `[[millis]]`: writes, to see whether that works.
pub(super) const PROBE: Statement = over_page!(
    "INSERT INTO probe (id, at) SELECT 1, CAST(value->>0 AS BIGINT) FROM page WHERE true \
     ON CONFLICT (id) DO UPDATE SET at = excluded.at"
);

/// `[[id], …]`: what is known of these.
pub(super) const ENTRIES: Statement = list_over_page!(
    known!(),
    "FROM entries WHERE id IN (SELECT value->>0 FROM page) ORDER BY id"
);

/// `[[before, most]]`: the oldest from before that moment.
pub(super) const OLDEST: Statement = list_over_page!(
    known!(),
    "FROM entries WHERE at < (SELECT CAST(value->>0 AS BIGINT) FROM page) \
     ORDER BY at LIMIT (SELECT CAST(value->>1 AS BIGINT) FROM page)"
);

/// `[[before, most]]`: the oldest from before that moment that have no outcome.
pub(super) const LEFT_PENDING: Statement = list_over_page!(
    known!(),
    "FROM entries WHERE outcome = 'pending' AND at < (SELECT CAST(value->>0 AS BIGINT) FROM page) \
     ORDER BY at LIMIT (SELECT CAST(value->>1 AS BIGINT) FROM page)"
);

/// `[[month, issuer, subject], …]`: makes sure that these counters exist, so that they can be locked. SQLite locks all.
pub(super) const OPEN_COUNTERS: Statement = over_page!(
    "SELECT 1 WHERE false",
    "INSERT INTO counters (month, issuer, subject, sessions) \
     SELECT value->>0, value->>1, value->>2, 0 FROM page WHERE true ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING"
);

/// `[[month, issuer, subject], …]`: where these counters stand.
pub(super) const COUNTERS: Statement = list_over_page!(
    "month, issuer, subject, sessions",
    "FROM counters WHERE (month, issuer, subject) IN (SELECT value->>0, value->>1, value->>2 FROM page) \
     ORDER BY month, issuer, subject"
);

/// `[[month, issuer, subject, sessions], …]`: where these counters stand from now on.
pub(super) const SET_COUNTERS: Statement = over_page!(
    "INSERT INTO counters (month, issuer, subject, sessions) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT) FROM page WHERE true ORDER BY 1, 2, 3 \
     ON CONFLICT (month, issuer, subject) DO UPDATE SET sessions = excluded.sessions"
);

/// `[[month]]`: forgets the counters of earlier months.
pub(super) const FORGET_COUNTERS: Statement =
    over_page!("DELETE FROM counters WHERE month < (SELECT value->>0 FROM page)");

/// `[[issuer, subject]]`: erases an account's counters.
pub(super) const ERASE_COUNTERS: Statement = over_page!(
    "DELETE FROM counters WHERE (issuer, subject) IN (SELECT value->>0, value->>1 FROM page)"
);

/// `[[millis]]`: forgets sessions that were opened before that moment.
pub(super) const FORGET_SESSIONS: Statement = over_page!(
    "DELETE FROM sessions WHERE opened_at < (SELECT CAST(value->>0 AS BIGINT) FROM page)"
);

/// `[[]]`: takes the place of the one broker that writes sessions, if it is free: `[[1]]`. A SQLite file has but one broker.
/// The number is "RTBS".
pub(super) const CLAIM_SESSIONS: Statement = over_page!(
    "SELECT '[[1]]' FROM page",
    "SELECT CAST(json_build_array(json_build_array(CASE WHEN pg_try_advisory_lock(1381253715) THEN 1 ELSE 0 END)) AS text) \
     FROM page"
);

/// `[[party]]`: erases a party's sessions.
pub(super) const ERASE_SESSIONS: Statement =
    over_page!("DELETE FROM sessions WHERE party IN (SELECT value->>0 FROM page)");

/// `[[session, party, what, revision, refreshes, opened_at, minted_at], …]`: over what is not later.
pub(super) const SHELVE_SESSIONS: Statement = over_page!(
    "INSERT INTO sessions (session, party, what, revision, refreshes, opened_at, minted_at) \
     SELECT value->>0, value->>1, value->>2, CAST(value->>3 AS BIGINT), CAST(value->>4 AS BIGINT), \
     CAST(value->>5 AS BIGINT), CAST(value->>6 AS BIGINT) FROM page WHERE true ORDER BY 1 \
     ON CONFLICT (session) DO UPDATE SET party = excluded.party, what = excluded.what, \
     revision = excluded.revision, refreshes = excluded.refreshes, opened_at = excluded.opened_at, \
     minted_at = excluded.minted_at WHERE sessions.revision <= excluded.revision"
);

/// `[[session], …]`
pub(super) const REMOVE_SESSIONS: Statement =
    over_page!("DELETE FROM sessions WHERE session IN (SELECT value->>0 FROM page)");

/// The sessions after `$1`, at most `$2`.
pub(super) const SESSIONS: Statement = list!(
    "session, party, what, revision, refreshes, opened_at, minted_at",
    "SELECT session, party, what, revision, refreshes, opened_at, minted_at FROM sessions \
     WHERE session > $1 ORDER BY session LIMIT $2"
);

/// `[[id, at, kind, issuer, subject, role, persona, network, origin, session, request_id], …]`
pub(super) const ADD_ENTRIES: Statement = over_page!(
    "INSERT INTO entries \
     (id, at, kind, outcome, issuer, subject, role, persona, network, origin, session, request_id) \
     SELECT value->>0, CAST(value->>1 AS BIGINT), value->>2, 'pending', value->>3, value->>4, value->>5, value->>6, \
     value->>7, value->>8, value->>9, value->>10 FROM page WHERE true ORDER BY 1 ON CONFLICT (id) DO NOTHING"
);

/// `[[id, outcome, code, settled_at, latency_ms, model, upstream_request, expires_at], …]`
pub(super) const SETTLE_ENTRIES: Statement = over_page!(
    "UPDATE entries SET outcome = new.outcome, code = new.code, settled_at = new.settled_at, \
     latency_ms = COALESCE(new.latency_ms, entries.latency_ms), model = COALESCE(new.model, entries.model), \
     upstream_request = COALESCE(new.upstream_request, entries.upstream_request), \
     expires_at = COALESCE(new.expires_at, entries.expires_at) \
     FROM (SELECT value->>0 AS id, value->>1 AS outcome, value->>2 AS code, CAST(value->>3 AS BIGINT) AS settled_at, \
     CAST(value->>4 AS BIGINT) AS latency_ms, value->>5 AS model, value->>6 AS upstream_request, \
     CAST(value->>7 AS BIGINT) AS expires_at FROM page) AS new WHERE entries.id = new.id"
);

/// `[[id], …]`
pub(super) const REMOVE_ENTRIES: Statement =
    over_page!("DELETE FROM entries WHERE id IN (SELECT value->>0 FROM page)");

/// `[[day, role, persona, sessions, refreshes, uncertain, failed, last_at], …]`
pub(super) const ADD_DAILY: Statement = over_page!(concat!(
    "INSERT INTO daily (day, role, persona, sessions, refreshes, uncertain, failed, last_at) ",
    "SELECT value->>0, value->>1, value->>2, ",
    sums_of_page!(),
    " FROM page WHERE true ORDER BY 1, 2, 3 ",
    "ON CONFLICT (day, role, persona) ",
    sums_added_to!("daily")
));

/// The same rows: drops those that nothing is left of.
pub(super) const DROP_DAILY: Statement = over_page!(
    "DELETE FROM daily WHERE sessions + refreshes + failed = 0 \
     AND (day, role, persona) IN (SELECT value->>0, value->>1, value->>2 FROM page)"
);

/// `[[day, issuer, subject, …], …]`: makes sure that these accounts have numbers.
pub(super) const OPEN_ACCOUNTS: Statement = over_page!(
    "INSERT INTO accounts (issuer, subject) SELECT DISTINCT value->>1, value->>2 FROM page WHERE NOT EXISTS \
     (SELECT 1 FROM accounts WHERE accounts.issuer = value->>1 AND accounts.subject = value->>2) \
     ORDER BY 1, 2 ON CONFLICT DO NOTHING"
);

/// `[[day, issuer, subject, sessions, refreshes, uncertain, failed, last_at], …]`
pub(super) const ADD_DAILY_ACCOUNTS: Statement = over_page!(concat!(
    "INSERT INTO daily_accounts (account, day, sessions, refreshes, uncertain, failed, last_at) ",
    "SELECT account, value->>0, ",
    sums_of_page!(),
    " ",
    page_and_accounts!(),
    " WHERE true ORDER BY 1, 2 ",
    "ON CONFLICT (account, day) ",
    sums_added_to!("daily_accounts")
));

/// The same rows: drops those that nothing is left of.
pub(super) const DROP_DAILY_ACCOUNTS: Statement = over_page!(concat!(
    "DELETE FROM daily_accounts WHERE sessions + refreshes + failed = 0 ",
    "AND (account, day) IN (SELECT account, value->>0 ",
    page_and_accounts!(),
    ")"
));

/// The same rows: drops the accounts that nothing is left of.
pub(super) const DROP_ACCOUNTS: Statement = over_page!(
    "DELETE FROM accounts WHERE (issuer, subject) IN (SELECT value->>1, value->>2 FROM page) \
     AND NOT EXISTS (SELECT 1 FROM daily_accounts WHERE daily_accounts.account = accounts.account)"
);

/// Since `$1` the latest `$3` before the entry (`$2`, `$4`) that count, latest first.
pub(super) const RECENT: Statement = list!(
    "id, at, kind, issuer, subject",
    "SELECT id, at, kind, issuer, subject FROM entries \
     WHERE at >= $1 AND (at < $2 OR (at = $2 AND id < $4)) AND outcome <> 'failed' \
     ORDER BY at DESC, id DESC LIMIT $3"
);

/// The ids of the account `$1`, `$2` after the id `$3`, at most `$4`.
pub(super) const OF_ACCOUNT: Statement = list!(
    "id",
    "SELECT id FROM entries WHERE issuer = $1 AND subject = $2 AND id > $3 ORDER BY id LIMIT $4"
);

macro_rules! summed {
    () => {
        "CAST(SUM(sessions) AS BIGINT) AS sessions, CAST(SUM(refreshes) AS BIGINT) AS refreshes, \
         CAST(SUM(uncertain) AS BIGINT) AS uncertain, CAST(SUM(failed) AS BIGINT) AS failed, MAX(last_at) AS last_at"
    };
}

macro_rules! report {
    ($rows:expr) => {
        list!(
            "one, two, sessions, refreshes, uncertain, failed, last_at",
            $rows
        )
    };
    ($one:literal, $two:literal, $groups:literal, $order:literal) => {
        report!(concat!(
            "SELECT ",
            $one,
            " AS one, ",
            $two,
            " AS two, ",
            summed!(),
            " FROM daily WHERE day >= $1 GROUP BY ",
            $groups,
            " ORDER BY ",
            $order,
            " LIMIT $2"
        ))
    };
}

/// Since the day `$1`, at most `$2` rows.
pub(super) const BY_DAY: Statement = report!("day", "role", "day, role", "day DESC, role");

/// Since the day `$1`, at most `$2` rows.
pub(super) const BY_ROLE: Statement =
    report!("role", "''", "role", "sessions DESC, refreshes DESC, role");

/// Since the day `$1`, at most `$2` rows.
pub(super) const BY_PERSONA: Statement = report!(
    "persona",
    "''",
    "persona",
    "sessions DESC, refreshes DESC, persona"
);

/// Since the day `$1`, at most `$2` rows.
pub(super) const BY_USER: Statement = report!(concat!(
    "SELECT issuer AS one, subject AS two, sessions, refreshes, uncertain, failed, last_at FROM (SELECT account, ",
    summed!(),
    " FROM daily_accounts WHERE day >= $1 GROUP BY account) AS summed ",
    "JOIN accounts ON accounts.account = summed.account ",
    "ORDER BY sessions DESC, refreshes DESC, issuer, subject LIMIT $2"
));

//! A ledger in a file that outlives the brokers that serve with it, and its contents.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use token_broker::simulator::Simulator;

use crate::kit::executable::Launch;
use crate::kit::issuer::unlimited;
use crate::kit::scratch::Scratch;

/// A directory for one ledger.
pub struct Books(Scratch);

/// What a test wants to know of an entry.
#[derive(Clone, Debug)]
pub struct Entry {
    pub request_id: String,
    pub outcome: String,
    pub code: Option<String>,
    pub subject: Option<String>,
    pub role: Option<String>,
    pub persona: String,
}

/// An entry as it is read.
type Row = (
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
);

impl Books {
    pub fn new() -> Self {
        Self(Scratch::new())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Every file in the directory: its name and its text, as far as it is one.
    pub fn files(&self) -> Vec<(String, String)> {
        let files = std::fs::read_dir(self.folder()).unwrap();
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path).unwrap();
            (
                path.display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )
        };
        files.map(|file| read(file.unwrap().path())).collect()
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("ledger.db")
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    /// A broker before `simulator` that records here, whose callers must show who they are.
    pub fn launch(&self, simulator: &Simulator) -> Launch {
        self.of(&["serve", "--config", "settings.toml"])
            .towards(&simulator.base_url())
    }

    /// A command that knows this ledger and this issuer.
    pub fn of(&self, arguments: &[&str]) -> Launch {
        self.with(Launch::of(arguments))
    }

    /// The same for what was started otherwise.
    pub fn with(&self, launch: Launch) -> Launch {
        launch
            .file("settings.toml", &unlimited())
            .env("BROKER_LEDGER__URL", &self.url())
    }

    /// A connection of our own, that may write.
    pub async fn open(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path());
        options.connect().await.unwrap()
    }

    /// What stands in it, oldest first; changes nothing.
    pub async fn entries(&self) -> Vec<Entry> {
        let mut connection = self.read_only().await;
        let question =
            "SELECT request_id, outcome, code, subject, role, persona FROM entries ORDER BY at, id";
        let entries = sqlx::query_as(question).fetch_all(&mut connection).await;
        connection.close().await.unwrap();
        let entries: Vec<Row> = entries.unwrap();
        let read = |(request_id, outcome, code, subject, role, persona)| Entry {
            request_id,
            outcome,
            code,
            subject,
            role,
            persona,
        };
        entries.into_iter().map(read).collect()
    }

    /// The one entry with this request id.
    #[track_caller]
    pub fn of_request(entries: &[Entry], request_id: &str) -> Entry {
        let mut found = entries
            .iter()
            .filter(|entry| entry.request_id == request_id);
        let only = found
            .next()
            .unwrap_or_else(|| panic!("{request_id} is missing"));
        assert!(found.next().is_none(), "{request_id} is there twice");
        only.clone()
    }

    /// One number.
    pub async fn number(&self, question: &'static str) -> i64 {
        let mut connection = self.read_only().await;
        let number = sqlx::query_scalar(question)
            .fetch_one(&mut connection)
            .await;
        connection.close().await.unwrap();
        number.unwrap()
    }

    async fn read_only(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .read_only(true);
        options.connect().await.unwrap()
    }

    /// Every count that the ledger keeps beside its entries agrees with them.
    pub async fn assert_counted(&self) {
        for (what, question) in [
            ("the quotas", QUOTAS_OFF),
            ("the accounts' days", ACCOUNTS_OFF),
            ("the roles' days", ROLES_OFF),
            ("the models' days", MODELS_OFF),
        ] {
            assert_eq!(self.number(question).await, 0, "{what} do not agree");
        }
    }
}

const QUOTAS_OFF: &str = "
WITH counted AS (
  SELECT strftime('%Y-%m', at / 1000, 'unixepoch') AS month, issuer, subject, COUNT(*) AS sessions FROM entries
  WHERE kind = 'mint' AND outcome <> 'failed' AND subject IS NOT NULL GROUP BY 1, 2, 3)
SELECT COUNT(*) FROM (
  SELECT * FROM (SELECT month, issuer, subject, sessions FROM counters WHERE sessions > 0 EXCEPT SELECT * FROM counted)
  UNION ALL
  SELECT * FROM (SELECT * FROM counted EXCEPT SELECT month, issuer, subject, sessions FROM counters))";

const ACCOUNTS_OFF: &str = "
WITH counted AS (
  SELECT date(at / 1000, 'unixepoch') AS day, COALESCE(issuer, ''), COALESCE(subject, ''),
         SUM(kind = 'mint' AND outcome <> 'failed'), SUM(kind = 'refresh' AND outcome <> 'failed'),
         SUM(outcome = 'uncertain'), SUM(outcome = 'failed') FROM entries GROUP BY 1, 2, 3),
kept AS (
  SELECT day, issuer, subject, sessions, refreshes, uncertain, failed FROM daily_accounts JOIN accounts USING (account)
  WHERE sessions + refreshes + failed > 0)
SELECT COUNT(*) FROM (
  SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM counted)
  UNION ALL SELECT * FROM (SELECT * FROM counted EXCEPT SELECT * FROM kept))";

const ROLES_OFF: &str = "
WITH counted AS (
  SELECT date(at / 1000, 'unixepoch') AS day, COALESCE(role, ''), persona,
         SUM(kind = 'mint' AND outcome <> 'failed'), SUM(kind = 'refresh' AND outcome <> 'failed'),
         SUM(outcome = 'uncertain'), SUM(outcome = 'failed') FROM entries GROUP BY 1, 2, 3),
kept AS (SELECT day, role, persona, sessions, refreshes, uncertain, failed FROM daily)
SELECT COUNT(*) FROM (
  SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM counted)
  UNION ALL SELECT * FROM (SELECT * FROM counted EXCEPT SELECT * FROM kept))";

const MODELS_OFF: &str = "
WITH counted AS (
  SELECT date(entries.at / 1000, 'unixepoch') AS day, call_uses.model, mark, COUNT(DISTINCT entry), SUM(call_uses.turns),
         SUM(call_uses.output_audio), SUM(call_uses.nanodollars), SUM(call_uses.estimated_nanodollars)
  FROM call_uses JOIN entries ON entries.id = entry GROUP BY 1, 2, 3),
kept AS (SELECT day, model, mark, calls, turns, output_audio, nanodollars, estimated_nanodollars FROM daily_models)
SELECT COUNT(*) FROM (
  SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM counted)
  UNION ALL SELECT * FROM (SELECT * FROM counted EXCEPT SELECT * FROM kept))";

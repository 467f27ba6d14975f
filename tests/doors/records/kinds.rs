//! Ledgers of every kind, empty, and what is written into them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{Clock, ManualClock, SystemClock, Timestamp};
use token_broker::domain::{
    Account, EntryId, Intent, Kind, Network, Outcome, PersonaName, Quota, RequestId, SessionChange,
    SessionId, SessionKey, Settlement,
};
use token_broker::records::{MemoryRecords, Records, postgres, sqlite};

use crate::kit::postgres::empty_database;
use crate::kit::scratch::Scratch;
use crate::kit::waiting::until;

/// 22 November 2026, 10:00 UTC.
pub const START: Timestamp = Timestamp::from_seconds(1_795_341_600);
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A ledger of one kind.
pub struct Subject {
    pub name: &'static str,
    pub ledger: Arc<dyn Records>,
    /// Turned by hand; a server has a clock of its own.
    clock: Arc<ManualClock>,
}

impl Subject {
    /// Lets two milliseconds pass on the database's clock.
    pub async fn tick(&self) {
        let passes = Duration::from_millis(2);
        self.clock.advance(passes);
        if self.name == "postgres" {
            // The server's clock is that of this machine.
            let machine = SystemClock::new();
            let later = machine.now().plus(passes);
            until("the clock moves on", || machine.now() >= later).await;
        }
    }
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(START))
}

/// A folder for a new file.
pub struct Folder(Scratch);

impl Folder {
    pub fn new() -> Self {
        Self(Scratch::new())
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("ledger.db")
    }
}

pub async fn postgres_at(url: &str) -> Arc<dyn Records> {
    postgres::migrate(url).await.unwrap();
    Arc::new(postgres::open(url, clock(), TIMEOUT).await.unwrap())
}

pub async fn sqlite_at(folder: &Folder) -> Arc<dyn Records> {
    let opened = sqlite::open(&folder.file(), clock(), TIMEOUT).await;
    Arc::new(opened.unwrap())
}

/// One of each kind, given to `test` one after the other.
pub async fn each(test: impl AsyncFn(Subject)) {
    let clock = Arc::new(ManualClock::at(START));
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let memory = MemoryRecords::new(100_000, Arc::clone(&shared));
    let folder = Folder::new();
    let sqlite = sqlite::open(&folder.file(), shared, TIMEOUT).await;
    let kinds: [(_, Arc<dyn Records>); 3] = [
        ("memory", Arc::new(memory)),
        ("sqlite", Arc::new(sqlite.unwrap())),
        ("postgres", postgres_at(&empty_database().await).await),
    ];
    for (name, ledger) in kinds {
        let subject = Subject {
            name,
            ledger: Arc::clone(&ledger),
            clock: Arc::clone(&clock),
        };
        test(subject).await;
        ledger.close().await;
    }
}

pub fn account(subject: &str) -> Account {
    Account {
        issuer: "https://id.example.com/".into(),
        subject: subject.into(),
    }
}

/// A mint of `subject` without limit.
pub fn mint(subject: &str, at: Timestamp) -> Intent {
    Intent {
        id: EntryId::new(at),
        at,
        kind: Kind::Mint,
        account: Some(account(subject)),
        role: Some("student".into()),
        persona: PersonaName::parse("student-es").unwrap(),
        network: Network::around([203, 0, 113, 7].into()),
        origin: None,
        session: SessionKey::of(&SessionId::random()),
        request_id: RequestId::random(),
        quota: Quota::default(),
    }
}

pub fn limited(subject: &str, at: Timestamp, limit: u32) -> Intent {
    Intent {
        quota: Quota {
            sessions_per_month: Some(limit),
            ..Quota::default()
        },
        ..mint(subject, at)
    }
}

pub fn minted() -> Outcome {
    Outcome::Minted {
        expires_at: START.plus(Duration::from_mins(1)),
        model: Some("gpt-realtime".into()),
        upstream_request: Some("req-upstream".into()),
    }
}

pub const FAILED: Outcome = Outcome::Failed { code: "upstream" };
pub const UNCERTAIN: Outcome = Outcome::Uncertain { code: "timeout" };

pub fn settled(id: EntryId, outcome: Outcome) -> Settlement {
    Settlement {
        id,
        at: START.plus(Duration::from_secs(1)),
        took: Duration::from_millis(321),
        outcome,
        session: SessionChange::Keep,
        ticket: None,
    }
}

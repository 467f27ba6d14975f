//! Sessions that are written down in the ledger's database: what the next run finds, whatever became of the last one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use token_broker::app::LedgerShelf;
use token_broker::clock::{Clock, ManualClock, Timestamp};
use token_broker::domain::{
    Account, Caller, Language, Naming, Network, Origin, Party, PersonaName, RequestId, Session,
    SessionId, SessionKey, SessionSeal, Shelved,
};
use token_broker::records::{OpenError, Records, SqlRecords, sqlite};
use token_broker::store::kept::{KeptStore, Loaded};
use token_broker::store::memory::{Bounds, MemoryStore};
use token_broker::store::{SessionStore, Shelf, StoreError};

use crate::session_store::{ALWAYS, look};

pub const START: Timestamp = Timestamp::from_seconds(1_795_341_600);
pub const BOUNDS: Bounds = Bounds {
    per_party: 3,
    total: 5,
    max_age: Duration::from_hours(1),
};
const ROOMY: Bounds = Bounds {
    per_party: 100_000,
    total: 100_000,
    ..BOUNDS
};

/// A folder with the ledger's file in it, that outlives the stores and goes with the test.
pub struct Cupboard(PathBuf);

impl Cupboard {
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let name = format!("kept-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Arc::new(Self(path))
    }

    /// The ledger, open, in which sessions are written down.
    async fn ledger(&self) -> Arc<SqlRecords> {
        let started = Instant::now();
        loop {
            let clock = Arc::new(ManualClock::at(START));
            let patience = Duration::from_secs(30);
            match sqlite::open(&self.0.join("ledger.db"), clock, patience).await {
                // Another test has just forked to start a server: until that runs it holds every lock of this process.
                Err(OpenError::InUse(_)) if started.elapsed() < patience => {}
                opened => return Arc::new(opened.unwrap()),
            }
        }
    }

    /// Sessions that are written down here. The file goes with the store.
    pub async fn store(self: Arc<Self>, bounds: Bounds, clock: &Arc<ManualClock>) -> KeptStore {
        let standing = Standing {
            shelf: LedgerShelf(self.ledger().await),
            _cupboard: self,
        };
        over(Arc::new(standing), bounds, clock)
    }

    async fn connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.0.join("ledger.db"));
        options.connect().await.unwrap()
    }

    async fn rows(&self) -> i64 {
        let mut connection = self.connection().await;
        let asked = sqlx::query_scalar("SELECT COUNT(*) FROM sessions");
        let rows = asked.fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    }
}

impl Drop for Cupboard {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A shelf that keeps the folder it stands in.
struct Standing {
    shelf: LedgerShelf,
    _cupboard: Arc<Cupboard>,
}

#[async_trait]
impl Shelf for Standing {
    async fn read(&self, take: &mut (dyn FnMut(Vec<Shelved>) + Send)) -> Result<u64, StoreError> {
        self.shelf.read(take).await
    }

    async fn write(&self, kept: Vec<Shelved>, gone: Vec<SessionKey>) -> Result<(), StoreError> {
        self.shelf.write(kept, gone).await
    }
}

pub fn over(shelf: Arc<dyn Shelf>, bounds: Bounds, clock: &Arc<ManualClock>) -> KeptStore {
    let memory = MemoryStore::new(bounds, Arc::<ManualClock>::clone(clock));
    KeptStore::new(memory, shelf, Arc::<ManualClock>::clone(clock))
}

/// One run of a broker: its clock begins when it does.
struct Run {
    clock: Arc<ManualClock>,
    ledger: Arc<SqlRecords>,
    store: KeptStore,
    loaded: Loaded,
}

impl Run {
    /// Begins so long after the first one could have, by the wall clock.
    async fn begin(cupboard: &Cupboard, bounds: Bounds, after: Duration) -> Self {
        let clock = Arc::new(ManualClock::at(START.plus(after)));
        let ledger = cupboard.ledger().await;
        let shelf = Arc::new(LedgerShelf(Arc::clone(&ledger)));
        let store = over(shelf, bounds, &clock);
        let loaded = store.load().await.unwrap();
        Self {
            clock,
            ledger,
            store,
            loaded,
        }
    }

    async fn end(self) {
        self.store.close().await;
        self.ledger.close().await;
    }

    async fn open(&self, host: u8) -> SessionKey {
        let key = key();
        let session = session(&*self.clock, host);
        self.store.open(key, session).await.unwrap();
        key
    }

    async fn has(&self, key: SessionKey) -> bool {
        look(&self.store, key).await.is_some()
    }
}

pub fn key() -> SessionKey {
    SessionSeal::random().key(&SessionId::random())
}

pub fn session(clock: &dyn Clock, host: u8) -> Session {
    let mut caller = Caller::at([203, 0, 113, host].into(), RequestId::random());
    caller.origin = Some(Origin::parse("https://app.example.com").unwrap());
    let persona = PersonaName::parse("teacher").unwrap();
    Session::open(&caller, persona, clock.tick())
}

fn ana() -> Account {
    Naming::Plain.account(&"https://id.example.com/".into(), "ana")
}

const fn minutes(number: u64) -> Duration {
    Duration::from_mins(number)
}

#[tokio::test]
async fn the_next_run_finds_sessions_as_they_were_but_for_the_time_that_has_passed() {
    let cupboard = Cupboard::new();
    let run = Run::begin(&cupboard, BOUNDS, Duration::ZERO).await;
    assert_eq!(run.loaded, Loaded::default());
    let (refreshed, given_back, ended) = (key(), run.open(2).await, run.open(3).await);
    let opened = Session {
        language: Some(Language::parse("es-MX").unwrap()),
        owner: Party::Identity(ana().key()),
        ..session(&*run.clock, 1)
    };
    run.store.open(refreshed, opened.clone()).await.unwrap();
    run.store.write_down().await.unwrap();
    run.clock.advance(minutes(10));
    for _ in 0..2 {
        run.store.advance(refreshed, ALWAYS).await.unwrap();
    }
    let before = run.store.advance(given_back, ALWAYS).await.unwrap();
    let before = before.unwrap().before.session;
    assert!(run.store.save(given_back, before, 1).await.unwrap());
    run.clock.advance(minutes(5));
    let party = session(&*run.clock, 3).owner;
    assert_eq!(run.store.end(party).await.unwrap(), 1);
    run.end().await;

    let run = Run::begin(&cupboard, BOUNDS, minutes(20)).await;
    let (live, none) = (2, Loaded::default());
    assert_eq!(run.loaded, Loaded { live, ..none });
    let found = look(&run.store, refreshed).await.unwrap();
    assert_eq!(found.revision, 2);
    let expected = Session {
        opened: run.clock.tick().minus(minutes(20)),
        minted: run.clock.tick().minus(minutes(10)),
        refreshes: 2,
        ..opened
    };
    assert_eq!(found.session, expected);
    let found = look(&run.store, given_back).await.unwrap();
    assert_eq!((found.revision, found.session.refreshes), (2, 0));
    assert_eq!(found.session.minted, run.clock.tick().minus(minutes(20)));
    assert!(!run.has(ended).await);
    run.end().await;
}

#[tokio::test]
async fn what_has_ended_meanwhile_is_not_found_and_not_kept() {
    let cupboard = Cupboard::new();
    let run = Run::begin(&cupboard, BOUNDS, Duration::ZERO).await;
    let old = run.open(1).await;
    run.clock.advance(minutes(1));
    let young = run.open(2).await;
    run.end().await;
    assert_eq!(cupboard.rows().await, 2);

    let run = Run::begin(&cupboard, BOUNDS, minutes(60)).await;
    assert_eq!((run.loaded.live, run.loaded.ended), (1, 1));
    assert!(!run.has(old).await && run.has(young).await);
    run.store.write_down().await.unwrap();
    assert_eq!(cupboard.rows().await, 1);
    run.clock.advance(minutes(1));
    run.store.sweep().await.unwrap();
    run.end().await;
    assert_eq!(cupboard.rows().await, 0, "what is swept out goes there too");
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_nothing_young_again_twice() {
    let cupboard = Cupboard::new();
    let run = Run::begin(&cupboard, BOUNDS, minutes(600)).await;
    let key = run.open(1).await;
    run.clock.advance(minutes(10));
    run.store.advance(key, ALWAYS).await.unwrap();
    run.end().await;

    let run = Run::begin(&cupboard, BOUNDS, Duration::ZERO).await;
    let found = look(&run.store, key).await.unwrap().session;
    let now = run.clock.tick();
    assert_eq!((found.opened, found.minted), (now, now), "no younger");
    run.end().await;

    let run = Run::begin(&cupboard, BOUNDS, minutes(59)).await;
    assert!(run.has(key).await, "its hour began anew, once");
    run.end().await;
    let run = Run::begin(&cupboard, BOUNDS, minutes(60)).await;
    assert!(!run.has(key).await, "and is over");
    run.end().await;
}

#[tokio::test]
async fn of_too_many_the_latest_minted_go_on_and_the_others_are_removed() {
    let cupboard = Cupboard::new();
    let run = Run::begin(&cupboard, ROOMY, Duration::ZERO).await;
    let mut keys = Vec::new();
    // Four of one network, of which three may be; then forty of others, of which the last two still fit.
    for host in (0..40).map(|host| host + 10).chain([1; 4]) {
        run.clock.advance(Duration::from_secs(1));
        keys.push(run.open(host).await);
    }
    run.clock.advance(Duration::from_secs(1));
    run.store.advance(keys[5], ALWAYS).await.unwrap();
    run.end().await;

    let run = Run::begin(&cupboard, BOUNDS, minutes(2)).await;
    assert_eq!((run.loaded.live, run.loaded.ended), (4, 40));
    assert_eq!(run.store.live().await.unwrap(), 4);
    for (place, key) in keys.into_iter().enumerate() {
        let expected = place == 5 || place > 40;
        assert_eq!(run.has(key).await, expected, "{place}");
    }
    run.end().await;
    assert_eq!(cupboard.rows().await, 4);
}

#[tokio::test]
async fn rows_that_somebody_else_wrote_are_passed_over_and_left_alone() {
    let cupboard = Cupboard::new();
    let run = Run::begin(&cupboard, BOUNDS, Duration::ZERO).await;
    let good = run.open(1).await;
    run.end().await;
    let mut connection = cupboard.connection().await;
    let text = good.to_text();
    let copies = [
        ("'short'", "party", "what", "0"),
        ("'A' || substr(session, 2)", "'nobody'", "what", "0"),
        ("'B' || substr(session, 2)", "party", "'{}'", "0"),
        ("'C' || substr(session, 2)", "party", "what", "-1"),
        ("'D' || substr(session, 2)", "party", "what", "9e15"),
    ];
    for (session, party, what, refreshes) in copies {
        let copy = format!(
            "INSERT INTO sessions SELECT {session}, {party}, {what}, revision, CAST({refreshes} AS INTEGER), \
             opened_at, minted_at FROM sessions WHERE session = '{text}'"
        );
        let copy = sqlx::query(sqlx::AssertSqlSafe(copy));
        copy.execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();

    let run = Run::begin(&cupboard, BOUNDS, minutes(1)).await;
    assert_eq!((run.loaded.live, run.loaded.unreadable), (1, 5));
    assert!(run.has(good).await);
    run.end().await;
    assert_eq!(cupboard.rows().await, 6);
}

/// Writing one after the other would take a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_written_by_themselves_and_many_at_once() {
    let cupboard = Cupboard::new();
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(Arc::clone(&cupboard).store(ROOMY, &clock).await);
    let writing = Arc::clone(&store);
    tokio::spawn(async move { writing.keep().await });
    for _ in 0..3_000 {
        store.open(key(), session(&*clock, 1)).await.unwrap();
    }
    let started = Instant::now();
    while cupboard.rows().await < 3_000 {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "measures: cargo test --release --test shared a_hundred_thousand -- --ignored --nocapture"]
async fn a_hundred_thousand_sessions_are_taken_up_in_time() {
    let cupboard = Cupboard::new();
    let run = Run::begin(&cupboard, ROOMY, Duration::ZERO).await;
    for number in 0..100_000_u32 {
        let mut session = session(&*run.clock, 1);
        session.owner = Party::Network(Network::of(std::net::Ipv4Addr::from_bits(number).into()));
        run.store.open(key(), session).await.unwrap();
    }
    let started = Instant::now();
    run.end().await;
    let written = started.elapsed();
    let size = std::fs::metadata(cupboard.0.join("ledger.db"))
        .unwrap()
        .len();
    let started = Instant::now();
    let run = Run::begin(&cupboard, ROOMY, minutes(1)).await;
    let took = started.elapsed();
    println!(
        "100,000 sessions, {size} bytes: written in {written:?}, opened and taken up in {took:?}"
    );
    assert_eq!(run.loaded.live, 100_000);
    assert!(took < Duration::from_secs(2), "{took:?}");
    run.end().await;
}

//! Sessions while they cannot be written down, or are being: what waits, what is promised, what is lost.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use token_broker::clock::ManualClock;
use token_broker::domain::{SessionKey, Shelved};
use token_broker::store::kept::KeptStore;
use token_broker::store::{SessionStore, Shelf, StoreError};
use tokio::time::timeout;

use crate::kept::{BOUNDS, START, key, over, session};
use crate::session_store::{ALWAYS, look};

/// A shelf that can break, or stand still.
struct Shaky {
    rows: Mutex<HashMap<SessionKey, Shelved>>,
    is_broken: AtomicBool,
    writes: AtomicU32,
    turn: tokio::sync::Mutex<()>,
}

impl Shaky {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::default(),
            is_broken: AtomicBool::new(false),
            writes: AtomicU32::new(0),
            turn: tokio::sync::Mutex::default(),
        })
    }

    fn refreshes(&self, key: SessionKey) -> Option<u32> {
        let rows = self.rows.lock().unwrap();
        rows.get(&key).map(|shelved| shelved.refreshes)
    }
}

#[async_trait]
impl Shelf for Shaky {
    async fn read(&self, _: &mut (dyn FnMut(Vec<Shelved>) + Send)) -> Result<u64, StoreError> {
        Err(StoreError("never asked".into()))
    }

    async fn write(&self, kept: Vec<Shelved>, gone: Vec<SessionKey>) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let _turn = self.turn.lock().await;
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(StoreError("broken".into()));
        }
        let mut rows = self.rows.lock().unwrap();
        rows.extend(kept.into_iter().map(|shelved| (shelved.key, shelved)));
        for key in gone {
            rows.remove(&key);
        }
        Ok(())
    }
}

fn shaky() -> (Arc<Shaky>, Arc<ManualClock>, KeptStore) {
    let (shelf, clock) = (Shaky::new(), Arc::new(ManualClock::at(START)));
    let store = over(Arc::<Shaky>::clone(&shelf), BOUNDS, &clock);
    (shelf, clock, store)
}

#[tokio::test]
async fn while_nothing_can_be_written_no_session_fails_and_ends_are_not_promised() {
    let (shelf, clock, store) = shaky();
    let (stays, ends) = (key(), key());
    store.open(ends, session(&*clock, 2)).await.unwrap();
    store.write_down().await.unwrap();
    shelf.is_broken.store(true, Ordering::SeqCst);
    store.open(stays, session(&*clock, 1)).await.unwrap();
    assert!(store.write_down().await.is_err());
    assert!(!store.is_whole());
    for _ in 0..3 {
        let found = store.advance(stays, ALWAYS).await.unwrap();
        assert!(found.unwrap().moved);
    }
    let party = session(&*clock, 2).owner;
    assert!(store.end(party).await.is_err(), "it might come back");
    assert!(look(&store, ends).await.is_none(), "but has ended here");
    assert!(store.end(party).await.is_err(), "nor the second time");
    shelf.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(store.end(party).await.unwrap(), 0);
    assert!(store.is_whole());
    assert_eq!(
        (shelf.refreshes(stays), shelf.refreshes(ends)),
        (Some(3), None)
    );
}

#[tokio::test]
async fn what_changes_while_it_is_written_is_written_again_and_a_writing_that_is_cut_short_loses_nothing()
 {
    let (shelf, clock, store) = shaky();
    let key = key();
    store.open(key, session(&*clock, 1)).await.unwrap();
    let hold = shelf.turn.lock().await;
    let cut = timeout(Duration::from_millis(20), store.write_down()).await;
    assert!(cut.is_err(), "it stood still");
    let (written, ()) = tokio::join!(store.write_down(), async {
        while shelf.writes.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        store.advance(key, ALWAYS).await.unwrap();
        drop(hold);
    });
    written.unwrap();
    assert_eq!(shelf.refreshes(key), Some(0));
    store.write_down().await.unwrap();
    assert_eq!(shelf.refreshes(key), Some(1));
    let writes = shelf.writes.load(Ordering::SeqCst);
    store.write_down().await.unwrap();
    assert_eq!(shelf.writes.load(Ordering::SeqCst), writes, "nothing waits");
}

#[tokio::test]
async fn after_the_last_writing_nothing_is_written_any_more() {
    let (shelf, clock, store) = shaky();
    let (first, second) = (key(), key());
    store.open(first, session(&*clock, 1)).await.unwrap();
    store.close().await;
    assert_eq!(shelf.refreshes(first), Some(0));
    store.open(second, session(&*clock, 2)).await.unwrap();
    store.write_down().await.unwrap();
    assert_eq!(shelf.refreshes(second), None);
    let party = session(&*clock, 2).owner;
    assert!(store.end(party).await.is_err(), "it can promise nothing");
}

#[tokio::test]
async fn what_waits_is_bounded_by_what_there_may_be() {
    let (shelf, clock, store) = shaky();
    shelf.is_broken.store(true, Ordering::SeqCst);
    // Each gives way to the next but four.
    for host in 0..10 {
        store.open(key(), session(&*clock, host)).await.unwrap();
    }
    let party = session(&*clock, 9).owner;
    assert!(store.end(party).await.is_err());
    store.open(key(), session(&*clock, 11)).await.unwrap();
    shelf.is_broken.store(false, Ordering::SeqCst);
    let newest = session(&*clock, 11).owner;
    // An end is noted however much waits: nobody would remove those rows again.
    assert_eq!(store.end(newest).await.unwrap(), 1);
    assert_eq!(store.end(newest).await.unwrap(), 0);
    assert_eq!(shelf.rows.lock().unwrap().len(), 4);
}

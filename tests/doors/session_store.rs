//! The contract of session stores, over every kind.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{Clock, ManualClock, Timestamp};
use token_broker::domain::{
    Caller, PersonaName, RequestId, Session, SessionId, SessionKey, SessionSeal,
};
use token_broker::store::SessionStore;
use token_broker::store::memory::{Bounds, MemoryStore};

/// A store of one kind and the clock it lives by.
struct Kind {
    store: Box<dyn SessionStore>,
    clock: Arc<ManualClock>,
    seal: SessionSeal,
}

const BOUNDS: Bounds = Bounds {
    per_party: 3,
    total: 5,
    max_age: Duration::from_hours(1),
};

fn kinds(bounds: Bounds) -> Vec<Kind> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
    let memory = MemoryStore::new(bounds, Arc::<ManualClock>::clone(&clock));
    vec![Kind {
        store: Box::new(memory),
        clock,
        seal: SessionSeal::random(),
    }]
}

impl Kind {
    fn key(&self) -> SessionKey {
        self.seal.key(&SessionId::random())
    }

    fn session(&self, host: u8) -> Session {
        let caller = Caller {
            address: [203, 0, 113, host].into(),
            origin: None,
            identity: None,
            user_agent: None,
            request_id: RequestId::random(),
        };
        Session::open(
            &caller,
            PersonaName::parse("default").unwrap(),
            self.clock.tick(),
        )
    }

    /// Opens a session a second after the last one.
    async fn open(&self, host: u8) -> SessionKey {
        self.clock.advance(Duration::from_secs(1));
        let key = self.key();
        self.store.open(key, self.session(host)).await.unwrap();
        key
    }

    async fn has(&self, key: SessionKey) -> bool {
        self.store.find(key).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn what_was_opened_is_found_and_what_was_not_is_nothing() {
    for kind in kinds(BOUNDS) {
        let key = kind.open(1).await;
        assert_eq!(
            kind.store.find(key).await.unwrap().unwrap().session,
            kind.session(1)
        );
        assert_eq!(kind.store.find(kind.key()).await.unwrap(), None);
        assert_eq!(kind.store.live().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_save_succeeds_only_over_the_revision_it_was_read_from() {
    for kind in kinds(BOUNDS) {
        let key = kind.open(1).await;
        let read = kind.store.find(key).await.unwrap().unwrap();
        let changed = Session {
            refreshes: 1,
            ..read.session.clone()
        };
        assert!(
            kind.store
                .save(key, changed.clone(), read.revision)
                .await
                .unwrap()
        );
        assert!(
            !kind
                .store
                .save(key, read.session, read.revision)
                .await
                .unwrap()
        );
        let again = kind.store.find(key).await.unwrap().unwrap();
        assert_eq!(
            (again.session, again.revision),
            (changed.clone(), read.revision + 1)
        );
        assert!(
            !kind.store.save(kind.key(), changed, 0).await.unwrap(),
            "what is gone stays gone"
        );
    }
}

#[tokio::test]
async fn the_oldest_idle_session_of_a_network_gives_way_and_nobody_elses() {
    for kind in kinds(BOUNDS) {
        let other = kind.open(9).await;
        let (first, second, third) = (kind.open(1).await, kind.open(1).await, kind.open(1).await);
        kind.clock.advance(Duration::from_secs(1));
        let read = kind.store.find(first).await.unwrap().unwrap();
        let minted = Session {
            minted: kind.clock.tick(),
            ..read.session
        };
        assert!(kind.store.save(first, minted, read.revision).await.unwrap());
        let fourth = kind.open(1).await;
        assert!(!kind.has(second).await, "it was idle for longest");
        for kept in [other, first, third, fourth] {
            assert!(kind.has(kept).await);
        }
    }
}

#[tokio::test]
async fn the_total_is_bounded_too() {
    for kind in kinds(BOUNDS) {
        let mut keys = Vec::new();
        for host in 0..20 {
            keys.push(kind.open(host).await);
            assert!(kind.store.live().await.unwrap() <= 5);
        }
        for (place, key) in keys.into_iter().enumerate() {
            assert_eq!(kind.has(key).await, place >= 15);
        }
    }
}

#[tokio::test]
async fn ended_sessions_are_swept_out_and_live_ones_are_not() {
    for kind in kinds(BOUNDS) {
        let old = kind.open(1).await;
        kind.clock.advance(Duration::from_mins(59));
        let young = kind.open(2).await;
        kind.clock.advance(Duration::from_mins(1));
        kind.store.sweep().await.unwrap();
        assert_eq!((kind.has(old).await, kind.has(young).await), (false, true));
        assert_eq!(kind.store.live().await.unwrap(), 1);
    }
}

#[tokio::test]
#[ignore = "takes a minute: cargo test --release --test doors a_million -- --ignored"]
async fn a_million_sessions_leave_no_more_than_may_be() {
    let bounds = Bounds {
        per_party: 20,
        total: 100_000,
        max_age: Duration::from_hours(1),
    };
    for kind in kinds(bounds) {
        for number in 0..1_000_000_u32 {
            let mut session = kind.session(0);
            session.network =
                token_broker::domain::Network::of(std::net::Ipv4Addr::from_bits(number).into());
            kind.store.open(kind.key(), session).await.unwrap();
        }
        assert_eq!(kind.store.live().await.unwrap(), 100_000);
    }
}

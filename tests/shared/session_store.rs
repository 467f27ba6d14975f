//! The contract of session stores, over every kind.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{Clock, ManualClock, Tick, Timestamp};
use token_broker::domain::{
    Caller, Naming, Party, PersonaName, RequestId, Ripeness, Session, SessionId, SessionKey,
    SessionSeal,
};
use token_broker::store::memory::{Bounds, MemoryStore};
use token_broker::store::redis::RedisStore;
use token_broker::store::{SessionStore, Stored};

use crate::kept::Cupboard;
use crate::server::{REDIS, Server, VALKEY};
use crate::stage::link;

/// A store of one kind and the clock it lives by.
struct Kind {
    store: Arc<dyn SessionStore>,
    clock: Arc<ManualClock>,
    seal: SessionSeal,
    server: Option<Server>,
}

const BOUNDS: Bounds = Bounds {
    per_party: 3,
    total: 5,
    max_age: Duration::from_hours(1),
};

async fn kinds(bounds: Bounds) -> [Kind; 4] {
    let clock = || Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
    let kind = |store, clock, server| Kind {
        store,
        clock,
        seal: SessionSeal::random(),
        server,
    };
    let ours = clock();
    let memory = MemoryStore::new(bounds, Arc::<ManualClock>::clone(&ours));
    let on = async |program| {
        let (server, theirs) = (Server::start_of(program), clock());
        let link = link(&server).await;
        let shared = RedisStore::new(bounds, Arc::<ManualClock>::clone(&theirs), link);
        kind(Arc::new(shared), theirs, Some(server))
    };
    let both = clock();
    let kept = Arc::new(Cupboard::new().store(bounds, &both).await);
    let writing = Arc::clone(&kept);
    tokio::spawn(async move { writing.keep().await });
    [
        kind(Arc::new(memory), ours, None),
        on(REDIS).await,
        on(VALKEY).await,
        kind(kept, both, None),
    ]
}

/// Ripe at any time, for anybody, and never.
pub const ALWAYS: Ripeness = Ripeness {
    owner: None,
    min_interval: Duration::ZERO,
    max_refreshes: u32::MAX,
    max_age: Duration::MAX,
};
const NEVER: Ripeness = Ripeness {
    max_refreshes: 0,
    ..ALWAYS
};

/// Reads a session and leaves it as it is.
pub async fn look(store: &dyn SessionStore, key: SessionKey) -> Option<Stored> {
    let found = store.advance(key, NEVER).await.unwrap()?;
    assert!(!found.moved);
    Some(found.before)
}

/// The same, but for what a real server's time may be off.
fn assert_same(read: &Session, written: &Session) {
    let off = |one: Tick, other: Tick| one.since(other).max(other.since(one));
    for apart in [
        off(read.opened, written.opened),
        off(read.minted, written.minted),
    ] {
        assert!(apart < Duration::from_secs(3), "{apart:?}");
    }
    let dated = Session {
        opened: written.opened,
        minted: written.minted,
        ..read.clone()
    };
    assert_eq!(dated, *written);
}

impl Kind {
    fn key(&self) -> SessionKey {
        self.seal.key(&SessionId::random())
    }

    fn session(&self, host: u8) -> Session {
        let caller = Caller::at([203, 0, 113, host].into(), RequestId::random());
        Session::open(
            &caller,
            PersonaName::parse("default").unwrap(),
            self.clock.tick(),
        )
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        if let Some(server) = &self.server {
            server.pass(time);
        }
    }

    /// Opens a session a second after the last one.
    async fn open(&self, host: u8) -> SessionKey {
        self.pass(Duration::from_secs(1));
        let key = self.key();
        self.store.open(key, self.session(host)).await.unwrap();
        key
    }

    async fn find(&self, key: SessionKey) -> Option<Stored> {
        look(&*self.store, key).await
    }

    async fn has(&self, key: SessionKey) -> bool {
        self.find(key).await.is_some()
    }

    async fn advance(&self, key: SessionKey, ripeness: Ripeness) -> bool {
        let found = self.store.advance(key, ripeness).await.unwrap();
        found.is_some_and(|advance| advance.moved)
    }
}

#[tokio::test]
async fn what_was_opened_is_found_and_what_was_not_is_nothing() {
    for kind in kinds(BOUNDS).await {
        let key = kind.open(1).await;
        let found = kind.find(key).await.unwrap();
        assert_same(&found.session, &kind.session(1));
        assert_eq!(found.revision, 0);
        assert_eq!(kind.find(kind.key()).await, None);
        assert_eq!(kind.store.live().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_save_succeeds_only_over_the_revision_it_was_read_from() {
    for kind in kinds(BOUNDS).await {
        let key = kind.open(1).await;
        let read = kind.find(key).await.unwrap();
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
        let again = kind.find(key).await.unwrap();
        assert_same(&again.session, &changed);
        assert_eq!(again.revision, read.revision + 1);
        assert!(
            !kind.store.save(kind.key(), changed, 0).await.unwrap(),
            "what is gone stays gone"
        );
    }
}

#[tokio::test]
async fn the_oldest_idle_session_of_a_network_gives_way_and_nobody_elses() {
    for kind in kinds(BOUNDS).await {
        let other = kind.open(9).await;
        let (first, second, third) = (kind.open(1).await, kind.open(1).await, kind.open(1).await);
        kind.pass(Duration::from_secs(1));
        assert!(kind.advance(first, ALWAYS).await);
        let fourth = kind.open(1).await;
        assert!(!kind.has(second).await, "it was idle for longest");
        for kept in [other, first, third, fourth] {
            assert!(kind.has(kept).await);
        }
    }
}

#[tokio::test]
async fn the_total_is_bounded_too() {
    for kind in kinds(BOUNDS).await {
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
    for kind in kinds(BOUNDS).await {
        let old = kind.open(1).await;
        kind.pass(Duration::from_mins(59));
        let young = kind.open(2).await;
        kind.pass(Duration::from_mins(1));
        kind.store.sweep().await.unwrap();
        assert_eq!((kind.has(old).await, kind.has(young).await), (false, true));
        assert_eq!(kind.store.live().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn all_sessions_of_a_party_end_and_nobody_elses() {
    for kind in kinds(BOUNDS).await {
        let (other, first, second) = (kind.open(9).await, kind.open(1).await, kind.open(1).await);
        let party = kind.session(1).owner;
        assert_eq!(kind.store.end(party).await.unwrap(), 2);
        let held = (kind.has(first).await, kind.has(second).await);
        assert_eq!(held, (false, false));
        assert!(kind.has(other).await);
        assert_eq!(kind.store.end(party).await.unwrap(), 0);
        assert_eq!(kind.store.live().await.unwrap(), 1);
        assert!(kind.store.is_whole());
    }
}

#[tokio::test]
async fn a_ripe_session_moves_on_as_it_is_read_and_an_unripe_one_stays() {
    let rules = |owner| Ripeness {
        owner: Some(owner),
        min_interval: Duration::from_secs(10),
        max_refreshes: 2,
        max_age: Duration::from_mins(30),
    };
    for kind in kinds(BOUNDS).await {
        let key = kind.open(1).await;
        let (ours, theirs) = (kind.session(1).owner, kind.session(2).owner);
        let stands = async || {
            let stored = kind.find(key).await.unwrap();
            (stored.session.refreshes, stored.revision)
        };
        assert!(!kind.advance(key, rules(ours)).await, "it minted just now");
        kind.pass(Duration::from_secs(20));
        assert!(!kind.advance(key, rules(theirs)).await, "not theirs");
        assert_eq!(stands().await, (0, 0));
        let found = kind.store.advance(key, rules(ours)).await.unwrap().unwrap();
        assert!(found.moved && found.before.session.refreshes == 0);
        assert_eq!(stands().await, (1, 1));
        let session = kind.find(key).await.unwrap().session;
        let minted_ago = kind.clock.tick().since(session.minted);
        assert!(minted_ago < Duration::from_secs(3), "{minted_ago:?}");
        assert!(!kind.advance(key, rules(ours)).await, "it has just moved");
        kind.pass(Duration::from_secs(20));
        assert!(kind.advance(key, rules(ours)).await);
        kind.pass(Duration::from_secs(20));
        assert!(!kind.advance(key, rules(ours)).await, "twice is the most");
        let more = Ripeness {
            max_refreshes: 3,
            ..rules(ours)
        };
        kind.pass(Duration::from_mins(30));
        assert!(!kind.advance(key, more).await, "it has ended");
        assert!(!kind.advance(kind.key(), ALWAYS).await, "there is none");
    }
}

/// Every owner's ripeness is compared as it was written.
#[tokio::test]
async fn the_session_of_an_identity_moves_on_for_it_and_for_nobody_else() {
    for kind in kinds(BOUNDS).await {
        let key = kind.key();
        let account = |subject| {
            let account = Naming::Plain.account(&"https://id.example.com/".into(), subject);
            Party::Identity(account.key())
        };
        let session = Session {
            owner: account("ana"),
            ..kind.session(1)
        };
        kind.store.open(key, session).await.unwrap();
        let of = |owner| Ripeness {
            owner: Some(owner),
            ..ALWAYS
        };
        assert!(!kind.advance(key, of(account("ben"))).await);
        assert!(!kind.advance(key, of(kind.session(1).owner)).await);
        assert!(kind.advance(key, of(account("ana"))).await);
    }
}

#[tokio::test]
async fn of_advances_at_once_one_moves_the_session() {
    for kind in kinds(BOUNDS).await {
        let key = kind.open(1).await;
        let at_most_once = Ripeness {
            max_refreshes: 1,
            ..ALWAYS
        };
        let ask = || kind.advance(key, at_most_once);
        let (one, two, three, four) = tokio::join!(ask(), ask(), ask(), ask());
        assert_eq!([one, two, three, four].map(u8::from).iter().sum::<u8>(), 1);
    }
}

#[tokio::test]
async fn of_saves_at_once_over_one_revision_one_succeeds() {
    for kind in kinds(BOUNDS).await {
        let key = kind.open(1).await;
        let save = || kind.store.save(key, kind.session(1), 0);
        let (one, two, three, four) = tokio::join!(save(), save(), save(), save());
        let saved = [one, two, three, four]
            .into_iter()
            .filter(|saved| *saved.as_ref().unwrap());
        let saved = saved.count();
        assert_eq!(saved, 1);
    }
}

#[tokio::test]
async fn what_the_server_holds_opens_nothing() {
    let [_, kind, ..] = kinds(BOUNDS).await;
    let id = SessionId::random();
    let key = kind.seal.key(&id);
    kind.store.open(key, kind.session(1)).await.unwrap();
    let server = kind.server.as_ref().unwrap();
    let keys: Vec<Vec<u8>> = server.ask(&["KEYS", "*"]).unwrap();
    // Taken off the server and shown as a session id, nothing of it is one.
    for name in &keys {
        let text = String::from_utf8_lossy(name);
        assert!(!text.contains(id.expose()) && !text.contains("rts_"));
    }
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut full = b"{broker}:s:".to_vec();
    full.extend_from_slice(key.as_bytes());
    let held: String = redis::cmd("GET").arg(full).query(&mut connection).unwrap();
    assert!(!held.contains("rts_"), "{held:?}");
}

#[tokio::test]
#[ignore = "takes minutes: cargo test --release --test shared a_million -- --ignored"]
async fn a_million_sessions_leave_no_more_than_may_be() {
    let bounds = Bounds {
        per_party: 20,
        total: 100_000,
        max_age: Duration::from_hours(1),
    };
    for kind in kinds(bounds).await {
        for number in 0..1_000_000_u32 {
            let mut session = kind.session(0);
            session.network =
                token_broker::domain::Network::of(std::net::Ipv4Addr::from_bits(number).into());
            kind.store.open(kind.key(), session).await.unwrap();
        }
        assert_eq!(kind.store.live().await.unwrap(), 100_000);
    }
}

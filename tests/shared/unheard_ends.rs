//! Sessions that an operator ends while the server is gone: they end here at once, elsewhere when it is back, and stay ended.

use std::sync::Arc;
use std::time::Duration;

use token_broker::gate::windows::redis::Link;
use token_broker::store::SessionStore;

use crate::outage::Replica;
use crate::server::Server;
use crate::session_store::ALWAYS;
use crate::stage::link;

/// Two replicas with a link each, over a server that is about to be gone.
struct Pair {
    server: Server,
    links: [Arc<Link>; 2],
    one: Replica,
    other: Replica,
}

impl Pair {
    async fn new() -> Self {
        let server = Server::start();
        let links = [link(&server).await, link(&server).await];
        let [one, other] = links.each_ref().map(Replica::new);
        Self {
            server,
            links,
            one,
            other,
        }
    }

    fn pass(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.one.clock.advance(time);
        self.other.clock.advance(time);
        self.server.pass(time);
    }

    /// Cuts both off. The server keeps what it has.
    async fn cut(&self) {
        for replica in [&self.one, &self.other] {
            self.server
                .ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
            // Who asks notices.
            let _ = replica.store.live().await;
            assert!(!replica.store.is_whole());
        }
    }

    async fn join(&self) {
        for link in &self.links {
            link.join().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_end_during_an_outage_is_an_error_here_and_is_carried_out_when_the_server_is_back() {
    let pair = Pair::new().await;
    let (here, there) = (pair.one.open().await, pair.other.open().await);
    pair.pass(10);
    pair.cut().await;
    let party = pair.one.session().owner;
    assert!(pair.one.store.end(party).await.is_err(), "not everywhere");
    assert!(!pair.one.refresh(here).await, "here at once");
    assert!(pair.other.refresh(there).await, "it has not heard of it");
    pair.pass(10);
    // Opened after the end: it goes on.
    let later = pair.one.open().await;
    pair.join().await;
    pair.one.store.send().await;
    pair.other.store.send().await;
    for replica in [&pair.one, &pair.other] {
        assert!(!replica.refresh(here).await && !replica.refresh(there).await);
        assert!(replica.refresh(later).await);
    }
    assert_eq!(pair.one.store.live().await.unwrap(), 1);
}

#[tokio::test]
async fn the_first_request_after_the_outage_revives_nothing() {
    let pair = Pair::new().await;
    let there = pair.other.open().await;
    pair.pass(10);
    pair.cut().await;
    let party = pair.one.session().owner;
    assert!(pair.one.store.end(party).await.is_err());
    pair.pass(10);
    pair.join().await;
    // Nothing was said yet: it may be among those that have ended.
    assert!(pair.one.store.advance(there, ALWAYS).await.is_err());
    pair.one.store.hear().await;
    assert!(!pair.one.refresh(there).await);
}

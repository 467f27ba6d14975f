//! What has ended stays ended, whoever was out of reach when it was said.

use std::sync::Arc;
use std::time::{Duration, Instant};

use token_broker::gate::windows::redis::Link;
use token_broker::store::SessionStore;

use crate::outage::Replica;
use crate::server::Server;
use crate::stage::link;

/// Cuts off all replicas; none comes back by itself.
async fn cut(server: &Server, links: &[&Arc<Link>]) {
    server.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    for link in links {
        // It is asked, and so it notices.
        let _ = Replica::new(link).store.live().await;
        assert!(!link.is_up());
    }
}

#[tokio::test]
async fn what_another_replica_has_ended_stays_ended_when_the_server_dies() {
    let mut server = Server::start();
    let (ours, theirs) = (link(&server).await, link(&server).await);
    let (one, other) = (Replica::new(&ours), Replica::new(&theirs));
    let ended = one.open().await;
    assert_eq!(other.store.end(one.session().owner).await.unwrap(), 1);
    one.store.hear().await;
    one.clock.advance(Duration::from_secs(1));
    let opened_since = one.open().await;
    one.store.hear().await;
    server.kill();
    assert!(!one.refresh(ended).await);
    assert!(one.refresh(opened_since).await, "that was no end of it");
}

#[tokio::test]
async fn what_was_opened_out_of_reach_is_not_revived_after_an_end() {
    let server = Server::start();
    let (ours, theirs) = (link(&server).await, link(&server).await);
    let (one, alone) = (Replica::new(&ours), Replica::new(&theirs));
    cut(&server, &[&ours, &theirs]).await;
    let opened = alone.open().await;
    ours.join().await.unwrap();
    assert_eq!(one.store.end(one.session().owner).await.unwrap(), 0);
    // It was opened before that: a second ago.
    alone.clock.advance(Duration::from_secs(1));
    theirs.join().await.unwrap();
    // Asked for before it has heard anything, and after.
    assert!(!alone.refresh(opened).await && !one.refresh(opened).await);
    alone.store.send().await;
    assert!(!alone.refresh(opened).await && !one.refresh(opened).await);
}

#[tokio::test]
async fn an_end_that_only_one_replica_knew_of_is_said_when_the_server_is_back() {
    let server = Server::start();
    let (ours, theirs) = (link(&server).await, link(&server).await);
    let (one, alone) = (Replica::new(&ours), Replica::new(&theirs));
    let opened = one.open().await;
    cut(&server, &[&ours, &theirs]).await;
    let (said_at, said) = (Instant::now(), alone.store.end(one.session().owner).await);
    assert!(
        said.is_err(),
        "the operator is told that it is not everywhere"
    );
    ours.join().await.unwrap();
    assert!(one.refresh(opened).await, "it cannot know");
    let opened_since = one.open().await;
    theirs.join().await.unwrap();
    // However late it is said, it is as of then.
    alone.clock.advance(said_at.elapsed());
    alone.store.send().await;
    assert!(!one.refresh(opened).await && one.refresh(opened_since).await);
}

#[tokio::test]
async fn what_was_opened_after_an_end_goes_on() {
    let server = Server::start();
    let link = link(&server).await;
    let replica = Replica::new(&link);
    let before = replica.open().await;
    assert_eq!(replica.store.end(replica.session().owner).await.unwrap(), 1);
    replica.clock.advance(Duration::from_secs(1));
    let after = replica.open().await;
    replica.store.hear().await;
    assert!(!replica.refresh(before).await && replica.refresh(after).await);
}

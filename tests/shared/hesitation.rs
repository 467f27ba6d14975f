//! A server that is slow for a moment, forgets what it should keep, refuses single calls, or is not the one to ask.

use std::sync::Arc;
use std::time::Duration;

use token_broker::config::OnFailure;
use token_broker::domain::{Naming, Party};
use token_broker::gate::windows::Windows;
use token_broker::gate::windows::redis::{Link, LinkError};
use token_broker::store::SessionStore;
use token_broker::store::memory::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::outage::{BOUNDS, Replica, limits_of};
use crate::server::Server;
use crate::session_store::ALWAYS;
use crate::stage::{address, all, is_admitted, link, on, party};

/// A link as the service has it, and something in the background that keeps it.
async fn kept(server: &Server) -> (Arc<Link>, tokio::task::AbortHandle) {
    let link = Arc::new(Link::new(&server.url()).unwrap());
    link.join().await.unwrap();
    let keeper = Arc::clone(&link);
    let task = tokio::spawn(async move { keeper.keep(async |_| {}).await });
    (link, task.abort_handle())
}

async fn becomes(link: &Link, up: bool) {
    for _ in 0..1000 {
        if link.is_up() == up {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never becomes {up}");
}

#[tokio::test]
async fn a_moment_of_slowness_ends_no_session_and_no_connection() {
    let server = Server::start();
    let patient = link(&server).await;
    let other = Replica::new(&patient);
    let (link, keeper) = kept(&server).await;
    let replica = Replica::new(&link);
    let (known, unknown) = (replica.open().await, other.open().await);
    let connections = || {
        let told: String = server.ask(&["INFO", "stats"]).unwrap();
        let mut lines = told.lines();
        let made = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
        made.unwrap().parse::<u64>().unwrap()
    };
    let before = connections();
    // Longer than a request waits, shorter than who keeps the link.
    server.signal("STOP");
    let told = replica.store.advance(unknown, ALWAYS).await;
    assert!(told.is_err(), "it may be there: {told:?}");
    assert!(!link.is_up());
    assert!(replica.refresh(known).await, "what is known goes on");
    server.signal("CONT");
    becomes(&link, true).await;
    assert!(replica.refresh(unknown).await);
    assert_eq!(connections() - before, 1, "only the question itself");
    keeper.abort();
}

#[tokio::test]
async fn a_server_that_may_forget_a_window_is_not_believed() {
    let server = Server::start();
    let set = |name: &str, value: &str| {
        let _: String = server.ask(&["CONFIG", "SET", name, value]).unwrap();
    };
    set("maxmemory-policy", "volatile-lru");
    link(&server).await;
    set("maxmemory", "100mb");
    let (hasty, url) = (Link::new(&server.url()).unwrap(), server.url());
    let refused = hasty.join().await.unwrap_err();
    assert!(matches!(refused, LinkError::Evicts(_)), "{refused}");
    assert!(refused.to_string().contains("noeviction"), "{refused}");
    assert!(!refused.to_string().contains(&url));
    set("maxmemory-policy", "noeviction");
    let (link, keeper) = kept(&server).await;
    set("maxmemory-policy", "allkeys-lru");
    becomes(&link, false).await;
    set("maxmemory-policy", "noeviction");
    becomes(&link, true).await;
    keeper.abort();
}

#[tokio::test]
async fn what_the_server_refuses_of_one_session_is_nobody_elses_trouble() {
    let server = Server::start();
    let patient = link(&server).await;
    let other = Replica::new(&patient);
    let (link, keeper) = kept(&server).await;
    let replica = Replica::new(&link);
    let (odd, sound) = (replica.open().await, other.open().await);
    let mut key = b"{broker}:s:".to_vec();
    key.extend_from_slice(odd.as_bytes());
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let spoil = |text: &str, connection: &mut redis::Connection| {
        let () = redis::cmd("DEL").arg(&key).query(connection).unwrap();
        let _: u64 = redis::cmd("RPUSH")
            .arg(&key)
            .arg(text)
            .query(connection)
            .unwrap();
    };
    spoil("what another version wrote", &mut connection);
    for _ in 0..3 {
        assert!(replica.refresh(odd).await, "by what is known here");
        assert!(link.is_up() && replica.refresh(sound).await);
    }
    // It waits to be sent, and is in nobody's way.
    let opened = other.open().await;
    replica.store.send().await;
    assert!(link.is_up() && replica.refresh(opened).await);
    keeper.abort();
}

#[tokio::test]
async fn an_end_that_the_server_refuses_is_nobody_elses_trouble() {
    let server = Server::start();
    let patient = link(&server).await;
    let other = Replica::new(&patient);
    let (link, keeper) = kept(&server).await;
    let replica = Replica::new(&link);
    let sound = other.open().await;
    let party = Party::Identity(
        Naming::Plain
            .account(&"https://id.example.com/".into(), "ana")
            .key(),
    );
    let order = format!("{{broker}}:p:{}", party.to_text());
    let _: u64 = server.ask(&["RPUSH", &order, "spoiled"]).unwrap();
    assert!(replica.store.end(party).await.is_err());
    replica.store.hear().await;
    assert!(link.is_up() && replica.refresh(sound).await);
    // Said while it was gone, and refused when it is back.
    server.ask::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(replica.store.end(party).await.is_err());
    becomes(&link, true).await;
    replica.store.send().await;
    assert!(replica.refresh(sound).await);
    keeper.abort();
}

/// A way to the server on which every answer takes so long.
async fn detour(server: &Server, takes: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let there = server.url().replace("redis://", "").replace('/', "");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&there).await.unwrap();
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) =
                (near.into_split(), far.into_split());
            tokio::spawn(async move { copy(&mut from_near, &mut to_far).await });
            tokio::spawn(async move {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = from_far.read(&mut piece).await {
                    tokio::time::sleep(takes).await;
                    to_near.write_all(&piece[..length]).await.unwrap();
                }
            });
        }
    });
    format!("redis://127.0.0.1:{port}/")
}

#[tokio::test]
async fn a_server_that_is_always_slower_than_may_be_is_not_joined() {
    let server = Server::start();
    let url = detour(&server, Duration::from_millis(80)).await;
    let hasty = Link::new(&url).unwrap();
    let refused = hasty.join().await.unwrap_err();
    assert!(matches!(refused, LinkError::Slow), "{refused}");
    assert!(!hasty.is_up());
    let patient = Link::new(&url).unwrap().waiting(Duration::from_secs(5));
    patient.join().await.unwrap();
}

#[tokio::test]
async fn a_crowd_that_is_too_large_gives_way_by_and_by() {
    let (server, many) = (Server::start(), 250);
    let link = link(&server).await;
    let bounds = |per_party| Bounds {
        per_party,
        total: many,
        ..BOUNDS
    };
    let wide = Replica::within(&link, bounds(many));
    for _ in 0..many {
        wide.open().await;
    }
    // The setting was lowered.
    let narrow = Replica::within(&link, bounds(2));
    let mut left = Vec::new();
    for _ in 0..4 {
        narrow.open().await;
        left.push(server.ask::<usize>(&["ZCARD", "{broker}:idle"]).unwrap());
    }
    assert_eq!(left, [151, 52, 2, 2], "nobody waits for all of it at once");
}

#[tokio::test]
async fn of_a_cluster_the_node_that_has_the_keys_is_asked() {
    let [has_them, has_not] = Server::cluster();
    let link = link(&has_not).await;
    let replica = Replica::new(&link);
    let opened = replica.open().await;
    assert!(replica.refresh(opened).await);
    let (limits, caller) = (on(&has_not, "10/60s").await, address("203.0.113.7"));
    let decision = limits
        .decide(Some(party(caller)), &all(caller))
        .await
        .unwrap();
    assert!(is_admitted(&decision));
    assert_eq!(has_not.ask(&["DBSIZE"]), Some(0_u64));
    assert!(has_them.ask::<u64>(&["DBSIZE"]).unwrap() > 5);
    let shared = limits_of(2, &link, OnFailure::Deny);
    assert!(shared.is_exact());
}

//! A server that is slow for a moment, forgets what it should keep, refuses single calls, or is not the one to ask.

use std::sync::Arc;
use std::time::Duration;

use token_broker::config::OnFailure;
use token_broker::gate::windows::Windows;
use token_broker::gate::windows::redis::{Link, LinkError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::outage::limits_of;
use crate::server::Server;
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
async fn of_a_cluster_the_node_that_has_the_keys_is_asked() {
    let [has_them, has_not] = Server::cluster();
    let link = link(&has_not).await;
    let (limits, caller) = (on(&has_not, "10/60s").await, address("203.0.113.7"));
    let decision = limits
        .decide(Some(party(caller)), &all(caller))
        .await
        .unwrap();
    assert!(is_admitted(&decision));
    assert_eq!(has_not.ask(&["DBSIZE"]), Some(0_u64));
    assert!(has_them.ask::<u64>(&["DBSIZE"]).unwrap() > 0);
    let shared = limits_of(2, &link, OnFailure::Deny);
    assert!(shared.is_exact());
}

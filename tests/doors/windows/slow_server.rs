//! A server that is slow for a moment, forgets what it should keep, refuses single calls, or is not the one to ask.

use std::sync::Arc;
use std::time::Duration;

use token_broker::config::OnFailure;
use token_broker::gate::windows::Windows;
use token_broker::gate::windows::redis::{Link, LinkError};

use super::outage::limits_of;
use super::stage::{address, all, becomes, is_admitted, keep, link, on, party};
use crate::kit::proxy::Proxy;
use crate::kit::redis::Redis;

/// A link as the service has it, and the task that keeps it alive.
async fn kept(server: &Redis) -> (Arc<Link>, tokio::task::AbortHandle) {
    let link = Arc::new(Link::new(&server.url()).unwrap());
    link.join().await.unwrap();
    let keeper = keep(&link);
    (link, keeper)
}

#[tokio::test]
async fn a_server_that_may_forget_a_window_is_not_believed() {
    let server = Redis::start();
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
async fn a_server_that_is_always_slower_than_may_be_is_not_joined() {
    let server = Redis::start();
    let proxy = Proxy::slow(server.port, Duration::from_millis(80)).await;
    let url = proxy.instead_of(&server.url());
    let hasty = Link::new(&url).unwrap();
    let refused = hasty.join().await.unwrap_err();
    assert!(matches!(refused, LinkError::Slow), "{refused}");
    assert!(!hasty.is_up());
    let patient = Link::new(&url).unwrap().waiting(Duration::from_secs(5));
    patient.join().await.unwrap();
}

#[tokio::test]
async fn of_a_cluster_the_node_that_has_the_keys_is_asked() {
    let [has_them, has_not] = Redis::cluster();
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

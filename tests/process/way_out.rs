//! The way out: a proxy to the provider and to issuers, hosts of one's own network, and what `check` says of both.

use serde_json::json;

use super::nginx_front::over_tls;
use crate::kit::connect_proxy::ConnectProxy;
use crate::kit::executable::Launch;
use crate::kit::host::Host;
use crate::kit::provider::simulator;

/// A name that only the proxy knows.
const FOREIGN: &str = "api.provider.test";
/// `way:pa#ss` as a proxy is shown it.
const CREDENTIAL: &str = "d2F5OnBhI3Nz";

#[tokio::test]
async fn f26_mints_go_through_a_tunnel_of_the_proxy_with_its_password_from_a_file() {
    let simulator = simulator(&[]).await;
    let (nginx, base_url, certificate) = over_tls(&simulator).await;
    let base_url = base_url.replace("localhost", FOREIGN);
    let proxy = ConnectProxy::start(Some(CREDENTIAL)).await;
    let address = proxy.address;
    let broker = |secret: &str| {
        Launch::of(&["serve"])
            .towards(&base_url)
            .file("proxy", secret)
            .set("upstream.proxy_file", "proxy")
            .set("upstream.ca_file", &certificate)
    };
    let good = format!("http://way:pa%23ss@{address}\n");
    let served = broker(&good).start().await;
    let answer = served.token().await;
    answer.secret();
    let calls = format!("{base_url}/realtime/calls");
    assert_eq!(answer.json["connect"]["calls"], json!(calls));
    let ended = served.stop().await;
    assert!(
        !ended.err.contains("pa%23ss") && !ended.out.contains("pa%23ss"),
        "{ended:?}"
    );
    assert_eq!(simulator.minted(), 1);
    let tunnel = format!("CONNECT {FOREIGN}:");
    let asked = proxy.requests();
    assert!(
        asked.iter().all(|line| line.starts_with(&tunnel)),
        "{asked:?}"
    );
    assert!(
        nginx
            .log()
            .iter()
            .all(|line| line["protocol"] == "HTTP/2.0")
    );

    let without = broker(&proxy.url()).start().await;
    without.token().await.is(503, "upstream_unavailable");
    without.stop().await;
    assert_eq!(simulator.minted(), 1);
}

#[tokio::test]
async fn f32_a_gateway_and_an_issuer_of_ones_own_network_are_asked_over_plain_http_when_listed() {
    let simulator = simulator(&[]).await;
    let issuer = Host::publishing(&[]).await;
    let proxy = ConnectProxy::start(None).await;
    let broker = |command: &[&str]| {
        Launch::of(command)
            .towards(&format!("http://litellm:{}/v1", simulator.address().port()))
            .set("auth.mode", "optional")
            .set(
                "auth.keycloak_realm",
                &format!("http://keycloak:{}/realms/a", issuer.address.port()),
            )
            .set("auth.keycloak_client", "broker")
            .set("upstream.proxy", &proxy.url())
    };
    let refused = broker(&["check"]).finish().await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    for setting in ["upstream.base_url", "auth.keycloak_realm"] {
        assert!(refused.out.contains(setting), "{refused:?}");
    }
    let listed = |command: &[&str]| {
        broker(command)
            .set("upstream.allow_plain_http", "litellm")
            .set("auth.allow_plain_http", "Keycloak")
    };
    let served = listed(&["serve"]).start().await;
    served.token().await.secret();
    served.stop().await;
    assert_eq!(simulator.minted(), 1);
    let checked = listed(&["check", "--online"]).finish().await;
    assert!(
        checked.out.contains("has no key that its algorithms"),
        "{checked:?}"
    );
    let asked = proxy.requests();
    let went = |begin: &str| asked.iter().any(|line| line.starts_with(begin));
    // A kept connection shows its first request only.
    assert!(went("GET http://litellm:"), "{asked:?}");
    assert!(went("GET http://keycloak:"), "{asked:?}");
}

#[tokio::test]
async fn hosts_without_the_proxy_and_this_machine_are_reached_directly() {
    let simulator = simulator(&[]).await;
    let proxy = ConnectProxy::start(None).await;
    let broker = Launch::serve(&simulator).set("upstream.proxy", &proxy.url());
    let broker = broker.start().await;
    broker.token().await.secret();
    broker.stop().await;
    let port = simulator.address().port();
    let broker = Launch::of(&["serve"])
        .towards(&format!("http://litellm:{port}/v1"))
        .set("upstream.allow_plain_http", "litellm")
        .set("upstream.no_proxy", "10.0.0.0/8,litellm")
        .set("upstream.proxy", &proxy.url());
    let broker = broker.start().await;
    // No network of this machine knows the name.
    broker.token().await.is(503, "upstream_unavailable");
    broker.stop().await;
    assert_eq!(proxy.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn f26_check_says_that_a_proxy_of_the_environment_is_not_used_and_looks_through_a_proxy_that_is_set()
 {
    let simulator = simulator(&[]).await;
    let proxy = ConnectProxy::start(None).await;
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let check = Launch::of(&["check", "--online"]).towards(&simulator.base_url());
        let ended = check.env(name, &proxy.url()).finish().await;
        let says = format!("{name} is set and not used");
        assert!(ended.out.contains(&says), "{ended:?}");
    }
    assert_eq!(proxy.requests(), Vec::<String>::new());
    let check = Launch::of(&["check", "--online"])
        .towards(&format!(
            "http://{FOREIGN}:{}/v1",
            simulator.address().port()
        ))
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .set("upstream.allow_plain_http", FOREIGN)
        .set("upstream.proxy", &proxy.url());
    let ended = check.finish().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.out.contains("not used"), "{ended:?}");
}

//! The upstream behind TLS: which protocol is spoken, and with whom.

use super::nginx_front::over_tls;
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;

#[tokio::test]
async fn the_upstream_must_bear_the_name_it_is_called_by_and_is_spoken_to_in_http_2() {
    let simulator = simulator(&[]).await;
    let (nginx, base_url, certificate) = over_tls(&simulator).await;
    let broker = |url: &str| {
        Launch::of(&["serve"])
            .towards(url)
            .set("upstream.ca_file", &certificate)
            .start()
    };

    let called_right = broker(&base_url).await;
    called_right.token().await.secret();
    called_right.stop().await;
    assert!(
        nginx
            .log()
            .iter()
            .all(|line| line["protocol"] == "HTTP/2.0"),
        "{:?}",
        nginx.log()
    );

    let called_wrong = broker(&base_url.replace("localhost", "127.0.0.1")).await;
    called_wrong.token().await.is(503, "upstream_unavailable");
    called_wrong.stop().await;

    let not_trusted = Launch::of(&["serve"]).towards(&base_url).start().await;
    not_trusted.token().await.is(503, "upstream_unavailable");
    not_trusted.stop().await;
    assert_eq!(simulator.minted(), 1);
}

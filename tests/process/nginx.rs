//! The real nginx with `config/nginx.conf` in front of the real broker: what passes, and as what.

use serde_json::Value;
use tokio::task::JoinSet;

use super::ambiguous_table::table;
use super::nginx_front::{Front, HOST};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::http::client;
use crate::kit::waiting::SOON;

#[tokio::test]
async fn a_json_post_over_tls_returns_a_client_secret() {
    let front = Front::new().await;
    let post = front
        .post("/token")
        .header("content-type", "application/json")
        .body("{\"persona\":\"default\"}");
    let answer = Answer::to(post.header("origin", PAGE)).await;
    answer.secret();
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for path in ["/session", "/v1/realtime/client_secrets"] {
        assert_eq!(Answer::to(front.post(path)).await.status, 200, "{path}");
    }
    for path in ["/health", "/livez", "/readyz", "/openapi.json"] {
        assert_eq!(Answer::to(front.get(path)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn without_tls_there_is_only_the_way_to_tls() {
    let front = Front::new().await;
    let plain = client()
        .post(format!("http://{}/token", front.http))
        .header("host", HOST);
    let answer = Answer::to(plain).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some("https://broker.example.com/token"))
    );
    let foreign = client()
        .post(format!("http://{}/token", front.http))
        .send()
        .await;
    assert!(foreign.is_err(), "{foreign:?}");
    assert_eq!(front.simulator.seen(), 0);
}

#[tokio::test]
async fn forged_addresses_are_ignored_and_share_the_window_of_the_real_one() {
    let front = Front::new().await;
    let mut statuses = Vec::new();
    for number in 0..30_u8 {
        let forged = format!("203.0.113.{}", number.wrapping_mul(67));
        let post = front
            .request(7, "POST", "/token")
            .header("x-forwarded-for", format!("{forged}, 198.51.100.1"))
            .header("x-forwarded-for", &forged)
            .header("x-real-ip", &forged)
            .header("forwarded", format!("for={forged}"));
        statuses.push(Answer::to(post).await.status);
    }
    assert_eq!(statuses[..10], [200; 10]);
    assert_eq!(statuses[10..], [429; 20]);
    let minted = front.broker().events("token_minted");
    assert_eq!(minted.len(), 10);
    assert!(
        minted.iter().all(|line| line["client_ip"] == "127.0.0.7"),
        "{minted:?}"
    );
    // The neighbour has an allowance of its own.
    assert_eq!(
        Answer::to(front.request(8, "POST", "/token")).await.status,
        200
    );
}

#[tokio::test]
async fn refusals_of_the_broker_pass_with_their_cors_headers() {
    let front = Front::with(&[("limits.token", "2/60s")], &[]).await;
    let ask = async |origin: &str| Answer::to(front.post("/token").header("origin", origin)).await;
    for _ in 0..2 {
        ask(PAGE).await.secret();
    }
    let limited = ask(PAGE).await;
    limited.is(429, "rate_limited");
    assert_eq!(limited.header("access-control-allow-origin"), Some(PAGE));
    assert!(
        limited
            .header("access-control-expose-headers")
            .unwrap()
            .contains("retry-after")
    );
    assert_eq!(limited.header("x-ratelimit-limit"), Some("2"));
    assert!(
        limited
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 1
    );
    let foreign = ask("https://evil.example").await;
    foreign.is(403, "origin_not_allowed");
    assert_eq!(foreign.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_preflight_passes_and_spends_nothing() {
    let front = Front::with(&[("limits.token", "1/60s")], &[]).await;
    let preflight = |origin: &str| {
        let asked = front
            .request(2, "OPTIONS", "/token")
            .header("origin", origin);
        Answer::to(
            asked
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "content-type"),
        )
    };
    // As many as two classes send at once from one address.
    let mut all = JoinSet::new();
    for _ in 0..60 {
        all.spawn(preflight(PAGE));
    }
    for answer in all.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET,POST")
        );
    }
    let foreign = preflight("https://evil.example").await;
    assert_eq!(
        (
            foreign.status,
            foreign.header("access-control-allow-origin")
        ),
        (403, None)
    );
    assert_eq!(
        Answer::to(front.post("/token").header("origin", PAGE))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_request_id_of_nginx_is_the_one_in_answer_body_and_both_logs() {
    let front = Front::new().await;
    let answer = Answer::to(front.post("/nothing").header("x-request-id", "mine-own")).await;
    answer.is(404, "not_found");
    let id = answer.header("x-request-id").unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    let access = front
        .broker()
        .running
        .logged(|line| line["target"] == "access")
        .await;
    assert_eq!(access["request_id"], id);
    let is_there = |line: &Value| line["request_id"] == id && line["path"] == "/nothing";
    crate::kit::waiting::until("nginx's log line", || {
        front.nginx.log().iter().any(is_there)
    })
    .await;

    let minted = Answer::to(front.post("/token").header("x-request-id", "mine-own")).await;
    let event = front
        .broker()
        .running
        .logged(|line| line["event"] == "token_minted")
        .await;
    assert_eq!(event["request_id"].as_str(), minted.header("x-request-id"));
}

#[tokio::test]
async fn no_header_is_there_twice_and_hsts_once() {
    let front = Front::with(&[("limits.token", "1/60s")], &[]).await;
    let answers = [
        Answer::to(front.post("/token").header("origin", PAGE)).await,
        Answer::to(front.post("/token").header("origin", PAGE)).await,
        Answer::to(
            front
                .post("/token")
                .header("origin", "https://evil.example"),
        )
        .await,
        Answer::to(front.get("/nothing")).await,
        Answer::to(front.get("/health")).await,
        // nginx's own.
        Answer::to(front.get("/metrics").header("origin", PAGE)).await,
    ];
    assert_eq!(
        answers.each_ref().map(|answer| answer.status),
        [200, 429, 403, 404, 200, 404]
    );
    for answer in answers {
        for (name, value) in [
            ("strict-transport-security", "max-age=63072000"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            (
                "content-security-policy",
                "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        for name in [
            "vary",
            "x-request-id",
            "access-control-allow-origin",
            "content-type",
            "retry-after",
            "server",
        ] {
            answer.header(name);
        }
        assert_eq!(answer.header("server"), Some("nginx"));
        assert!(
            answer
                .header("vary")
                .unwrap()
                .eq_ignore_ascii_case("origin"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn tricks_with_the_path_lead_nowhere() {
    let front = Front::new().await;
    for (number, path) in [
        "//token",
        "/token/",
        "/%74oken",
        "/TOKEN",
        "/Token",
        "/x/../token",
        "/./token",
        "/x/..%2ftoken",
        "/token%20",
        "/token%2f",
        "/token;x=1",
        "/token%3f",
        "/token%23",
        "/token.",
        "/.token",
        "/%2ftoken",
        "/..;/token",
        "\\token",
        "/token%00",
        "/%2e%2e/token",
    ]
    .into_iter()
    .enumerate()
    {
        let last = u8::try_from(number + 10).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let heard = front.raw(last, request.into_bytes()).await;
        let status = heard.get(9..12).unwrap_or_default();
        let odd = path.contains("%00")
            || path.contains('\\')
            || path.contains("..")
            || path.contains("%2e");
        assert!(
            status == "404" || (odd && status == "400"),
            "{path}: {heard}"
        );
        assert!(heard.contains("\"success\":false"), "{path}: {heard}");
    }
    assert_eq!(front.simulator.seen(), 0);
}

#[tokio::test]
async fn of_ambiguous_requests_no_more_are_handled_than_were_sent() {
    let front = Front::with(&[("limits.token_network", "1000/60s")], &[]).await;
    let front = std::sync::Arc::new(front);
    let mut asking = JoinSet::new();
    for (number, case) in table().into_iter().enumerate() {
        if READ_BY_LF.contains(&case.name.as_str()) {
            continue;
        }
        let front = std::sync::Arc::clone(&front);
        asking.spawn(async move {
            let bytes = case
                .bytes
                .replace("Host: localhost", &format!("Host: {HOST}"));
            let bytes = if case.mints == 0 {
                marked(&bytes)
            } else {
                bytes
            };
            let last = u8::try_from(number + 10).unwrap();
            (case, front.raw(last, bytes.into_bytes()).await)
        });
    }
    let (mut promised, mut given, mut sent) = (0, 0, 0);
    for (case, heard) in asking.join_all().await {
        let secrets = heard.matches("\"value\":\"ek_sim_").count();
        // What was not even understood was not handled.
        let answers = heard.matches("HTTP/1.1 ").count() - heard.matches("HTTP/1.1 400").count();
        // nginx leaves away headers that it does not understand, and what is left may be a good request.
        assert!(
            secrets <= case.mints.max(1),
            "{}: {secrets} secrets: {heard}",
            case.name
        );
        assert!(
            answers <= case.statuses.len().max(1),
            "{}: {answers} answers: {heard}",
            case.name
        );
        promised += case.mints.max(1) as u64;
        given += secrets as u64;
        sent += case.statuses.len().max(1);
    }
    // The plain ones are read.
    assert!(given >= 5, "{given}");
    assert!(
        front.simulator.seen() <= promised,
        "{} of {promised}",
        front.simulator.seen()
    );
    assert_eq!(front.simulator.seen(), given);
    let front = std::sync::Arc::into_inner(front).unwrap();
    let ended = tokio::time::timeout(SOON, front.broker.unwrap().stop())
        .await
        .unwrap();
    assert!(
        !ended.out.contains("/session"),
        "something smuggled was handled: {}",
        ended.out
    );
    let handled = ended.out.matches("\"target\":\"access\"").count();
    assert!(handled <= sent, "{handled} of {sent}");
}

/// nginx ends the lines of chunks at LF too, so that to it there are two plain requests. It words both anew for the
/// broker: nothing is smuggled past it, unless yet another proxy in front reads otherwise.
const READ_BY_LF: [&str; 2] = ["chunk line ended by LF", "chunk extension with a line end"];

/// The same, with what is smuggled in it leading elsewhere.
fn marked(bytes: &str) -> String {
    match bytes.rfind("POST /token") {
        Some(at) if at > 0 => format!(
            "{}{}",
            &bytes[..at],
            bytes[at..].replacen("/token", "/session", 1)
        ),
        _ => bytes.to_owned(),
    }
}

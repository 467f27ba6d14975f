//! nginx's own refusals: in our layout, and readable by the pages that may call.

use tokio::task::JoinSet;

use super::nginx_front::{Front, HOST};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::waiting::PATIENCE;

const EVIL: &str = "https://evil.example";

/// Asserts that it is nginx's own answer, with this status and code, and that `origin` may read it or not.
#[track_caller]
fn is_edge(answer: &Answer, status: u16, code: &str, origin: &str) {
    answer.is(status, code);
    let own =
        answer.header("x-ratelimit-limit").is_none() && answer.header("server-timing").is_none();
    assert!(own, "the broker answered: {answer:?}");
    let readable = (origin == PAGE).then_some(PAGE);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        readable,
        "{answer:?}"
    );
    assert_eq!(
        answer.header("access-control-expose-headers").is_some(),
        origin == PAGE,
        "{answer:?}"
    );
    assert_eq!(answer.header("vary"), Some("Origin"), "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("cache-control"),
        Some("no-store"),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=63072000"),
        "{answer:?}"
    );
    assert_eq!(
        answer
            .header("retry-after")
            .map(|seconds| seconds.parse().unwrap()),
        answer.json["error"]["retry_after"].as_u64(),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_body_of_140_kilobytes_is_413() {
    let front = Front::new().await;
    for origin in [PAGE, EVIL] {
        let post = front
            .post("/token")
            .header("content-type", "application/json")
            .body("a".repeat(140_000));
        let answer = Answer::to(post.header("origin", origin)).await;
        is_edge(&answer, 413, "payload_too_large", origin);
    }
    // Between the two limits the broker answers.
    let post = front
        .post("/token")
        .header("content-type", "application/json")
        .body("a".repeat(20_000));
    let answer = Answer::to(post.header("origin", PAGE)).await;
    answer.is(413, "payload_too_large");
    assert!(answer.header("x-ratelimit-limit").is_some(), "{answer:?}");
    assert_eq!(front.simulator.seen(), 0);
}

#[tokio::test]
async fn f35_cookies_of_the_pages_domain_do_not_reach_the_broker_and_too_many_are_told_by_name() {
    let front = Front::new().await;
    let post = |cookies: usize| {
        let post = front.post("/token").header("origin", PAGE);
        let other = post.header("x-monitoring", "a".repeat(4_000));
        other.header("cookie", format!("a={}", "a".repeat(cookies)))
    };
    Answer::to(post(15_000)).await.secret();
    let answer = Answer::to(post(40_000)).await;
    is_edge(&answer, 431, "headers_too_large", PAGE);
    assert_eq!(front.simulator.minted(), 1);
}

#[tokio::test]
async fn the_outer_ring_refuses_floods_with_429_and_probes_are_not_counted() {
    // A smaller ring, so that a small flood fills it.
    let ring = [
        ("burst=200 nodelay", "burst=50 nodelay"),
        ("rate=20r/s", "rate=5r/s"),
    ];
    let front = Front::with(&[], &ring).await;
    let flood = |last: u8, path: &'static str, origin: &'static str| {
        let mut all = JoinSet::new();
        for _ in 0..80 {
            let request = front.request(last, "GET", path).header("origin", origin);
            all.spawn(Answer::to(request));
        }
        all.join_all()
    };
    for (last, origin) in [(3, PAGE), (4, EVIL)] {
        let answers = flood(last, "/nothing", origin).await;
        let (refused, let_through): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 429);
        assert!(refused.len() >= 10, "{} of 80 refused", refused.len());
        assert!(
            let_through.len() >= 50 && let_through.iter().all(|answer| answer.status == 404),
            "{}",
            let_through.len()
        );
        for answer in refused {
            is_edge(answer, 429, "rate_limited", origin);
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    let probes = flood(5, "/readyz", PAGE).await;
    assert!(probes.iter().all(|answer| answer.status == 200));
    // Only the probes' own paths are free.
    let lookalikes = flood(7, "/x/health", PAGE).await;
    assert!(lookalikes.iter().any(|answer| answer.status == 429));
    // Somebody else's flood is nobody else's.
    assert_eq!(
        Answer::to(front.request(6, "POST", "/token")).await.status,
        200
    );
}

#[tokio::test]
async fn a_broker_that_is_gone_is_503_upstream_unavailable_until_it_is_back() {
    let mut front = Front::new().await;
    assert_eq!(Answer::to(front.get("/readyz")).await.status, 200);
    let ended = front.broker.take().unwrap().stop().await;
    assert_eq!(ended.code, Some(0));
    for origin in [PAGE, EVIL] {
        let answer = Answer::to(front.post("/token").header("origin", origin)).await;
        is_edge(&answer, 503, "upstream_unavailable", origin);
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
}

#[tokio::test]
async fn a_broker_that_is_stopped_in_its_tracks_is_504_upstream_timeout() {
    let patience = ("proxy_read_timeout    20s;", "proxy_read_timeout 1s;");
    let front = Front::with(&[], &[patience]).await;
    front.simulator.plan("2xslow:4s".parse().unwrap());
    for origin in [PAGE, EVIL] {
        // Not refused for its origin before it waits.
        let path = if origin == PAGE { "/token" } else { "/nothing" };
        if origin == EVIL {
            front.broker().running.signal("STOP");
        }
        let answer = Answer::to(front.post(path).header("origin", origin)).await;
        if origin == EVIL {
            front.broker().running.signal("CONT");
        }
        is_edge(&answer, 504, "upstream_timeout", origin);
    }
}

#[tokio::test]
async fn a_foreign_host_is_421_and_a_foreign_name_is_not_even_shaken_hands_with() {
    let front = Front::new().await;
    let heard = front.raw(2, b"POST /token HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()).await;
    assert!(heard.starts_with("HTTP/1.1 421 "), "{heard}");
    assert!(heard.contains(r#""code":"misdirected""#), "{heard}");
    let port = front.https.port();
    let foreign = crate::kit::http::client()
        .get(format!("https://localhost:{port}/livez"))
        .send()
        .await;
    assert!(foreign.is_err(), "{foreign:?}");
    assert_eq!(front.simulator.seen(), 0);
}

#[tokio::test]
async fn metrics_have_no_way_out() {
    let front = Front::new().await;
    for path in ["/metrics", "/METRICS", "/api/metrics", "/metrics/x"] {
        let answer = Answer::to(front.get(path).header("origin", PAGE)).await;
        is_edge(&answer, 404, "not_found", PAGE);
    }
    let plural = Answer::to(front.get("/metrics2").header("origin", PAGE)).await;
    plural.is(404, "not_found");
}

#[tokio::test]
async fn a_request_that_nginx_does_not_understand_is_refused_in_the_form_of_the_brokers_failures() {
    let front = Front::new().await;
    let fields = "a".repeat(20_000);
    for (number, (request, status)) in [
        (
            format!("TRACE /token HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            "405",
        ),
        (
            format!("POST /token HTTP/1.1\r\nHost: {HOST}\r\nX-Long: {fields}\r\n\r\n"),
            "431",
        ),
        (
            format!("POST /{fields} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            "414",
        ),
        ("POST /token HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (
            format!("POST /token HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n"),
            "400",
        ),
        (
            format!("POST /token HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: gzip\r\n\r\n"),
            "501",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let last = u8::try_from(number + 10).unwrap();
        let heard = tokio::time::timeout(PATIENCE, front.raw(last, request.into_bytes()))
            .await
            .unwrap();
        let is_ours = heard.contains("\"success\":false,\"error\":{") && !heard.contains("<html>");
        assert_eq!(
            (heard.get(9..12), is_ours),
            (Some(status), true),
            "{number}: {heard}"
        );
    }
    assert_eq!(front.simulator.seen(), 0);
}

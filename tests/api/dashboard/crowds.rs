//! More calls than a page, or a look at the records, has.

use http_body_util::BodyExt;
use token_broker::upstream::UpstreamError;

use super::pages::{call, card, rows};
use super::{app, cookie, get, read, send};
use crate::kit::in_process::{TestApp, student};

/// A broker that takes thousands of calls.
fn roomy() -> TestApp {
    app(&[
        ("call.max_live_total", "10000"),
        ("limits.verified_address", "10000/60s"),
        ("limits.mints", "10000/60s"),
        ("session.max_live_network", "10000"),
    ])
}

/// The rows that the stream of a live page begins with.
async fn live_rows(test: &TestApp, path: &str) -> usize {
    let live = get(test, path).header("cookie", cookie(test).await);
    let mut body = live.stream().await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let said = String::from_utf8(first.to_vec()).unwrap();
    let said = said.trim().strip_prefix("data: ").unwrap();
    let told: serde_json::Value = serde_json::from_str(said).unwrap();
    told["rows"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_page_and_its_stream_have_two_hundred_calls_and_the_totals_are_those_of_all() {
    let test = roomy();
    for number in 0..203 {
        call(&test, &student(&format!("u{number}"))).await;
    }
    for (path, shown, part) in [
        ("/pages/calls", 200, "calls 1 to 200 of 203,"),
        ("/pages/calls?page=2", 3, "calls 201 to 203 of 203,"),
    ] {
        let page = read(&test, path).await;
        assert_eq!(card(&page, "Live calls"), "203");
        assert_eq!(page.text.matches("data-key=").count(), shown, "{path}");
        assert!(page.text.contains(part), "{path}");
        let links = ["Newer calls", "Older calls"].map(|link| page.text.contains(link));
        assert_eq!(links, [shown == 3, shown == 200]);
        let stream = page.text.split("data-live=\"").nth(1).unwrap();
        let stream = stream.split('"').next().unwrap();
        assert_eq!(live_rows(&test, stream).await, shown, "{stream}");
    }
    let all = rows(&test, "/pages/calls?page=2", "calls").await;
    assert_eq!(all.as_array().unwrap().len(), 203);
    assert_eq!(card(&read(&test, "/").await, "Live calls"), "203");
    // The first call is not among the latest ones.
    let user = "/pages/user?issuer=https%3A%2F%2Fid.example.com%2F&subject=u0";
    assert_eq!(rows(&test, user, "calls").await[0]["User"], "u0");
}

#[tokio::test]
async fn all_of_more_than_a_thousand_calls_are_hung_up_even_when_the_provider_confirms_nothing() {
    const CALLS: usize = 1_001;
    let test = roomy();
    for number in 0..CALLS {
        call(&test, &student(&format!("u{number}"))).await;
        test.calls.fail_hang_up(UpstreamError::TimedOut);
    }
    let done = send(&test, "/pages/calls/hangup", "all=yes").await;
    assert_eq!(done.status, 303, "{}", done.text);
    let rows = rows(&test, "/pages/calls", "calls").await;
    let rows = rows.as_array().unwrap();
    let ended = rows.iter().filter(|row| row["Reason"] == "operator");
    assert_eq!((rows.len(), ended.count()), (CALLS, CALLS));
}

//! Bad input reaches nobody, whatever its form, and costs little.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::OFFER;
use crate::kit::in_process::{Call, TestApp};

/// Damaged forms that are tried. Each run tries the same ones.
const FORMS: u32 = 2_000;
/// Requests over which the processor's time is averaged.
const TIMED: u32 = 50;

/// Makes one request as often as wanted.
type Request<'a> = Box<dyn Fn() -> Call + 'a>;

fn app() -> TestApp {
    TestApp::with(&[
        ("limits.token", "1000000/60s"),
        ("limits.token_network", "1000000/60s"),
        ("limits.anonymous_network", "100"),
        ("limits.anonymous_mints", "1000000/60s"),
        ("limits.mints", "1000000/60s"),
        ("limits.mints_daily", "1000000/24h"),
        ("limits.refused_credentials", "1000000/60s"),
        ("call.max_live_network", "10000"),
        ("call.max_live_anonymous", "1000000"),
        ("call.max_live_total", "1000000"),
    ])
}

/// Pieces of which forms are made, good ones and bad ones.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "--x\r\n",
        "--x--\r\n",
        "--x--",
        "--y\r\n",
        "\r\n",
        "\n",
        "Content-Disposition: form-data; name=\"sdp\"\r\n",
        "Content-Disposition: form-data; name=\"session\"\r\n",
        "Content-Disposition: form-data; name=\"sdp\"; filename=\"../x\"\r\n",
        "Content-Disposition: form-data; name=\"\u{e9}\"\r\n",
        "Content-Disposition: form-data\r\n",
        "Content-Type: application/sdp\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "X: y\r\nX: y\r\n",
        "{\"type\":\"realtime\"}",
        "{\"model\":[[[[[[",
        "\0\u{ff}",
        OFFER,
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A good form in which some bytes were replaced, and of which the end may be missing.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let good = format!(
        "--x\r\nContent-Disposition: form-data; name=\"sdp\"\r\n\r\n{OFFER}\r\n\
         --x\r\nContent-Disposition: form-data; name=\"session\"\r\n\r\n{{}}\r\n--x--\r\n"
    );
    let damage = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let end = prop::option::of(any::<Index>());
    (damage, end).prop_map(move |(damage, end)| {
        let mut form = good.clone().into_bytes();
        for (at, byte) in damage {
            *at.get_mut(&mut form) = byte;
        }
        if let Some(end) = end {
            form.truncate(end.index(form.len()));
        }
        form
    })
}

/// Rows CA11 and CA12: a form is understood or refused, and only an offer that was understood reaches the provider.
#[test]
fn ca11_ca12_no_damaged_form_breaks_anything_or_reaches_the_provider() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let app = app();
    let config = Config {
        cases: FORMS,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let forms = prop_oneof![pieces(), damaged()];
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tried = runner.run(&forms, |form| {
        let before = app.calls.orders().len();
        let post = app
            .post("/calls")
            .body("multipart/form-data; boundary=x", form);
        let status = runtime.block_on(post.send()).status;
        let reached = app.calls.orders().len() - before;
        prop_assert!([201, 400, 413].contains(&status), "{status}");
        prop_assert_eq!(reached, usize::from(status == 201));
        Ok(())
    });
    tried.unwrap();
}

/// The processor's time that this thread has used so far.
fn used() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// Row CA10: a refusal takes less than a millisecond of a processor. A build for tests has ten times as much.
#[tokio::test]
async fn ca10_bad_input_is_refused_for_little_of_the_processors_time_and_reaches_nobody() {
    let app = app();
    let long_line = format!("{OFFER}a=x:{}\r\n", "a".repeat(60_000));
    let lines = "a=x\r\n".repeat(13_000);
    let sections = format!("{OFFER}{}", "m=audio 9 RTP 0\r\n".repeat(3_000));
    let part = format!(
        "--x\r\nContent-Disposition: form-data; name=\"sdp\"\r\n\r\n{}\r\n--x--\r\n",
        "x".repeat(65_537)
    );
    let tricks = "--x\r\n\r\n".repeat(12_000);
    let headers = format!("--x\r\n{}\r\n", "A: b\r\n".repeat(20_000));
    let ticket = format!("ek_{}", "A".repeat(43));
    let raw = |body: &str| app.post("/calls").body("application/sdp", body.to_owned());
    let form = |body: &str| {
        let kind = "multipart/form-data; boundary=x";
        app.post("/calls").body(kind, body.to_owned())
    };
    let most = Duration::from_millis(if cfg!(debug_assertions) { 10 } else { 1 });
    let bad: [(&str, Request<'_>); 9] = [
        ("a long line", Box::new(|| raw(&long_line))),
        ("many lines", Box::new(|| raw(&lines))),
        ("many sections", Box::new(|| raw(&sections))),
        ("no text", Box::new(|| raw("v=0\r\n\0"))),
        ("too long", Box::new(|| raw(&"a=x\r\n".repeat(13_200)))),
        ("a large part", Box::new(|| form(&part))),
        ("many empty parts", Box::new(|| form(&tricks))),
        ("many headers of a part", Box::new(|| form(&headers))),
        ("a foreign ticket", Box::new(|| raw(OFFER).bearer(&ticket))),
    ];
    for (what, request) in bad {
        let began = used();
        for _ in 0..TIMED {
            let status = request().send().await.status;
            assert!((400..500).contains(&status), "{what}: {status}");
        }
        let each = used().saturating_sub(began) / TIMED;
        assert!(each <= most, "{what}: {each:?}");
    }
    assert!(app.calls.orders().is_empty());
}

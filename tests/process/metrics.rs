//! `/metrics` of the real executable, as Prometheus' own programs read it.

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::http::client;
use crate::kit::programs::{installed, program, run};
use crate::kit::provider::simulator;
use crate::kit::scratch::Scratch;

const TOKEN: &str = "operators-token-that-is-long-enough";
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn scrape(broker: &Broker, accept: &str) -> Answer {
    let ready = broker.running.logged(|line| line["message"] == "ready");
    let operators = ready.await["operators"].as_str().unwrap().to_owned();
    let request = client().get(format!("{operators}/metrics"));
    Answer::to(request.bearer_auth(TOKEN).header("accept", accept)).await
}

#[tokio::test]
async fn promtool_has_nothing_to_say_and_a_strict_parser_reads_openmetrics() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).env("BROKER_OPS__TOKEN", TOKEN);
    let broker = launch.set("ops.listen", "127.0.0.1:0").start().await;
    for _ in 0..3 {
        let answer = Answer::to(broker.post("/token")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let wrong = broker.post("/token").header("origin", "https://evil.test");
    Answer::to(wrong).await.is(403, "origin_not_allowed");

    let (plain, open) = (
        scrape(&broker, "text/plain").await,
        scrape(&broker, OPEN).await,
    );
    assert_eq!(open.header("content-type"), Some(OPEN));
    let written = "broker_ledger_commits_total ";
    let commits = plain.text.lines().find(|line| line.starts_with(written));
    let commits: u64 = commits.unwrap()[written.len()..].parse().unwrap();
    assert!(commits >= 3, "{commits}");
    let folder = Scratch::new();
    folder.file("plain", &plain.text);
    folder.file("open", &open.text);
    folder.file("read.py", READ);
    let mut promtool = program("sh");
    promtool.args(["-c", "promtool check metrics <plain"]);
    let (is_clean, out, err) = run(promtool.current_dir(folder.path())).await;
    assert!(is_clean && (out + &err).is_empty(), "{err}");
    let mut python = program(installed("python/bin/python"));
    let (is_clean, families, err) = run(python.arg("read.py").current_dir(folder.path())).await;
    assert!(is_clean, "{err}");
    assert!(families.trim().parse::<usize>().unwrap() > 40, "{families}");
}

/// Reads the file strictly, and counts the families.
const READ: &str = "from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                    print(len(list(read(open('open').read()))))\n";

#[tokio::test]
async fn a_scrape_every_moment_is_neither_counted_nor_logged() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).env("BROKER_OPS__TOKEN", TOKEN);
    let broker = launch.set("ops.listen", "127.0.0.1:0").start().await;
    for _ in 0..20 {
        assert_eq!(scrape(&broker, "text/plain").await.status, 200);
    }
    let page = scrape(&broker, "text/plain").await.text;
    assert!(!page.contains("route=\"/metrics\""));
    let ended = broker.stop().await;
    assert!(!ended.out.contains("/metrics"), "{}", ended.out);
}

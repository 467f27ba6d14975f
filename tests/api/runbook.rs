//! Files for operators: the runbook, the alerts and the board know each other, and what is exported.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::kit::in_process::TestApp;
use crate::metrics::{app, scrape};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

/// The names in `text` that begin as those of series do.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !is_part(letter));
    let names = words.filter(|word| word.starts_with("broker_") || word.starts_with("process_"));
    names.map(str::to_owned).collect()
}

fn alerts() -> Vec<String> {
    let rules = read("config/prometheus/alerts.yml");
    let lines = rules.lines().map(str::trim);
    let alerts = lines.filter_map(|line| line.strip_prefix("- alert: "));
    alerts.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_series_that_the_board_and_the_alerts_name_is_exported() {
    let test = app(&[]);
    test.open().await;
    let page = scrape(&test, "text/plain").await.text;
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut known = BTreeSet::new();
    for (name, kind) in kinds.map(|line| line.split_once(' ').unwrap()) {
        let endings: &[_] = if kind == "histogram" {
            &["_bucket", "_count"]
        } else {
            &[""]
        };
        known.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    for file in [
        "config/grafana/broker.json",
        "config/prometheus/alerts.yml",
        "config/prometheus/alerts.test.yml",
    ] {
        let named = named(&read(file));
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(named.len() > 12, "{file}: {named:?}");
    }
}

#[test]
fn the_board_has_fourteen_panels_that_fit_and_ask_the_chosen_source() {
    let text = read("config/grafana/broker.json");
    assert!(text.len() < 40_000);
    let board: Value = serde_json::from_str(&text).unwrap();
    assert!(board["schemaVersion"].as_u64() >= Some(39));
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len());
    let panels: Vec<_> = panels
        .iter()
        .filter(|panel| panel["type"] != "row")
        .collect();
    assert_eq!(panels.len(), 14);
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let place = &panel["gridPos"];
        assert!(
            place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24,
            "{title}"
        );
        assert!(
            !panel["description"].as_str().unwrap().is_empty(),
            "{title}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert!(
                query.contains("{instance=~\"$instance\""),
                "{title}: {query}"
            );
            // These units are a second's. An increase is that of its whole window.
            let is_of_a_second = unit.ends_with("ps");
            assert!(
                !is_of_a_second || query.contains("rate("),
                "{title}: {query}"
            );
        }
    }
}

#[test]
fn no_two_panels_of_the_board_lie_in_one_place() {
    let board: Value = serde_json::from_str(&read("config/grafana/broker.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        for place in (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column))) {
            assert!(taken.insert(place), "{}: {place:?}", panel["title"]);
        }
    }
}

#[tokio::test]
async fn every_alert_and_every_code_has_its_place_in_the_runbook() {
    let (runbook, rules) = (
        read("docs/runbook.md"),
        read("config/prometheus/alerts.yml"),
    );
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(
        sections.collect::<BTreeSet<_>>(),
        alerts().iter().map(String::as_str).collect()
    );
    let tests = read("config/prometheus/alerts.test.yml")
        + &read("config/prometheus/alerts.history.test.yml");
    for alert in alerts() {
        let url = format!("runbook_url: docs/runbook.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&url), "{url}");
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert} has no test"
        );
    }
    let document = TestApp::new().get("/openapi.json").send().await.json;
    let codes = document["components"]["schemas"]["Code"].to_string();
    let is_code = |word: &&str| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        !OF_SCHEMAS.contains(word) && word.bytes().all(is_word)
    };
    let codes: BTreeSet<_> = codes.split('"').filter(is_code).collect();
    let rows = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("| <a id=\""));
    let rows: BTreeSet<_> = rows.map(|row| row.split('"').next().unwrap()).collect();
    assert_eq!(rows, codes);
}

/// Words of JSON schemas that look like codes.
const OF_SCHEMAS: [&str; 6] = ["type", "string", "enum", "const", "description", ""];

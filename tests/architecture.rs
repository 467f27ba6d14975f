//! The rules of the house that no compiler knows: floors, sizes, words.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by floor, lowest first. Imports point down only, and never sideways.
const FLOORS: [&[&str]; 9] = [
    &["clock", "domain", "provider"],
    &[
        "http_client",
        "limit",
        "metrics",
        "spans",
        "tls",
        "websocket",
    ],
    &["config"],
    &[
        "audit",
        "auth",
        "gate",
        "records",
        "telemetry",
        "upstream",
        "webhook",
    ],
    &["broker"],
    &["relay"],
    &["web"],
    &["app", "simulator"],
    &["cli", "main", "lib"],
];

/// Neighbours that may nevertheless see each other, or rooms that may see less than their floor allows.
const NEIGHBOURS: [(&str, &str); 3] = [
    ("domain", "clock"),
    ("domain", "provider"),
    ("http_client", "tls"),
];
const SIMULATOR_SEES: [&str; 3] = ["clock", "domain", "provider"];

/// The files that may speak HTTP to others.
const KNOW_REQWEST: [&str; 12] = [
    "http_client.rs",
    "upstream/openai/mod.rs",
    "upstream/openai/calls.rs",
    "upstream/openai/costs.rs",
    "upstream/openai/keys.rs",
    "upstream/openai/models.rs",
    "upstream/openai/socket.rs",
    "upstream/openai/transcription.rs",
    "upstream/connections.rs",
    "auth/http.rs",
    "webhook.rs",
    "telemetry/export.rs",
];

/// How tests let real time pass, and most places where they may. Everything else is waited for.
const SLEEPS: [&str; 4] = [
    "sleep(",
    "sleep_until(",
    "amid_the_work(",
    "thread::park_timeout(",
];
const MOST_SLEEPS: usize = 10;

/// Most lines of a source file.
const CEILING: usize = 400;

/// Endings of type names that say nothing.
const EMPTY_WORDS: [&str; 7] = [
    "Manager", "Helper", "Handler", "Service", "Data", "Info", "Util",
];

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let skipped = ["node_modules", "target", "dist"]
                .iter()
                .any(|name| path.ends_with(name));
            if path.is_dir() && !skipped {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    files("src", "rs")
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The room a file belongs to: the first part of its path below `src`.
fn room(path: &Path) -> String {
    let below = path.strip_prefix("src").unwrap();
    let first = Path::new(below.components().next().unwrap().as_os_str());
    first.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn floor(room: &str) -> usize {
    let place = FLOORS.iter().position(|rooms| rooms.contains(&room));
    place.unwrap_or_else(|| {
        panic!("{room} stands on no floor: add it to docs/architecture.md and here")
    })
}

/// The rooms that a text names after `crate::`, braces included.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for rest in text.split("crate::").skip(1) {
        let parts = match rest.strip_prefix('{') {
            Some(list) => listed(list),
            None => vec![rest],
        };
        for part in parts.into_iter().map(str::trim_start) {
            let name = part
                .split(|letter| !is_word(letter))
                .next()
                .unwrap_or_default();
            if !name.is_empty() {
                rooms.push(name.to_owned());
            }
        }
    }
    rooms
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The parts of a list up to its closing brace. Lists within it belong to their part.
fn listed(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts
}

/// What breaks the law of floors, as `file -> room`.
fn upward(sources: &[(PathBuf, String)]) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, text) in sources {
        let here = room(path);
        // Whoever climbs out of a room would be seen in none.
        let deep = path.components().count() - 1 - usize::from(path.ends_with("mod.rs"));
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        if code.contains(&"super::".repeat(deep)) {
            broken.push(format!("{} climbs out of its room", path.display()));
        }
        for there in imports(text) {
            let known = FLOORS.iter().any(|rooms| rooms.contains(&there.as_str()));
            if !known || there == here || NEIGHBOURS.contains(&(here.as_str(), there.as_str())) {
                continue;
            }
            let blind = here == "simulator" && !SIMULATOR_SEES.contains(&there.as_str());
            if floor(&there) >= floor(&here) || blind {
                broken.push(format!("{} -> {there}", path.display()));
            }
        }
    }
    broken
}

#[test]
fn imports_point_down_only() {
    let sources = sources();
    for (path, _) in &sources {
        assert!(floor(&room(path)) < FLOORS.len());
    }
    assert_eq!(upward(&sources), Vec::<String>::new());
}

#[test]
fn a_planted_import_is_found() {
    let planted = |path: &str, text: &str| vec![(PathBuf::from(path), text.to_owned())];
    for (path, text) in [
        ("src/records/memory.rs", "use crate::web::error;"),
        ("src/records/memory.rs", "use crate::upstream::Minter;"),
        ("src/limit/mod.rs", "use crate::{clock, config::Limits};"),
        (
            "src/records/memory.rs",
            "use crate::{domain::{Caller, Rate}, web::error};",
        ),
        ("src/records/memory.rs", "use super::super::web::error;"),
        (
            "src/simulator/mod.rs",
            "fn f() { crate::config::Config::x() }",
        ),
        ("src/clock.rs", "use crate::domain::Network;"),
    ] {
        assert_eq!(upward(&planted(path, text)).len(), 1, "{path}: {text}");
    }
    assert!(upward(&planted("src/web/mod.rs", "use crate::{broker, domain};")).is_empty());
}

#[test]
fn only_the_web_knows_axum_and_only_the_edges_know_reqwest_and_redis() {
    for (path, text) in sources() {
        let here = room(&path);
        let code = text.split("#[cfg(test)]").next().unwrap();
        let knows = |name: &str| {
            let is_outer =
                |before: &str| !before.ends_with(|letter| is_word(letter) || letter == ':');
            let path = format!("{name}::");
            let mut named = code.match_indices(&path);
            named.any(|(at, _)| is_outer(&code[..at])) || code.contains(&format!("use {name}"))
        };
        assert!(
            !knows("axum") || ["web", "app", "simulator"].contains(&here.as_str()),
            "{} knows axum",
            path.display()
        );
        assert!(
            !knows("reqwest") || KNOW_REQWEST.iter().any(|file| path.ends_with(file)),
            "{} knows reqwest",
            path.display()
        );
        // The settings have a section of that name.
        assert!(
            !knows("redis") || path.starts_with("src/gate/windows") || here == "config",
            "{} knows redis",
            path.display()
        );
    }
}

#[test]
fn every_file_says_in_its_first_line_what_it_owns_and_is_short() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{} does not begin with what it owns",
            path.display()
        );
    }
    for folder in ["src", "tests", "benches", "sdk/src"] {
        for path in files(folder, "rs").into_iter().chain(files(folder, "ts")) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= CEILING, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn few_tests_let_real_time_pass_and_each_says_why() {
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    // `waiting.rs` has the pause between two polls, and the sleep that is counted wherever it is used.
    for path in files("tests", "rs") {
        if path.ends_with("kit/waiting.rs") || path.ends_with("architecture.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if !SLEEPS.iter().any(|sleep| line.contains(sleep)) {
                continue;
            }
            let place = format!("{}:{}", path.display(), number + 1);
            let above = &lines[number.saturating_sub(2)..number];
            if !above.iter().any(|line| line.trim().starts_with("//")) {
                silent.push(place.clone());
            }
            found.push(place);
        }
    }
    assert!(!found.is_empty(), "sleeps are no longer found");
    assert!(found.len() <= MOST_SLEEPS, "too many: {found:#?}");
    assert!(silent.is_empty(), "no reason beside: {silent:#?}");
}

#[test]
fn no_type_is_named_with_an_empty_word() {
    for (path, text) in sources() {
        for line in text.lines() {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| !["struct", "enum", "trait"].contains(word));
            let Some(name) = words.nth(1) else { continue };
            let name: String = name
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            let empty = EMPTY_WORDS.iter().any(|word| name.ends_with(word));
            assert!(
                !empty || line.trim_start().starts_with("//"),
                "{}: {name}",
                path.display()
            );
        }
    }
}

#[test]
fn settings_example_reference_and_changelog_know_each_other() {
    let defaults: toml::Table = fs::read_to_string("config/default.toml")
        .unwrap()
        .parse()
        .unwrap();
    let (example, reference) = (
        fs::read_to_string(".env.example").unwrap(),
        fs::read_to_string("docs/operating.md").unwrap(),
    );
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    let mut missing = BTreeMap::new();
    for (section, settings) in &defaults {
        for file in [
            ("docs/operating.md", &reference),
            ("CHANGELOG.md", &changelog),
        ] {
            if !file.1.contains(&format!("`{section}."))
                && !file.1.contains(&format!("[{section}]"))
            {
                missing.insert(section.clone(), file.0);
            }
        }
        for name in settings.as_table().into_iter().flat_map(toml::Table::keys) {
            let variable = format!("BROKER_{}__{}", section.to_uppercase(), name.to_uppercase());
            let short = token_broker::config::short_name(&format!("{section}.{name}"));
            let known =
                example.contains(&variable) || short.is_some_and(|short| example.contains(short));
            if !known {
                missing.insert(variable, ".env.example");
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_readme_stays_short_and_every_file_exists_that_a_document_links_or_names() {
    let readme = fs::read_to_string("README.md").unwrap();
    assert!(
        readme.lines().count() <= 150,
        "the README is longer than 150 lines"
    );
    let mut documents = files("docs", "md");
    for name in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        documents.push(name.into());
    }
    let sources = [files("src", "rs"), files("tests", "rs")].concat();
    let mut links = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let is_end = |letter: char| !(letter.is_ascii_alphanumeric() || "_-./".contains(letter));
        let is_source = |word: &&str| Path::new(word).extension().is_some_and(|end| end == "rs");
        for word in text.split(is_end).filter(is_source) {
            let named = word.trim_start_matches("../");
            let is_there = sources.iter().any(|source| source.ends_with(named));
            assert!(is_there, "{}: {word}", document.display());
        }
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let place = document.parent().unwrap().join(target);
            assert!(place.exists(), "{}: {target}", document.display());
            links += 1;
        }
    }
    assert!(links > 30, "only {links} links were found");
}

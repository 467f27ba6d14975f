//! That what is shown and shipped is true: listing, `Debug`, `.env.example`, `config/default.toml`.

use token_broker::config::{Source, environment_name, short_name};

use super::*;

#[test]
fn the_key_is_never_shown() {
    let loaded = serve(&good_and(&[]));
    assert!(!format!("{loaded:?}").contains(CANARY));
    assert!(!format!("{:?}", loaded.config).contains(CANARY));
    let listing: Vec<_> = loaded.listing().collect();
    assert!(!format!("{listing:?}").contains(CANARY));
    let masked = Source::Environment("OPENAI_API_KEY".into());
    assert!(listing.contains(&("upstream.api_key", "***", &masked)));
}

const EXAMPLE: &str = include_str!("../../.env.example");

/// Name, text and whether it is commented out, of each setting in the example.
fn example() -> Vec<(String, String, bool)> {
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with("# ");
    let lines = EXAMPLE.lines().filter(is_setting);
    lines
        .map(|line| {
            let bare = line.strip_prefix('#').unwrap_or(line);
            let mut read = dotenvy::from_read_iter(bare.as_bytes());
            let (name, text) = read.next().unwrap().unwrap();
            (name, text, bare != line)
        })
        .collect()
}

#[test]
fn every_line_of_the_example_loads_and_shows_the_default() {
    let example = example();
    let required = example.iter().filter(|(.., is_comment)| !is_comment);
    let required: Vec<_> = required
        .map(|(name, text, _)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        required.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        [KEY.0, ORIGINS.0]
    );
    let usual = serve(&sources(&required));
    let before: Vec<_> = usual
        .listing()
        .map(|(name, value, _)| (name, value))
        .collect();
    for (name, text, _) in example.iter().filter(|(.., is_comment)| *is_comment) {
        if name == "OPENAI_API_KEY_FILE" {
            serve(&sources(&[ORIGINS, (name, text)]));
            continue;
        }
        let loaded = serve(&sources(&[&required[..], &[(name, text)]].concat()));
        let after: Vec<_> = loaded
            .listing()
            .map(|(name, value, _)| (name, value))
            .collect();
        assert_eq!(before, after, "{name}={text}");
    }
}

#[test]
fn every_setting_stands_in_the_example_once_and_nothing_else_does() {
    let loaded = serve(&good_and(&[]));
    let settings = loaded.listing().map(|(name, ..)| name);
    let best_name =
        |setting| short_name(setting).map_or_else(|| environment_name(setting), Into::into);
    let mut expected: Vec<String> = settings.map(best_name).chain(["PORT".into()]).collect();
    let mut written: Vec<String> = example().into_iter().map(|(name, ..)| name).collect();
    expected.sort();
    written.sort();
    assert_eq!(written, expected);
}

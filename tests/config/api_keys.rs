//! `[[upstream.api_keys]]`: several keys of the provider.

use super::*;

const TWO: &str = r#"
[[upstream.api_keys]]
alias = "main"
key_file = "key"
[[upstream.api_keys]]
alias = "school"
key = "sk-canary7f3a-school"
personas = ["zoe", "transcription"]
roles = ["tutor"]
"#;

/// The two keys, beside the personas of these tests and without a single key.
fn file(text: &str) -> Sources {
    let mut sources = sources(&[ORIGINS]);
    sources.file = Some(super::file(text));
    sources.flags = pairs(&[
        ("personas.file", "personas.toml"),
        ("personas.default", "zoe"),
    ]);
    sources
}

#[test]
fn several_keys_have_aliases_and_say_whom_they_are_for() {
    let loaded = serve(&file(TWO));
    let keys = loaded.config.upstream.keys();
    let aliases: Vec<_> = keys.iter().map(|key| &*key.alias).collect();
    assert_eq!(aliases, ["main", "school"]);
    assert!(keys[0].is_for_everybody() && !keys[1].is_for_everybody());
    assert_eq!(keys[1].personas[0].as_str(), "zoe");
    let roles = &loaded.config.auth.known_roles;
    assert!(roles.iter().any(|role| &**role == "tutor"), "{roles:?}");
    assert!(!format!("{keys:?}").contains(CANARY));
    let mut listing = loaded.listing();
    let shown = listing.find(|(name, ..)| *name == "upstream.api_keys[2].key");
    assert_eq!(shown.unwrap().1, "***");
}

#[test]
fn the_single_key_is_the_first_one_and_the_previous_one_is_retired() {
    let mut all = file(TWO);
    let single = pairs(&[
        ("upstream.api_key", "sk-canary7f3a-single"),
        ("upstream.previous_api_key", "sk-canary7f3a-before"),
    ]);
    all.flags.extend(single);
    let keys = serve(&all).config.upstream.keys();
    let told = keys.iter().map(|key| (&*key.alias, key.is_retired));
    let expected = [
        ("default", false),
        ("main", false),
        ("school", false),
        ("previous", true),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    // While a key is replaced, both settings may name it.
    all.flags.last_mut().unwrap().1 = "sk-canary7f3a-single".into();
    assert_eq!(serve(&all).config.upstream.keys().len(), 3);
}

#[test]
fn mistakes_in_api_keys_are_refused_by_name() {
    for (replaced, by, complaint) in [
        ("alias = \"school\"", "", "upstream.api_keys[2].alias"),
        ("\"school\"", "\"main\"", "different from other aliases"),
        ("\"school\"", "\"default\"", "from default and previous"),
        ("\"school\"", "\"Canary7f3a!\"", "must be a short name"),
        (
            "key_file = \"key\"",
            "",
            "a file with the key and nothing else",
        ),
        ("\"key\"", "\"nowhere\"", "names a file that cannot be read"),
        (
            "\"sk-canary7f3a-school\"",
            "\"sk-canary7f3a\"",
            "is the key of another alias, too",
        ),
        (
            "\"sk-canary7f3a-school\"",
            "\"sk canary7f3a\"",
            "holds a space",
        ),
        ("\"zoe\", ", "\"nobody\", ", "must name personas"),
        (
            "key_file = \"key\"",
            "key_file = \"key\"\nretired = true",
            "set OPENAI_API_KEY",
        ),
        ("roles", "role", "is not a field of upstream.api_keys"),
    ] {
        let text = TWO.replacen(replaced, by, 1);
        assert_ne!(text, TWO, "{replaced}");
        let errors = Config::from_sources(Mode::Serve, &file(&text)).unwrap_err();
        let said = errors.to_string();
        assert!(said.contains(complaint), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
}

#[test]
fn keys_are_read_again_from_their_files_whatever_else_is_wrong_by_now() {
    let mut sources = file(TWO);
    let before = serve(&sources);
    sources.read = |path| match path.to_str().unwrap() {
        "key" => Ok("sk-canary7f3a-rotated\n".into()),
        // Half of the file of personas is written.
        "personas.toml" => Ok("[zoe".into()),
        _ => read(path),
    };
    let after = before
        .with_secrets(Mode::Serve, &sources, |_| true)
        .unwrap();
    let print = |config: &Config| config.upstream.keys()[0].fingerprint();
    assert_ne!(print(&before.config), print(&after));
    assert_eq!(after.personas.iter().count(), 2);
    sources.read = |path| match path.to_str().unwrap() {
        "key" => Ok("\n".into()),
        _ => read(path),
    };
    let errors = before
        .with_secrets(Mode::Serve, &sources, |_| true)
        .unwrap_err();
    let said = errors.to_string();
    assert!(said.contains("names a file that is empty"), "{said}");
}

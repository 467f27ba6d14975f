//! `[[auth.service_keys]]`: the keys of the operator's own programs.

use super::*;

/// How the hash begins that `printf %s canary7f3a-canary7f3a-canary7f3a | sha256sum` prints.
const BEGINS: [u8; 4] = [0xb2, 0xb2, 0xd0, 0x11];

const TWO: &str = r#"
[auth]
mode = "required"
[[auth.service_keys]]
name = "bridge"
key_file = "hmac"
role = "student"
personas = ["zoe"]
[[auth.service_keys]]
name = "batch"
key_sha256 = "c2f6544d6b3d061ca3b856d1b86c0db67254522f9da68d6f2bd9dc5463b45057"
"#;

fn file(text: &str) -> Sources {
    let mut sources = good_and_file(text);
    sources.flags = pairs(&[
        ("personas.file", "personas.toml"),
        ("personas.default", "zoe"),
    ]);
    sources
}

#[test]
fn a_program_has_a_name_a_key_and_what_it_may_use() {
    let loaded = serve(&file(TWO));
    let [bridge, batch] = loaded.config.auth.service_keys.as_slice() else {
        panic!("{:?}", loaded.config.auth.service_keys);
    };
    assert_eq!((&*bridge.name, &*batch.name), ("bridge", "batch"));
    assert_eq!(bridge.role.as_deref(), Some("student"));
    assert_eq!(bridge.personas[0].as_str(), "zoe");
    assert!(batch.personas.is_empty());
    assert_eq!(bridge.hash.first_chunk(), Some(&BEGINS));
    let shown = |name: &str| {
        let mut all = loaded.listing();
        all.find(|(known, ..)| *known == name).unwrap().1.to_owned()
    };
    assert_eq!(shown("auth.service_keys[1].key"), "***");
}

#[test]
fn mistakes_in_service_keys_are_refused_by_name() {
    for (replaced, by, complaint) in [
        ("name = \"batch\"", "", "auth.service_keys[2].name"),
        (
            "name = \"batch\"",
            "name = \"bridge\"",
            "different from other names",
        ),
        ("key_file = \"hmac\"", "", "either a file with the key"),
        (
            "key_file = \"hmac\"",
            "key = \"canary7f3a\"",
            "at least 32 bytes",
        ),
        ("c2f6", "canary7f3a", "must be 64 hexadecimal digits"),
        ("[\"zoe\"]", "[\"nobody\"]", "auth.service_keys[1].personas"),
        ("personas", "persona", "auth.service_keys[1].persona"),
    ] {
        let text = TWO.replacen(replaced, by, 1);
        let errors = Config::from_sources(Mode::Serve, &file(&text)).unwrap_err();
        let said = errors.to_string();
        assert!(said.contains(complaint), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
}

#[test]
fn service_keys_that_nobody_looks_at_are_warned_of() {
    let warnings = serve(&file(&TWO.replace("required", "off"))).warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with("auth.mode: is off: service keys")),
        "{warnings:?}"
    );
}

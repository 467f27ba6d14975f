//! The settings as operators meet them: sources, refusals, examples.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say where"
)]

use std::io::{Error, ErrorKind};
use std::path::Path;

use token_broker::config::{Config, Loaded, Mode, SettingsFile, Sources};

mod api_keys;
mod bad_issuers;
mod cautions;
mod example;
mod forms;
mod issuers;
mod loaded;
mod otel;
mod personas;
mod quotas;
mod refused;
mod service_keys;
mod sources;
mod stray_bytes;

const CANARY: &str = "canary7f3a";
const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-canary7f3a");
const ORIGINS: (&str, &str) = ("ALLOWED_ORIGINS", "https://app.example.com");

/// Files as the tests see them: no state of the machine.
fn read(path: &Path) -> Result<String, Error> {
    match path.to_str().unwrap() {
        "key" | "/run/secrets/openai" => Ok("sk-canary7f3a\n".into()),
        "windows-key" => Ok("sk-canary7f3a\r\n".into()),
        "quoted-key" => Ok("\"sk-canary7f3a\"\n".into()),
        "marked-key" => Ok("\u{feff}sk-canary7f3a\r\n".into()),
        "digits" => Ok("0123456789\n".into()),
        "two-lines" => Ok("sk-canary7f3a\nsk-canary7f3a\n".into()),
        "empty" => Ok("\n".into()),
        "no-certificate" => Ok(CANARY.into()),
        "certificate" => Ok("-----BEGIN CERTIFICATE-----\n".into()),
        "hmac" => Ok(format!("{LONG_SECRET}\n")),
        "public.pem" => Ok(PUBLIC_KEY.into()),
        "private.pem" => Ok(PUBLIC_KEY.replace("PUBLIC", "PRIVATE") + CANARY),
        "locked" => Err(ErrorKind::PermissionDenied.into()),
        "broken.toml" => Ok(format!("[default]\npublic = true\nkey = \"{CANARY}\n")),
        "long.toml" => Ok(instructions_of(32 * 1024 + 1)),
        "just-short-enough.toml" => Ok(instructions_of(32 * 1024)),
        "personas.toml" => Ok(PERSONAS.into()),
        "members.toml" => Ok(MEMBERS.into()),
        "bad-templates.toml" => Ok(BAD_TEMPLATES.into()),
        "newer.toml" => Ok(NEWER_PERSONA.into()),
        "wrong-type.toml" => Ok("[default]\nsession.audio.output.speed = 'fast'".into()),
        "nan.toml" => Ok("[default]\nsession.x = [{ y = nan }]".into()),
        "inf.toml" => Ok("[default]\nsession.x.y = -inf".into()),
        "date.toml" => {
            Ok("[default]\nsession.model = 'gpt-realtime-2.1'\nsession.x = [2026-12-01]".into())
        }
        "huge.toml" => Ok("[default]\nsession.x = 99999999999999999999".into()),
        "bad-personas.toml" => Ok(BAD_PERSONAS.into()),
        "dictation.toml" => Ok(DICTATION.into()),
        "reserved.toml" => Ok(DICTATION.replace("default", "transcription")),
        "captions.toml" => Ok(DICTATION.replace("direct", "relay")),
        "everywhere.toml" => Ok(DICTATION.replace("connect", "# connect")),
        "bad-calls.toml" => Ok(BAD_CALLS.into()),
        "measured.toml" => Ok(MEASURED.into()),
        _ => Err(ErrorKind::NotFound.into()),
    }
}

/// As long as a secret must be.
const LONG_SECRET: &str = "canary7f3a-canary7f3a-canary7f3a";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";

fn instructions_of(bytes: usize) -> String {
    let instructions = CANARY.repeat(bytes)[..bytes].to_owned();
    format!("[default.session]\ninstructions = '{instructions}'\nmodel = 'gpt-realtime-2.1'\n")
}

const PERSONAS: &str = r#"
[zoe]
public = true
role = "student"
language = "es"
[zoe.session]
model = "gpt-realtime-2.1"
audio.input.turn_detection = "none"

[adam.session]
model = "gpt-realtime-2.1"
"#;

const BAD_PERSONAS: &str = r#"
[Tutor]
pubic = true
language = 5
[Tutor.session]
type = "realtime"

[empty]
public = "yes"
"#;

/// A persona that only transcribes.
const DICTATION: &str = r#"
[default]
public = true
connect = ["direct"]
[default.session]
type = "transcription"
audio.input.transcription.model = "gpt-4o-mini-transcribe"
"#;

const BAD_CALLS: &str = r#"
[default]
hold = "tight"
[default.call]
max_turns = 0
max_live = 5
idle_timeout = "1s"
[default.session]
model = "gpt-realtime-2.1"
"#;

/// Personas with limits of their own.
const MEASURED: &str = r#"
[default]
connect = ["call"]
[default.call]
max_duration = "5m"
[default.session]
model = "gpt-realtime-2.1"

[other]
[other.call]
max_turns = 5
[other.session]
model = "gpt-realtime-2.1"
"#;

const MEMBERS: &str = r#"
[default]
roles = ["member", "board"]
language = "pt-BR"
[default.session]
model = "gpt-realtime-2.1"
instructions = """
Fala {{ language }}.
{% if name %}
Say "{{ name }}".
{% endif %}
"""
"#;

const NEWER_PERSONA: &str = r#"
[default]
public = true
[default.session]
model = "gpt-realtime-9"
new_field = 7
reasoning.effort = "none"
audio.output.voice = "breeze"
"#;

const BAD_TEMPLATES: &str = r#"
[loop]
[loop.session]
model = "gpt-realtime-2.1"
instructions = """
one canary7f3a
{% for letter in name %}
{% endfor %}
"""
[unguarded]
session.instructions = "Hello {{ name }} canary7f3a"

[unknown]
session.instructions = "Hello {{ canary7f3a }}"

[open]
session.instructions = "Hello {% if name %}"

[roles]
roles = []
language = "es MX"
session.model = "gpt-realtime-2.1"

[other]
role = "student"
roles = ["teacher"]
session.audio.output.voice = "nova"
"#;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, text): &(&str, &str)| (name.into(), text.into());
    pairs.iter().map(owned).collect()
}

fn file(text: &str) -> SettingsFile {
    SettingsFile {
        path: "config/broker.toml".into(),
        text: text.into(),
    }
}

fn sources(environment: &[(&str, &str)]) -> Sources {
    Sources {
        environment: pairs(environment),
        read,
        ..Sources::default()
    }
}

/// What is required and good, and a settings file of this text.
fn good_and_file(text: &str) -> Sources {
    Sources {
        file: Some(file(text)),
        ..good_and(&[])
    }
}

/// What is required and good, and `more`.
fn good_and(more: &[(&str, &str)]) -> Sources {
    sources(&[&[KEY, ORIGINS], more].concat())
}

fn serve(sources: &Sources) -> Loaded {
    Config::from_sources(Mode::Serve, sources).unwrap()
}

fn refusal(mode: Mode, sources: &Sources) -> String {
    let errors = Config::from_sources(mode, sources).unwrap_err();
    assert!(!errors.complaints().is_empty());
    let text = errors.to_string();
    assert!(!text.contains(CANARY), "a value was repeated: {text}");
    assert!(!format!("{errors:?}").contains(CANARY), "{errors:?}");
    assert!(text.ends_with("nothing was started"), "{text}");
    assert_eq!(text.lines().count(), errors.complaints().len() + 2);
    text
}

fn shown(loaded: &Loaded, setting: &str) -> (String, String) {
    let mut listing = loaded.listing();
    let (_, value, source) = listing.find(|(name, ..)| *name == setting).unwrap();
    (value.into(), source.to_string())
}

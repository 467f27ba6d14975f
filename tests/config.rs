//! The settings as operators meet them: sources, refusals, examples.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use token_broker::config::{
    Config, HealthDetails, IpBinding, Loaded, LogFormat, Mode, SettingsFile, Source, Sources,
    environment_name, read_file, short_name,
};

const CANARY: &str = "canary7f3a";
const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-canary7f3a");
const ORIGINS: (&str, &str) = ("ALLOWED_ORIGINS", "https://app.example.com");

/// Files as the tests see them: no state of the machine.
fn read(path: &Path) -> Result<String, Error> {
    match path.to_str().unwrap() {
        "key" | "/run/secrets/openai" => Ok("sk-canary7f3a\n".into()),
        "windows-key" => Ok("sk-canary7f3a\r\n".into()),
        "digits" => Ok("0123456789\n".into()),
        "two-lines" => Ok("sk-canary7f3a\nsk-canary7f3a\n".into()),
        "empty" => Ok("\n".into()),
        "no-certificate" => Ok(CANARY.into()),
        "certificate" => Ok("-----BEGIN CERTIFICATE-----\n".into()),
        "locked" => Err(ErrorKind::PermissionDenied.into()),
        "broken.toml" => Ok(format!("[default]\npublic = true\nkey = \"{CANARY}\n")),
        "personas.toml" => Ok(PERSONAS.into()),
        "bad-personas.toml" => Ok(BAD_PERSONAS.into()),
        _ => Err(ErrorKind::NotFound.into()),
    }
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

// --- what is refused

/// Variable, bad text, what the complaint must say.
const BAD_VARIABLES: &[(&str, &str, &str)] = &[
    ("BROKER_SERVER__LISTEN", "localhost:8080", "server.listen"),
    ("BROKER_SERVER__LISTEN", ":8080", "0.0.0.0:8080"),
    ("BROKER_SERVER__LISTEN", "127.0.0.1:99999", "server.listen"),
    ("PORT", "canary7f3a", "server.listen (environment PORT)"),
    ("PORT", "65536", "server.listen"),
    (
        "BROKER_SERVER__BASE_PATH",
        "/a/../canary7f3a",
        "server.base_path",
    ),
    ("BROKER_SERVER__BASE_PATH", "/a%2fb", "server.base_path"),
    ("BROKER_SERVER__BASE_PATH", "/a b", "server.base_path"),
    (
        "BROKER_SERVER__HOSTS",
        "https://canary7f3a.example",
        "server.hosts",
    ),
    (
        "BROKER_SERVER__HOSTS",
        "a.example,b.example/x",
        "entry 2 of 2",
    ),
    (
        "BROKER_SERVER__TRUSTED_PROXIES",
        "0.0.0.0/0",
        "server.trusted_proxies",
    ),
    (
        "BROKER_SERVER__TRUSTED_PROXIES",
        "10.0.0.0/8,::/0",
        "server.trusted_proxies",
    ),
    (
        "BROKER_SERVER__TRUSTED_PROXIES",
        "::ffff:0:0/96",
        "server.trusted_proxies",
    ),
    (
        "BROKER_SERVER__TRUSTED_PROXIES",
        "0.0.0.0/1,128.0.0.0/1",
        "server.trusted_proxies",
    ),
    (
        "BROKER_SERVER__TRUSTED_PROXIES",
        "canary7f3a",
        "server.trusted_proxies",
    ),
    (
        "BROKER_SERVER__REQUIRE_ORIGIN",
        "canary7f3a",
        "must be true or false",
    ),
    (
        "BROKER_SERVER__MAX_CONNECTIONS",
        "0",
        "server.max_connections",
    ),
    (
        "BROKER_SERVER__MAX_CONNECTIONS",
        "-1",
        "server.max_connections",
    ),
    (
        "BROKER_SERVER__MAX_CONNECTIONS",
        "canary7f3a",
        "must be a whole number",
    ),
    (
        "BROKER_SERVER__HEADER_TIMEOUT",
        "0s",
        "server.header_timeout",
    ),
    (
        "BROKER_SERVER__HEADER_TIMEOUT",
        "10",
        "250ms, 60s, 15m or 1h",
    ),
    (
        "BROKER_SERVER__BODY_TIMEOUT",
        "canary7f3a",
        "server.body_timeout",
    ),
    ("BROKER_SERVER__WRITE_TIMEOUT", "1d", "server.write_timeout"),
    (
        "BROKER_SERVER__DRAIN_TIMEOUT",
        "31s",
        "server.drain_timeout",
    ),
    (
        "BROKER_SERVER__DRAIN_TIMEOUT",
        "30s",
        "together with server.drain_delay",
    ),
    (
        "VOICE_AGENT_RATE_LIMIT",
        "0",
        "limits.token (environment VOICE_AGENT_RATE_LIMIT)",
    ),
    ("VOICE_AGENT_RATE_LIMIT", "canary7f3a", "limits.token"),
    ("BROKER_LIMITS__TOKEN", "10", "like 10/60s"),
    ("BROKER_LIMITS__REFRESH", "10/0s", "limits.refresh"),
    (
        "BROKER_LIMITS__TOKEN_NETWORK",
        "-1/60s",
        "limits.token_network",
    ),
    (
        "BROKER_LIMITS__REFRESH_NETWORK",
        "1/canary7f3a",
        "limits.refresh_network",
    ),
    ("BROKER_LIMITS__CAPACITY", "0", "limits.capacity"),
    ("BROKER_GUARD__THRESHOLD", "0", "guard.threshold"),
    ("BROKER_GUARD__THRESHOLD", "-3", "guard.threshold"),
    ("BROKER_GUARD__THRESHOLD", "NaN", "guard.threshold"),
    ("BROKER_GUARD__DECAY", "0s", "guard.decay"),
    (
        "BROKER_GUARD__BLOCK",
        "25h",
        "must not be longer than guard.block_max",
    ),
    ("BROKER_GUARD__BLOCK_MAX", "0s", "guard.block_max"),
    (
        "BROKER_GUARD__NEVER_BLOCK",
        "canary7f3a",
        "guard.never_block",
    ),
    ("BROKER_GUARD__CAPACITY", "0", "guard.capacity"),
    (
        "BROKER_GUARD__WEIGHTS__MALFORMED",
        "-0.25",
        "guard.weights.malformed",
    ),
    (
        "BROKER_GUARD__WEIGHTS__WRONG_ORIGIN",
        "inf",
        "guard.weights.wrong_origin",
    ),
    ("VOICE_AGENT_TOKEN_DURATION", "9", "session.token_seconds"),
    (
        "VOICE_AGENT_TOKEN_DURATION",
        "7201",
        "must be between 10 and 7200",
    ),
    ("VOICE_AGENT_TOKEN_DURATION", "60s", "session.token_seconds"),
    (
        "BROKER_SESSION__MIN_REFRESH_INTERVAL",
        "2h",
        "session.max_age",
    ),
    (
        "BROKER_SESSION__MAX_REFRESHES",
        "-1",
        "session.max_refreshes",
    ),
    ("BROKER_SESSION__MAX_AGE", "0s", "session.max_age"),
    (
        "BROKER_SESSION__IP_BINDING",
        "canary7f3a",
        "one of auto, strict, soft, off",
    ),
    ("BROKER_SESSION__MAX_LIVE", "0", "session.max_live"),
    ("BROKER_SESSION__MAX_LIVE", "100001", "session.max_total"),
    (
        "OPENAI_BASE_URL",
        "canary7f3a",
        "upstream.base_url (environment OPENAI_BASE_URL)",
    ),
    ("OPENAI_BASE_URL", "ftp://canary7f3a", "upstream.base_url"),
    (
        "OPENAI_BASE_URL",
        "http://api.openai.com/v1",
        "must be https",
    ),
    (
        "OPENAI_BASE_URL",
        "http://localhost.canary7f3a.example/v1",
        "must be https",
    ),
    (
        "OPENAI_BASE_URL",
        "https://u:canary7f3a@api.openai.com/v1",
        "user or a password",
    ),
    (
        "OPENAI_BASE_URL",
        "https://api.openai.com/v1?key=canary7f3a",
        "upstream.base_url",
    ),
    ("OPENAI_ORG_ID", "canary7f3a two", "upstream.organization"),
    (
        "OPENAI_PROJECT_ID",
        "canary7f3a\nX-Evil: 1",
        "upstream.project",
    ),
    (
        "BROKER_UPSTREAM__CONNECT_TIMEOUT",
        "11s",
        "must not be longer than upstream.timeout",
    ),
    ("BROKER_UPSTREAM__TIMEOUT", "0s", "upstream.timeout"),
    (
        "BROKER_UPSTREAM__MAX_IN_FLIGHT",
        "0",
        "upstream.max_in_flight",
    ),
    (
        "BROKER_UPSTREAM__MINTS_PER_SECOND",
        "0",
        "upstream.mints_per_second",
    ),
    ("BROKER_UPSTREAM__MAX_WAIT", "-1ms", "upstream.max_wait"),
    ("BROKER_UPSTREAM__CA_FILE", "nowhere", "upstream.ca_file"),
    (
        "BROKER_UPSTREAM__CA_FILE",
        "no-certificate",
        "without a certificate",
    ),
    (
        "BROKER_UPSTREAM__PROBE_INTERVAL",
        "0s",
        "upstream.probe_interval",
    ),
    ("BROKER_PERSONAS__FILE", "nowhere", "personas.file"),
    (
        "BROKER_PERSONAS__FILE",
        "broken.toml",
        "personas.file (broken.toml:3)",
    ),
    (
        "BROKER_PERSONAS__DEFAULT",
        "canary 7f3a",
        "personas.default",
    ),
    (
        "BROKER_PERSONAS__DEFAULT",
        "defalt",
        "the nearest is \"default\"",
    ),
    (
        "BROKER_HEALTH__DETAILS",
        "canary7f3a",
        "one of auto, full, summary",
    ),
    ("BROKER_COMPAT__GET_TOKEN", "1", "compat.get_token"),
    (
        "BROKER_LOG__FORMAT",
        "canary7f3a",
        "one of auto, text, json",
    ),
    (
        "RUST_LOG",
        "info,a=canary7f3a",
        "log.filter (environment RUST_LOG)",
    ),
];

#[test]
fn every_bad_variable_is_refused_by_the_name_of_its_setting_and_without_its_value() {
    for (name, text, says) in BAD_VARIABLES {
        let refusal = refusal(Mode::Serve, &good_and(&[(name, text)]));
        assert!(refusal.contains(says), "{name}={text}: {refusal}");
        assert!(refusal.contains(name) || says.contains('('), "{refusal}");
        assert_eq!(refusal.lines().count(), 3, "{name}={text}: {refusal}");
    }
}

#[test]
fn a_web_page_list_that_lets_strangers_in_refuses_to_serve() {
    for (text, says) in [
        ("", "set ALLOWED_ORIGINS=https://app.example.com"),
        ("*", "must not be *"),
        ("https://app.example.com,*", "must not be *"),
        ("http://canary7f3a.example", "must be https"),
        ("https://canary7f3a.example/", "entry 1 of 1"),
        ("https://a.example, app.canary7f3a.example", "entry 2 of 2"),
        ("https://*.canary7f3a.example", "no wildcard"),
        ("null", "must start with https://"),
    ] {
        let refusal = refusal(Mode::Serve, &sources(&[KEY, ("ALLOWED_ORIGINS", text)]));
        assert!(refusal.contains("cors.allowed_origins"), "{refusal}");
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}

#[test]
fn a_key_that_cannot_be_one_refuses_to_serve() {
    for (pair, says) in [
        (
            ("OPENAI_API_KEY", ""),
            "set OPENAI_API_KEY=sk-… (or OPENAI_API_KEY_FILE=/run/secrets/openai)",
        ),
        (
            ("OPENAI_API_KEY", "sk-canary7f3a\n"),
            "a space, a line break",
        ),
        (
            ("OPENAI_API_KEY", "sk canary7f3a"),
            "upstream.api_key (environment OPENAI_API_KEY)",
        ),
        (("OPENAI_API_KEY", "“sk-canary7f3a”"), "upstream.api_key"),
        (
            ("OPENAI_API_KEY_FILE", "nowhere"),
            "upstream.api_key_file (environment OPENAI_API_KEY_FILE)",
        ),
        (("OPENAI_API_KEY_FILE", "locked"), "permission denied"),
        (("OPENAI_API_KEY_FILE", "empty"), "a file that is empty"),
        (("OPENAI_API_KEY_FILE", "two-lines"), "a line break"),
        (
            ("BROKER_UPSTREAM__API_KEY_FILE", "nowhere"),
            "environment BROKER_UPSTREAM__API_KEY_FILE",
        ),
    ] {
        let refusal = refusal(Mode::Serve, &sources(&[ORIGINS, pair]));
        assert!(refusal.contains(says), "{pair:?}: {refusal}");
        assert_eq!(refusal.lines().count(), 3, "{pair:?}: {refusal}");
    }
}

/// A settings file, and what the complaint must say.
const BAD_FILES: &[(&str, &str)] = &[
    (
        "[limits]\ntoken = 10",
        "limits.token (config/broker.toml:2): must be text, in quotes",
    ),
    (
        "[limits]\n\n\ntoken = 'canary7f3a'",
        "limits.token (config/broker.toml:4)",
    ),
    (
        "[server]\nmax_connections = '1'",
        "server.max_connections (config/broker.toml:2)",
    ),
    (
        "server.require_origin = 'true'",
        "server.require_origin (config/broker.toml:1)",
    ),
    ("[server]\nhosts = [1, 2]", "server.hosts"),
    ("[guard]\nthreshold = '3'", "guard.threshold"),
    (
        "[upstream]\napi_key = 123456",
        "upstream.api_key (config/broker.toml:2): must be text, in quotes",
    ),
    (
        "[upstream]\napi_key = ['canary7f3a']",
        "upstream.api_key (config/broker.toml:2)",
    ),
    (
        "[limit]\ntoken = 'canary7f3a'",
        "limit.token (config/broker.toml:2): is not a setting; the nearest is limits.token",
    ),
    (
        "[session]\ntoken_second = 60",
        "the nearest is session.token_seconds",
    ),
    ("[limits.token]\nlimit = 10", "limits.token.limit"),
    ("[severs]", "severs"),
    ("server = 3", "server (config/broker.toml:1): is a section"),
    ("\"a\\nb\" = 1", "a\\nb (config/broker.toml:1)"),
    (
        "[upstream]\napi_key = \"sk-canary7f3a",
        "settings file (config/broker.toml:2): is not TOML at column",
    ),
    (
        "[upstream]\napi_key = sk-canary7f3a",
        "settings file (config/broker.toml:2): is not TOML",
    ),
    (
        "sk-canary7f3a",
        "settings file (config/broker.toml:1): is not TOML",
    ),
    ("[server\n", "settings file (config/broker.toml:1)"),
    (
        "[log]\n[log]",
        "settings file (config/broker.toml:2): is not TOML at column 2: duplicate key",
    ),
];

#[test]
fn every_bad_file_is_refused_by_line_and_without_repeating_it() {
    for (text, says) in BAD_FILES {
        let sources = Sources {
            file: Some(file(text)),
            ..good_and(&[])
        };
        let refusal = refusal(Mode::Serve, &sources);
        assert!(refusal.contains(says), "{text}: {refusal}");
    }
}

#[test]
fn many_mistakes_are_told_at_once_in_the_order_of_the_settings() {
    let sources = Sources {
        file: Some(file(
            "[server]\nlisten = 'x'\n[gaurd]\nblock = '1m'\n[limits]\nrefresh = 'x'",
        )),
        flags: pairs(&[("session.max_age", "soon"), ("session.max_old", "1h")]),
        ..sources(&[
            ("BROKER_LIMITS__TOKENS", "1/1s"),
            ("BROKER_UPSTREAM__BASE_URL", "x"),
            ("BROKER_PERSONAS__FILE", "bad-personas.toml"),
            ("BROKER_LOG__FORMAT", "xml"),
        ])
    };
    let errors = Config::from_sources(Mode::Serve, &sources).unwrap_err();
    let named: Vec<_> = errors
        .complaints()
        .iter()
        .map(|complaint| complaint.setting())
        .collect();
    assert_eq!(
        named,
        [
            "gaurd.block",
            "BROKER_LIMITS__TOKENS",
            "session.max_old",
            "server.listen",
            "cors.allowed_origins",
            "limits.refresh",
            "session.max_age",
            "upstream.base_url",
            "upstream.api_key",
            "personas.file",
            "personas.file",
            "personas.file",
            "personas.file",
            "personas.file",
            "personas.file",
            "log.format",
        ]
    );
    let text = refusal(Mode::Serve, &sources);
    assert!(
        text.starts_with("the settings hold 16 mistakes:\n"),
        "{text}"
    );
    for says in [
        "gaurd.block (config/broker.toml:4): is not a setting; the nearest is guard.block",
        "BROKER_LIMITS__TOKENS (environment BROKER_LIMITS__TOKENS): is not a setting; the nearest is BROKER_LIMITS__TOKEN",
        "session.max_age (flag session.max_age): must be a whole number and a unit",
        "session.max_old (flag session.max_old): is not a setting; the nearest is session.max_age",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn a_file_that_cannot_be_understood_does_not_make_its_settings_seem_missing() {
    let sources = Sources {
        file: Some(file("[upstream\napi_key = 'sk-canary7f3a'")),
        ..sources(&[("BROKER_LOG__FORMAT", "xml")])
    };
    let text = refusal(Mode::Serve, &sources);
    assert!(!text.contains("is required"), "{text}");
    assert!(text.contains("log.format"), "{text}");
}

#[test]
fn personas_are_refused_by_name_and_field() {
    let text = refusal(
        Mode::Dev,
        &sources(&[("BROKER_PERSONAS__FILE", "bad-personas.toml")]),
    );
    for says in [
        "personas.file (bad-personas.toml:2): persona \"Tutor\": pubic is not a field of a persona; the nearest is public",
        "persona \"Tutor\": a persona's name is",
        "persona \"Tutor\": language must be text",
        "persona \"Tutor\": session.type is set by the broker",
        "personas.file (bad-personas.toml:8): persona \"empty\": public must be true or false",
        "persona \"empty\": session is missing",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
}

// --- names and sources

#[test]
fn later_sources_win() {
    let text = "[session]\nmax_live = 1\nmax_refreshes = 1\nmax_total = 50\n[upstream]\nbase_url = 'https://one.example/v1/'";
    let sources = Sources {
        file: Some(file(text)),
        flags: pairs(&[("session.max_live", "3")]),
        ..good_and(&[
            ("BROKER_SESSION__MAX_LIVE", "2"),
            ("BROKER_SESSION__MAX_REFRESHES", "2"),
        ])
    };
    let loaded = serve(&sources);
    let session = &loaded.config.session;
    assert_eq!(
        (session.max_live, session.max_refreshes, session.max_total),
        (3, 2, 50)
    );
    assert_eq!(
        loaded.config.upstream.base_url.as_str(),
        "https://one.example/v1"
    );
    for (setting, value, source) in [
        ("session.max_live", "3", "flag session.max_live"),
        (
            "session.max_refreshes",
            "2",
            "environment BROKER_SESSION__MAX_REFRESHES",
        ),
        ("session.max_total", "50", "config/broker.toml:4"),
        ("session.max_age", "1h", "default"),
        (
            "cors.allowed_origins",
            "https://app.example.com",
            "environment ALLOWED_ORIGINS",
        ),
    ] {
        assert_eq!(shown(&loaded, setting), (value.into(), source.into()));
    }
}

#[test]
fn the_names_that_users_already_have_are_known() {
    let loaded = serve(&good_and(&[
        ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
        ("OPENAI_ORG_ID", "org-1"),
        ("OPENAI_PROJECT_ID", "proj-1"),
        ("VOICE_AGENT_RATE_LIMIT", "5"),
        ("VOICE_AGENT_TOKEN_DURATION", "120"),
        ("PORT", "9000"),
        ("RUST_LOG", "info,token_broker=debug"),
        ("REDIS_URL", "redis://elsewhere"),
        ("PATH", "/bin"),
        ("BROKER_SERVICE_HOST", "10.0.0.1"),
    ]));
    let config = loaded.config;
    assert_eq!(config.upstream.base_url.as_str(), "http://127.0.0.1:9/v1");
    assert_eq!(config.upstream.organization.as_deref(), Some("org-1"));
    assert_eq!(config.upstream.project.as_deref(), Some("proj-1"));
    assert_eq!(config.limits.token.to_string(), "5/60s");
    assert_eq!(config.session.token_seconds, 120);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.log.filter, "info,token_broker=debug");
    let key = config.upstream.api_key.unwrap();
    assert_eq!(key.expose_secret(), KEY.1);
}

#[test]
fn a_rate_limit_in_full_is_understood_under_its_short_name_too() {
    let loaded = serve(&good_and(&[("VOICE_AGENT_RATE_LIMIT", "5/1h")]));
    assert_eq!(loaded.config.limits.token.window, Duration::from_hours(1));
}

#[test]
fn the_port_changes_the_port_alone() {
    for (listen, port, address) in [
        ("0.0.0.0", "9000", "0.0.0.0:9000"),
        ("::", "9000", "[::]:9000"),
        ("0.0.0.0:9000", "9000", "0.0.0.0:9000"),
        ("0.0.0.0", "", "0.0.0.0:8080"),
        ("", "9000", "127.0.0.1:9000"),
    ] {
        let given = [("BROKER_SERVER__LISTEN", listen), ("PORT", port)];
        let loaded = serve(&good_and(&given));
        assert_eq!(
            loaded.config.server.listen.to_string(),
            address,
            "{given:?}"
        );
    }
}

#[test]
fn two_names_for_one_setting_must_agree() {
    for (short, long, text, other) in [
        (
            "OPENAI_API_KEY",
            "BROKER_UPSTREAM__API_KEY",
            "sk-canary7f3a",
            "sk-canary7f3ab",
        ),
        (
            "VOICE_AGENT_RATE_LIMIT",
            "BROKER_LIMITS__TOKEN",
            "10",
            "11/60s",
        ),
        (
            "VOICE_AGENT_TOKEN_DURATION",
            "BROKER_SESSION__TOKEN_SECONDS",
            "60",
            "61",
        ),
        ("PORT", "BROKER_SERVER__LISTEN", "9000", "0.0.0.0:9001"),
        (
            "ALLOWED_ORIGINS",
            "BROKER_CORS__ALLOWED_ORIGINS",
            "https://a.example",
            "https://b.example",
        ),
    ] {
        let text = refusal(Mode::Dev, &sources(&[(short, text), (long, other)]));
        assert!(text.contains(short) && text.contains(long), "{text}");
        assert!(text.contains("say different things; keep one"), "{text}");
    }
    let agreeing = [
        ("VOICE_AGENT_RATE_LIMIT", "10"),
        ("BROKER_LIMITS__TOKEN", "10/60s"),
        ("BROKER_CORS__ALLOWED_ORIGINS", "https://app.example.com, "),
    ];
    serve(&good_and(&agreeing));
}

#[test]
fn a_secret_made_of_digits_stays_text() {
    for key in ["00123", "1e5", "true", "12345678901234567890"] {
        let loaded = serve(&sources(&[ORIGINS, ("OPENAI_API_KEY", key)]));
        assert_eq!(loaded.config.upstream.api_key.unwrap().expose_secret(), key);
    }
    let loaded = serve(&sources(&[ORIGINS, ("OPENAI_API_KEY_FILE", "digits")]));
    let key = loaded.config.upstream.api_key.unwrap();
    assert_eq!(key.expose_secret(), "0123456789");
}

#[test]
fn a_secret_may_come_from_a_file() {
    for (name, path) in [
        ("OPENAI_API_KEY_FILE", "key"),
        ("OPENAI_API_KEY_FILE", "windows-key"),
        ("BROKER_UPSTREAM__API_KEY_FILE", "key"),
    ] {
        let loaded = serve(&sources(&[ORIGINS, (name, path)]));
        let key = loaded.config.upstream.api_key.as_ref().unwrap();
        assert_eq!(key.expose_secret(), KEY.1);
        let source = format!("environment {name}");
        assert_eq!(
            shown(&loaded, "upstream.api_key"),
            ("***".into(), source.clone())
        );
        assert_eq!(
            shown(&loaded, "upstream.api_key_file"),
            (path.into(), source)
        );
    }
}

#[test]
fn a_secret_given_twice_is_refused_whatever_the_sources() {
    let both = Sources {
        file: Some(file("[upstream]\napi_key_file = 'key'")),
        ..good_and(&[])
    };
    for sources in [both, good_and(&[("OPENAI_API_KEY_FILE", "key")])] {
        let text = refusal(Mode::Serve, &sources);
        assert!(
            text.contains("is given twice: by environment OPENAI_API_KEY"),
            "{text}"
        );
        assert!(text.contains("upstream.api_key_file"), "{text}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_given() {
    let loaded = serve(&good_and(&[
        ("BROKER_LIMITS__TOKEN", ""),
        ("VOICE_AGENT_RATE_LIMIT", ""),
        ("OPENAI_API_KEY_FILE", ""),
        ("PORT", ""),
    ]));
    assert_eq!(
        shown(&loaded, "limits.token"),
        ("10/60s".into(), "default".into())
    );
}

#[test]
fn lists_may_be_lists_or_texts_with_commas() {
    for text in [
        "server.trusted_proxies = ['10.0.0.0/8', '::1']",
        "server.trusted_proxies = '10.0.0.0/8, ::1'",
    ] {
        let sources = Sources {
            file: Some(file(text)),
            ..good_and(&[])
        };
        let networks = serve(&sources).config.server.trusted_proxies;
        let texts: Vec<_> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.0/8", "::1/128"]);
    }
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let missing = std::env::temp_dir().join("token-broker-that-is-not-there.toml");
    let text = read_file(Some(&missing)).err().unwrap().to_string();
    assert!(
        text.contains("--config") && text.contains("not found"),
        "{text}"
    );
    let given = read_file(Some(Path::new("config/default.toml")))
        .unwrap()
        .unwrap();
    let sources = Sources {
        file: Some(given),
        ..good_and(&[])
    };
    assert_eq!(
        shown(&serve(&sources), "limits.token").1,
        "config/default.toml:48"
    );
}

// --- what is loaded

#[test]
fn the_defaults_are_the_promised_ones() {
    let config = serve(&good_and(&[])).config;
    let seconds = Duration::from_secs;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.base_path, "");
    assert!(config.server.hosts.is_empty() && config.server.trusted_proxies.is_empty());
    assert!(
        !config.server.require_origin && !config.limits.ietf_fields && !config.compat.get_token
    );
    assert_eq!(config.server.max_connections, 16384);
    assert_eq!(config.server.header_timeout, seconds(10));
    assert_eq!(config.server.body_timeout, seconds(10));
    assert_eq!(config.server.write_timeout, seconds(10));
    assert_eq!(
        (config.server.drain_delay, config.server.drain_timeout),
        (seconds(1), seconds(25))
    );
    assert_eq!(config.limits.token.to_string(), "10/60s");
    assert_eq!(config.limits.refresh.to_string(), "30/60s");
    assert_eq!(config.limits.token_network.to_string(), "200/60s");
    assert_eq!(config.limits.refresh_network.to_string(), "600/60s");
    assert_eq!(
        (config.limits.capacity, config.guard.capacity),
        (262_144, 65_536)
    );
    assert!((config.guard.threshold - 3.0).abs() < f64::EPSILON);
    assert_eq!(config.guard.decay, seconds(600));
    assert_eq!(
        (config.guard.block, config.guard.block_max),
        (seconds(900), seconds(86_400))
    );
    assert!((config.guard.weights.rate_limited - 1.0).abs() < f64::EPSILON);
    assert!((config.guard.weights.wrong_origin - 0.25).abs() < f64::EPSILON);
    assert_eq!(config.session.token_seconds, 60);
    assert_eq!(config.session.min_refresh_interval, seconds(10));
    assert_eq!(
        (config.session.max_refreshes, config.session.max_age),
        (120, seconds(3600))
    );
    assert_eq!(
        (config.session.max_live, config.session.max_total),
        (20, 100_000)
    );
    assert_eq!(config.session.ip_binding, IpBinding::Auto);
    assert_eq!(
        config.upstream.base_url.as_str(),
        "https://api.openai.com/v1"
    );
    assert_eq!(
        (config.upstream.connect_timeout, config.upstream.timeout),
        (seconds(3), seconds(10))
    );
    assert_eq!(
        (
            config.upstream.max_in_flight,
            config.upstream.mints_per_second
        ),
        (256, 50)
    );
    assert_eq!(config.upstream.max_wait, Duration::from_millis(250));
    assert_eq!(config.upstream.probe_interval, seconds(30));
    assert!(config.upstream.ca_file.is_none() && config.upstream.project.is_none());
    assert_eq!(
        (config.health.details, config.log.format),
        (HealthDetails::Auto, LogFormat::Auto)
    );
    assert_eq!(config.log.filter, "info");
}

#[test]
fn the_compiled_in_persona_speaks_and_is_public() {
    let config = serve(&good_and(&[])).config;
    let persona = config.personas.default_persona();
    assert!(persona.public && persona.name.as_str() == "default");
    let session: serde_json::Value = serde_json::from_str(persona.session.get()).unwrap();
    assert_eq!(session["type"], "realtime");
    assert_eq!(session["model"], "gpt-realtime-2.1");
    assert_eq!(session["audio"]["output"]["voice"], "marin");
    assert_eq!(
        session["audio"]["input"]["noise_reduction"]["type"],
        "near_field"
    );
    assert!(session["instructions"].as_str().unwrap().len() > 100);
}

#[test]
fn personas_keep_the_operators_order_and_can_be_push_to_talk() {
    let more = [
        ("BROKER_PERSONAS__FILE", "personas.toml"),
        ("BROKER_PERSONAS__DEFAULT", "adam"),
    ];
    let personas = serve(&good_and(&more)).config.personas;
    let names: Vec<_> = personas
        .iter()
        .map(|persona| persona.name.as_str())
        .collect();
    assert_eq!(names, ["zoe", "adam"]);
    assert_eq!(personas.default_persona().name.as_str(), "adam");
    let zoe = personas.named("zoe").unwrap();
    assert!(zoe.session.get().contains(r#""turn_detection":null"#));
    assert_eq!(
        (zoe.role.as_deref(), zoe.language.as_deref()),
        (Some("student"), Some("es"))
    );
}

#[test]
fn dev_mode_needs_nothing_and_lets_localhost_in() {
    let config = Config::from_pairs(Mode::Dev, &[("limits.token", "2/60s")]).unwrap();
    assert_eq!(config.limits.token.limit, 2);
    assert!(config.upstream.api_key.is_none());
    assert_eq!(config.server.hosts, ["localhost", "127.0.0.1", "[::1]"]);
    let origins = config.cors.allowed_origins;
    assert!(origins.admit(b"http://localhost:5173").is_some());
    assert!(origins.admit(b"https://app.example.com").is_none());
}

#[test]
fn dev_mode_only_warns_of_what_is_unsafe_elsewhere() {
    let sources = sources(&[
        ("ALLOWED_ORIGINS", "*"),
        ("OPENAI_BASE_URL", "http://simulator:9090/v1"),
        ("BROKER_SERVER__TRUSTED_PROXIES", "0.0.0.0/0"),
    ]);
    let loaded = Config::from_sources(Mode::Dev, &sources).unwrap();
    assert!(loaded.config.cors.allowed_origins.allows_any());
    assert_eq!(loaded.warnings.len(), 3, "{:?}", loaded.warnings);
    let text = refusal(Mode::Serve, &sources);
    for name in [
        "cors.allowed_origins",
        "upstream.base_url",
        "server.trusted_proxies",
    ] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for (name, text, says) in [
        (
            "BROKER_SERVER__LISTEN",
            "0.0.0.0",
            "every caller shares one address",
        ),
        ("BROKER_GUARD__NEVER_BLOCK", "0.0.0.0/0", "the guard is off"),
        (
            "BROKER_SESSION__MIN_REFRESH_INTERVAL",
            "2m",
            "secrets end before",
        ),
        ("OPENAI_BASE_URL", "https://api.openai.com", "ends with /v1"),
        (
            "BROKER_UPSTREAM__TIMEOUT",
            "30s",
            "a drain may cut callers off",
        ),
    ] {
        let warnings = serve(&good_and(&[(name, text)])).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(says), "{warnings:?}");
    }
    assert!(serve(&good_and(&[])).warnings.is_empty());
}

// --- honesty

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

const EXAMPLE: &str = include_str!("../.env.example");

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

#[test]
fn every_setting_is_read_by_its_section() {
    let rooms = std::fs::read_dir("src/config").unwrap();
    let code: String = rooms
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for (setting, ..) in serve(&good_and(&[])).listing() {
        assert!(
            code.contains(&format!("\"{setting}\"")),
            "{setting} is read by nobody"
        );
    }
}

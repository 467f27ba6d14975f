//! Stray bytes in settings: quotes, line ends, byte order marks, passwords that are not percent-encoded.

use secrecy::ExposeSecret;

use super::*;

const QUOTED: &str =
    "begins or ends with a quote; remove the quotes (`docker run --env-file` keeps them)";
const CONTROL: &str = "holds a line break or another control character; remove it";
const ENCODE: &str = "must have its user and password percent-encoded: # is %23";
const SPACE: &str = "holds a space or another character that no key has";

fn says(loaded: &Loaded, begin: &str) -> bool {
    loaded
        .warnings
        .iter()
        .any(|warning| warning.starts_with(begin))
}

#[test]
fn f20_a_value_that_arrived_in_quotes_is_refused_in_variables_and_in_files() {
    for (name, text, setting) in [
        (
            "OPENAI_API_KEY",
            "\"sk-canary7f3a\"",
            "upstream.api_key (environment OPENAI_API_KEY)",
        ),
        ("OPENAI_API_KEY", "'sk-canary7f3a'", "upstream.api_key"),
        ("OPENAI_API_KEY", "“sk-canary7f3a”", "upstream.api_key"),
        ("OPENAI_API_KEY", "\"sk-canary7f3a", "upstream.api_key"),
        (
            "OPENAI_API_KEY_FILE",
            "quoted-key",
            "upstream.api_key (environment OPENAI_API_KEY_FILE)",
        ),
        (
            "BROKER_OPS__TOKEN",
            "\"canary7f3a-canary7f3a-canary7f3a\"",
            "ops.token",
        ),
        (
            "ALLOWED_ORIGINS",
            "\"https://canary7f3a.example\"",
            "cors.allowed_origins",
        ),
        (
            "ALLOWED_ORIGINS",
            "\"https://canary7f3a.example,https://b.example\"",
            "cors.allowed_origins",
        ),
        (
            "DATABASE_URL",
            "\"postgres://u:canary7f3a@h/d\"",
            "ledger.url",
        ),
        ("REDIS_URL", "'redis://h'", "redis.url"),
        ("BROKER_SERVER__BASE_PATH", "\"/api\"", "server.base_path"),
        ("RUST_LOG", "\"info\"", "log.filter"),
    ] {
        let given: Vec<_> = [KEY, ORIGINS]
            .into_iter()
            .filter(|(known, _)| !name.starts_with(known))
            .collect();
        let refusal = refusal(
            Mode::Serve,
            &sources(&[&given[..], &[(name, text)]].concat()),
        );
        assert!(
            refusal.contains(setting) && refusal.contains(QUOTED),
            "{name}: {refusal}"
        );
        assert_eq!(refusal.lines().count(), 3, "{name}: {refusal}");
    }
    let file = "[upstream]\norganization = '\"canary7f3a\"'";
    let refusal = refusal(Mode::Serve, &good_and_file(file));
    assert!(
        refusal.contains("upstream.organization (config/broker.toml:2)")
            && refusal.contains(QUOTED),
        "{refusal}"
    );
}

#[test]
fn f42_white_space_line_ends_and_byte_order_marks_around_a_value_are_trimmed_in_variables_and_in_files()
 {
    for (name, text) in [
        ("OPENAI_API_KEY", "sk-canary7f3a\n"),
        ("OPENAI_API_KEY", "sk-canary7f3a\r\n"),
        ("OPENAI_API_KEY", "\t sk-canary7f3a "),
        ("OPENAI_API_KEY", "\u{feff}sk-canary7f3a"),
        ("OPENAI_API_KEY_FILE", "windows-key"),
        ("OPENAI_API_KEY_FILE", "marked-key"),
    ] {
        let loaded = serve(&sources(&[ORIGINS, (name, text)]));
        let key = loaded.config.upstream.api_key.unwrap();
        assert_eq!(key.expose_secret(), KEY.1, "{name} {text:?}");
    }
    let loaded = serve(&good_and(&[
        ("BROKER_LIMITS__TOKEN", " 5/60s\r"),
        ("BROKER_SESSION__MAX_LIVE", "7\n"),
        ("BROKER_SERVER__REQUIRE_ORIGIN", "true\r\n"),
        ("BROKER_LOG__FORMAT", "json\n"),
    ]));
    assert_eq!(loaded.config.limits.token.limit, 5);
    assert_eq!(loaded.config.session.max_live, 7);
    assert!(loaded.config.server.require_origin);
    let marked = "\u{feff}[session]\nmax_live = 9";
    assert_eq!(serve(&good_and_file(marked)).config.session.max_live, 9);
}

#[test]
fn lists_may_be_parted_by_commas_semicolons_blanks_and_line_breaks() {
    let (one, other) = ("https://a.example", "https://b.example");
    for between in [",", ", ", " ", ";", "; ", "\n", "\r\n  ", ",\n", "\t"] {
        let text = format!("{one}{between}{other}{between}");
        let loaded = serve(&sources(&[KEY, ("ALLOWED_ORIGINS", &text)]));
        let origins = loaded.config.cors.allowed_origins;
        let listed: Vec<_> = origins.listed().map(ToString::to_string).collect();
        assert_eq!(listed, [one, other], "{text:?}");
    }
    let networks = ("BROKER_SERVER__TRUSTED_PROXIES", "10.0.0.0/8;\nfd00::/8\n");
    let loaded = serve(&good_and(&[networks]));
    assert_eq!(loaded.config.server.trusted_proxies.len(), 2);
}

#[test]
fn control_characters_within_a_value_are_refused_in_variables_and_in_files() {
    for (name, text) in [
        ("OPENAI_API_KEY", "sk-canary7f3a\nsk-canary7f3a"),
        ("OPENAI_API_KEY", "sk-canary7f3a\u{1b}[0m"),
        ("OPENAI_API_KEY_FILE", "two-lines"),
        ("OPENAI_ORG_ID", "canary7f3a\u{0}"),
        ("DATABASE_URL", "sqlite://canary7f3a\n.db"),
        ("BROKER_SERVER__BASE_PATH", "/a\nb"),
    ] {
        let given: Vec<_> = [KEY, ORIGINS]
            .into_iter()
            .filter(|(known, _)| !name.starts_with(known))
            .collect();
        let refusal = refusal(
            Mode::Serve,
            &sources(&[&given[..], &[(name, text)]].concat()),
        );
        assert!(refusal.contains(CONTROL), "{name} {text:?}: {refusal}");
        assert_eq!(refusal.lines().count(), 3, "{name}: {refusal}");
    }
    let spaced = refusal(
        Mode::Serve,
        &sources(&[ORIGINS, ("OPENAI_API_KEY", "Bearer sk-canary7f3a")]),
    );
    assert!(spaced.contains(SPACE), "{spaced}");
}

#[test]
fn f37_a_password_that_ends_its_url_too_early_is_told_to_be_percent_encoded() {
    for password in [
        "p#canary7f3a",
        "p/canary7f3a",
        "p?canary7f3a",
        "12/canary7f3a",
        "12#canary7f3a",
        "12?canary7f3a",
        "p@canary7f3a/x",
    ] {
        for (name, url) in [
            ("DATABASE_URL", format!("postgres://u:{password}@h:5432/d")),
            (
                "DATABASE_URL",
                format!("postgresql://u:{password}@h/d?sslmode=require"),
            ),
            ("REDIS_URL", format!("rediss://u:{password}@h:6379")),
            ("REDIS_URL", format!("redis://:{password}@h:6379/1")),
        ] {
            let loaded = Config::from_sources(Mode::Dev, &good_and(&[(name, &url)]));
            let refusal = loaded.unwrap_err().to_string();
            assert!(
                refusal.contains(ENCODE) && !refusal.contains(CANARY),
                "{url}: {refusal}"
            );
        }
    }
    for url in [
        "postgres://u:p%23%2F%3F%40%25@h:5432/d",
        "postgres://u%40tenant:p@h:5432/d",
        "postgres://u:p@h/d?sslmode=require&application_name=broker",
    ] {
        serve(&good_and(&[("DATABASE_URL", url)]));
    }
}

#[test]
fn a_key_that_is_not_shaped_like_openais_is_warned_of_where_openai_is_asked() {
    let key = ("OPENAI_API_KEY", "org-canary7f3a");
    let shape = "upstream.api_key: does not begin with sk-";
    assert!(says(&serve(&sources(&[ORIGINS, key])), shape));
    let gateway = ("OPENAI_BASE_URL", "https://gateway.example/v1");
    assert!(!says(&serve(&sources(&[ORIGINS, key, gateway])), shape));
    assert!(!says(&serve(&good_and(&[])), shape));
}

#[test]
fn f36_a_port_from_the_platform_with_a_loopback_listener_is_warned_of() {
    let port = ("PORT", "9000");
    let begin = "server.listen: has the port of PORT and a loopback address";
    assert!(says(&serve(&good_and(&[port])), begin));
    let all = ("BROKER_SERVER__LISTEN", "0.0.0.0");
    assert!(!says(&serve(&good_and(&[port, all])), begin));
    let chosen = ("BROKER_SERVER__LISTEN", "127.0.0.1:9000");
    assert!(!says(&serve(&good_and(&[chosen])), begin));
}

#[test]
fn n02_callers_without_identity_on_a_public_listener_or_behind_a_proxy_are_warned_of() {
    let begin = "auth.mode: is off, and the broker is reachable from a network";
    for open in [
        ("BROKER_SERVER__LISTEN", "0.0.0.0"),
        ("BROKER_SERVER__LISTEN", "[::]:8080"),
        ("BROKER_SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
    ] {
        assert!(says(&serve(&good_and(&[open])), begin), "{open:?}");
        let firebase = ("BROKER_AUTH__FIREBASE_PROJECT", "my-app-1");
        let asked = good_and(&[open, ("BROKER_AUTH__MODE", "required"), firebase]);
        assert!(!says(&serve(&asked), begin), "{open:?}");
    }
    assert!(!says(&serve(&good_and(&[])), begin));
}

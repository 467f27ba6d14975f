//! Where settings come from, and which of them wins.

use std::time::Duration;

use secrecy::ExposeSecret;
use token_broker::config::read_file;

use super::*;

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
        ("BROKER_REDIS__REPLICAS", "1"),
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
    assert_eq!(
        config.log.filter,
        "info,token_broker=debug".parse().unwrap()
    );
    let redis = config.redis.url.unwrap();
    assert_eq!(redis.expose_secret(), "redis://elsewhere");
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
    let written = include_str!("../../config/default.toml").lines();
    let before = written.take_while(|line| !line.starts_with("token = "));
    assert_eq!(
        shown(&serve(&sources), "limits.token").1,
        format!("config/default.toml:{}", before.count() + 1)
    );
}

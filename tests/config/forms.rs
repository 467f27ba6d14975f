//! How single values are written: what is understood, in which form it arrives, and what is refused.

use token_broker::config::{LedgerPlace, environment_name};

use super::*;

/// The settings with `name` given, or all that is wrong with them.
fn given(name: &str, text: &str) -> Result<Loaded, String> {
    let sources = Sources {
        flags: pairs(&[(name, text)]),
        ..good_and(&[])
    };
    Config::from_sources(Mode::Serve, &sources).map_err(|errors| errors.to_string())
}

/// Asserts that `name` is understood in each of these forms.
fn understood(name: &str, texts: &[&str]) {
    for text in texts {
        if let Err(refusal) = given(name, text) {
            assert!(
                !refusal.contains(&format!("  {name} (")),
                "{text:?}: {refusal}"
            );
        }
    }
}

/// Asserts that `name`, and nothing else, is refused in each of these forms.
fn refused(name: &str, texts: &[&str]) {
    for text in texts {
        let refusal = given(name, text).unwrap_err();
        assert!(
            refusal.contains(&format!("  {name} (")),
            "{text:?}: {refusal}"
        );
    }
}

#[test]
fn a_base_path_is_brought_into_one_form() {
    for (text, path) in [
        ("", ""),
        ("/", ""),
        ("/api", "/api"),
        ("api/", "/api"),
        ("/api/voice-agent/", "/api/voice-agent"),
    ] {
        let config = given("server.base_path", text).unwrap().config;
        assert_eq!(config.server.base_path, path, "{text:?}");
    }
    refused(
        "server.base_path",
        &[
            "/a//", "/a//b", "/a/../b", "/a b", "/a%2f", "/a?b", "/{a}", "/é", "/*",
        ],
    );
}

#[test]
fn a_host_is_a_name_and_perhaps_a_port() {
    for (text, known) in [
        ("App.Example.com", "app.example.com"),
        ("localhost:8080", "localhost:8080"),
        ("[::1]:8080", "[::1]:8080"),
        ("[::1]", "[::1]"),
        ("127.0.0.1", "127.0.0.1"),
    ] {
        assert_eq!(
            given("server.hosts", text).unwrap().config.server.hosts,
            [known]
        );
    }
    refused(
        "server.hosts",
        &[
            "https://a.example",
            "a.example/",
            "*.example.com",
            "a b",
            "a:",
            "a:0",
            "a:b",
            "::1",
            "[::1",
            "u@a.example",
            "a..b",
            "[1.2.3.4]",
        ],
    );
}

#[test]
fn a_ledger_is_in_memory_in_a_file_or_on_a_server() {
    let place = |url| given("ledger.url", url).unwrap().config.ledger.place;
    assert!(matches!(place("memory"), LedgerPlace::Memory));
    for (url, path) in [
        ("sqlite://a.db", "a.db"),
        ("sqlite:///data/a.db", "/data/a.db"),
    ] {
        let LedgerPlace::Sqlite(file) = place(url) else {
            panic!("{url}")
        };
        assert_eq!(file, Path::new(path));
    }
    assert!(matches!(
        place("postgres://u:p@h/d"),
        LedgerPlace::Postgres(_)
    ));
    refused(
        "ledger.url",
        &[
            "",
            "sqlite://",
            "mysql://h/d",
            "broker.db",
            "postgres:///",
            "postgres:",
        ],
    );
    for (wrong, help) in [
        ("sqlite::memory:", "write memory"),
        ("sqlite://:memory:", "write memory"),
        ("sqlite://a.db?mode=rwc", "nothing to choose behind a ?"),
        ("sqlite:///data/a.db?", "nothing to choose behind a ?"),
    ] {
        let refusal = given("ledger.url", wrong).unwrap_err();
        assert!(refusal.contains(help), "{wrong}: {refusal}");
    }
}

#[test]
fn a_ledger_elsewhere_is_private_only_where_tls_is_insisted_on() {
    for (url, is_private) in [
        ("postgres://u@db.example.com/d", false),
        ("postgres://u@db.example.com/d?sslmode=prefer", false),
        ("postgres://u@db.example.com/d?sslmode=disable", false),
        ("postgres://u@db.example.com/d?sslmode=require", true),
        ("postgres://u@db.example.com/d?ssl-mode=verify-ca", true),
        ("postgres://u@10.0.0.7:5433/d?x=1&sslmode=verify-full", true),
        ("postgres://u@h/d?sslmode=require&sslmode=disable", false),
        ("postgres://u@localhost.example.com/d", false),
        ("postgres://u@localhost/d", true),
        ("postgres://u@127.0.0.1/d", true),
        ("postgres://u@[::1]/d", true),
        ("postgres://u@[fd00::1]/d", false),
        ("postgres://u@%2Fvar%2Frun%2Fpostgresql/d", true),
        ("postgres://u@localhost/d?host=/var/run/postgresql", true),
        ("postgres://u@localhost/d?host=db.example.com", false),
        ("postgres://u@localhost/d?hostaddr=10.0.0.7", false),
    ] {
        let warnings = given("ledger.url", url).unwrap().warnings;
        let about = |text: &String| text.contains("without requiring TLS");
        assert_eq!(!warnings.iter().any(about), is_private, "{url}");
    }
}

#[test]
fn a_redis_server_is_reached_plainly_or_with_tls_that_is_checked() {
    understood(
        "redis.url",
        &[
            "redis://localhost",
            "redis://10.0.0.1:6379/2",
            "rediss://user:password@redis.example.com:6380",
        ],
    );
    refused(
        "redis.url",
        &[
            "localhost:6379",
            "http://localhost",
            "redis:",
            "rediss://h:6380/#insecure",
        ],
    );
}

#[test]
fn a_domain_is_a_host_alone() {
    let domain = "auth.auth0_domain";
    understood(domain, &["Tenant.eu.auth0.com"]);
    refused(
        domain,
        &[
            "localhost",
            "https://t.auth0.com",
            "t.auth0.com/",
            "t.auth0.com:1",
            "a@t.auth0.com",
            "10.0.0.1",
            "t.auth0.com?",
            "t.auth0.com#",
            "t auth0.com",
            "t.auth0.com.",
        ],
    );
}

/// The name of the issuer that a preset of these settings trusts.
fn issuer(settings: &[(&str, &str)]) -> String {
    let sources = Sources {
        flags: pairs(settings),
        ..good_and(&[])
    };
    serve(&sources).config.auth.issuers[0].issuer.to_string()
}

#[test]
fn presets_name_their_issuers_by_host_realm_tenant_and_pool() {
    let id = "8B3F2C1E-0000-4000-8000-0123456789AB";
    for (name, text, beside, named) in [
        (
            "auth.auth0_domain",
            "Tenant.eu.auth0.com",
            ("auth.auth0_audience", "api"),
            "https://tenant.eu.auth0.com/".to_owned(),
        ),
        (
            "auth.supabase_url",
            "https://a.supabase.co/",
            ("auth.mode", "off"),
            "https://a.supabase.co/auth/v1".to_owned(),
        ),
        (
            "auth.supabase_url",
            "http://127.0.0.1:54321",
            ("auth.mode", "off"),
            "http://127.0.0.1:54321/auth/v1".to_owned(),
        ),
        (
            "auth.keycloak_realm",
            "https://id.example.com/realms/school/",
            ("auth.keycloak_client", "web"),
            "https://id.example.com/realms/school".to_owned(),
        ),
        (
            "auth.entra_tenant",
            id,
            ("auth.entra_audience", id),
            format!(
                "https://login.microsoftonline.com/{}/v2.0",
                id.to_ascii_lowercase()
            ),
        ),
        (
            "auth.cognito_pool",
            "eu-central-1_AbC",
            ("auth.cognito_client", "app"),
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC".to_owned(),
        ),
    ] {
        assert_eq!(issuer(&[(name, text), beside]), named);
    }
}

#[test]
fn presets_refuse_names_that_are_no_host_realm_tenant_or_pool() {
    let id = "8B3F2C1E-0000-4000-8000-0123456789AB";
    refused(
        "auth.supabase_url",
        &[
            "https://a.supabase.co/auth/v1",
            "http://a.supabase.co",
            "https://a.supabase.co/?x",
            "a.supabase.co",
        ],
    );
    refused(
        "auth.keycloak_realm",
        &[
            "https://id.example.com/",
            "id.example.com/realms/a",
            "school",
        ],
    );
    refused(
        "auth.entra_tenant",
        &["contoso.onmicrosoft.com", "common", &id[1..], "api://x"],
    );
    refused(
        "auth.cognito_pool",
        &[
            "AbC",
            "eu-central-1",
            "eu-central-1_",
            "evil.example/_a",
            "a-b_c/d",
        ],
    );
}

/// Whether a table of `[[auth.issuers]]` with these lines is understood.
fn is_understood(lines: &str) -> bool {
    let text = format!(
        "[auth]\nmode = 'required'\n[[auth.issuers]]\nissuer = 'x'\naudience = 'a'\njwks_url = 'https://id.example/jwks'\n\
         algorithms = 'ES256'\n{lines}"
    );
    Config::from_sources(Mode::Serve, &good_and_file(&text)).is_ok()
}

#[test]
fn a_pointer_begins_with_a_slash_and_escapes_what_rfc_6901_escapes() {
    for good in [
        "/role",
        "/",
        "/app_metadata/role",
        "/https:~1~1example.com~1role",
        "/a~0b",
        "",
    ] {
        assert!(is_understood(&format!("role_pointer = '{good}'")), "{good}");
    }
    for bad in ["role", "$.role", "/a~", "/a~2"] {
        assert!(!is_understood(&format!("role_pointer = '{bad}'")), "{bad}");
    }
}

#[test]
fn the_subject_never_decides_who_is_asked() {
    let lookup =
        |url: &str| is_understood(&format!("lookup_role_pointer = '/r'\nlookup_url = '{url}'"));
    for good in [
        "https://id.example.com/userinfo",
        "https://p.example.com/rest/v1/profiles?id=eq.{subject}&select=role",
        "https://p.example.com/users/{subject}",
    ] {
        assert!(lookup(good), "{good}");
    }
    for bad in [
        "https://{subject}.example.com/",
        "https://id.example.com{subject}/",
        "https://id.example.com:{subject}/",
        "https://id.example.com/{sub}",
        "https://{subject}@id.example.com/",
        "https://id.example.com/#{subject}",
        "{subject}",
    ] {
        assert!(!lookup(bad), "{bad}");
    }
}

#[test]
fn kubernetes_variables_of_a_service_called_broker_are_no_mistake() {
    for (name, text) in [
        ("BROKER_SERVICE_HOST", "10.0.0.1"),
        ("BROKER_SERVICE_PORT", "8080"),
        ("BROKER_SERVICE_PORT_HTTP", "8080"),
        ("BROKER_PORT", "tcp://10.0.0.1:8080"),
        ("BROKER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("BROKER_PORT_8080_TCP_PROTO", "tcp"),
        ("BROKER_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ] {
        serve(&good_and(&[(name, text)]));
    }
    for (name, text) in [("BROKER_PORT", "8080"), ("BROKER_LISTEN", "tcp://x")] {
        let refusal = refusal(Mode::Serve, &good_and(&[(name, text)]));
        assert!(refusal.contains(name), "{refusal}");
    }
}

#[test]
fn every_default_can_be_a_setting_and_says_what_it_is_called_in_the_environment() {
    let written = include_str!("../../config/default.toml");
    let loaded = serve(&good_and(&[]));
    let listed: Vec<_> = loaded.listing().map(|(name, ..)| name).collect();
    let is_setting = |line: &&str| !line.starts_with(['#', '[']) && line.contains(" = ");
    assert_eq!(written.lines().filter(is_setting).count(), listed.len());
    assert!(listed.len() > 50);
    for name in listed {
        let variable = environment_name(name);
        assert!(written.contains(&format!("{variable}\n")), "{variable}");
    }
}

#[test]
fn an_unknown_name_cannot_break_the_line_or_fill_the_screen() {
    let line = |name: &str| {
        let refusal = given(name, "x").unwrap_err();
        refusal.lines().nth(1).unwrap().to_owned()
    };
    assert!(
        line("a\nb\u{1b}").starts_with("  a\\nb\\u{1b} ("),
        "{}",
        line("a\nb\u{1b}")
    );
    let cut = format!("  {}… (", "x".repeat(80));
    assert!(line(&"x".repeat(500)).starts_with(&cut));
}

//! What is refused: each mistake by the name of its setting, all at once, and without a value.

use token_broker::config::Complaint;

use super::*;

/// Variable and bad text, and what the complaint must say.
const BAD_VARIABLES: &str = r#"
BROKER_SERVER__LISTEN=localhost.example:8080 | 0.0.0.0:8080
BROKER_SERVER__LISTEN=:8080 | 0.0.0.0:8080
BROKER_SERVER__LISTEN=127.0.0.1:99999 | server.listen
PORT=canary7f3a | server.listen (environment PORT)
PORT=65536 | server.listen
BROKER_SERVER__BASE_PATH=/a/../canary7f3a | server.base_path
BROKER_SERVER__BASE_PATH=/a%2fb | server.base_path
BROKER_SERVER__BASE_PATH=/a b | server.base_path
BROKER_SERVER__HOSTS=https://canary7f3a.example | server.hosts
BROKER_SERVER__HOSTS=a.example,b.example/x | entry 2 of 2
BROKER_SERVER__TRUSTED_PROXIES=0.0.0.0/0 | server.trusted_proxies
BROKER_SERVER__TRUSTED_PROXIES=2a00::/12 | server.trusted_proxies
BROKER_SERVER__TRUSTED_PROXIES=10.0.0.0/8,::/0 | server.trusted_proxies
BROKER_SERVER__TRUSTED_PROXIES=::ffff:0:0/96 | server.trusted_proxies
BROKER_SERVER__TRUSTED_PROXIES=0.0.0.0/1,128.0.0.0/1 | server.trusted_proxies
BROKER_SERVER__TRUSTED_PROXIES=canary7f3a | server.trusted_proxies
BROKER_SERVER__REQUIRE_ORIGIN=canary7f3a | must be true or false
BROKER_SERVER__MAX_CONNECTIONS=0 | server.max_connections
BROKER_SERVER__MAX_CONNECTIONS=-1 | server.max_connections
BROKER_SERVER__MAX_CONNECTIONS=canary7f3a | must be a whole number
BROKER_SERVER__HEADER_TIMEOUT=0s | server.header_timeout
BROKER_SERVER__HEADER_TIMEOUT=10 | 250ms, 60s, 15m or 1h
BROKER_SERVER__BODY_TIMEOUT=canary7f3a | server.body_timeout
BROKER_SERVER__WRITE_TIMEOUT=1d | server.write_timeout
BROKER_SERVER__DRAIN_TIMEOUT=31s | server.drain_timeout
BROKER_SERVER__DRAIN_TIMEOUT=30s | together with server.drain_delay
VOICE_AGENT_RATE_LIMIT=0 | limits.token (environment VOICE_AGENT_RATE_LIMIT)
VOICE_AGENT_RATE_LIMIT=canary7f3a | limits.token
BROKER_LIMITS__TOKEN=10 | like 10/60s
BROKER_LIMITS__REFRESH=10/0s | limits.refresh
BROKER_LIMITS__TOKEN_NETWORK=-1/60s | limits.token_network
BROKER_LIMITS__REFRESH_NETWORK=1/canary7f3a | limits.refresh_network
BROKER_LIMITS__CAPACITY=0 | limits.capacity
BROKER_GUARD__THRESHOLD=0 | guard.threshold
BROKER_GUARD__THRESHOLD=-3 | guard.threshold
BROKER_GUARD__THRESHOLD=NaN | guard.threshold
BROKER_GUARD__DECAY=0s | guard.decay
BROKER_GUARD__BLOCK=25h | must not be longer than guard.block_max
BROKER_GUARD__BLOCK_MAX=0s | guard.block_max
BROKER_GUARD__NEVER_BLOCK=canary7f3a | guard.never_block
BROKER_GUARD__CAPACITY=0 | guard.capacity
BROKER_GUARD__WEIGHTS__MALFORMED=-0.25 | guard.weights.malformed
BROKER_GUARD__WEIGHTS__WRONG_ORIGIN=inf | guard.weights.wrong_origin
VOICE_AGENT_TOKEN_DURATION=9 | session.token_seconds
VOICE_AGENT_TOKEN_DURATION=7201 | must be between 10 and 7200
VOICE_AGENT_TOKEN_DURATION=60s | session.token_seconds
BROKER_SESSION__MIN_REFRESH_INTERVAL=2h | session.max_age
BROKER_SESSION__MAX_REFRESHES=-1 | session.max_refreshes
BROKER_SESSION__MAX_AGE=0s | session.max_age
BROKER_SESSION__IP_BINDING=canary7f3a | one of auto, strict, soft, off
BROKER_SESSION__MAX_LIVE=0 | session.max_live
BROKER_SESSION__MAX_LIVE=100001 | session.max_total
OPENAI_BASE_URL=canary7f3a | upstream.base_url (environment OPENAI_BASE_URL)
OPENAI_BASE_URL=ftp://canary7f3a | upstream.base_url
BROKER_UPSTREAM__KEY_HEADER=canary7f3a: x | upstream.key_header (environment BROKER_UPSTREAM__KEY_HEADER): must be the name of a header
OPENAI_BASE_URL=http://api.openai.com/v1 | must be https
OPENAI_BASE_URL=http://localhost.canary7f3a.example/v1 | must be https
BROKER_UPSTREAM__PROXY=proxy.canary7f3a.example:3128 | like http://proxy.example.com:3128
BROKER_UPSTREAM__PROXY=socks5://proxy.canary7f3a.example | HTTP proxy
BROKER_UPSTREAM__PROXY=http://u:canary7f3a#x@proxy.example:3128 | percent-encode
BROKER_UPSTREAM__PROXY=http://u:canary7f3a/x@proxy.example:3128 | percent-encode
BROKER_UPSTREAM__NO_PROXY=http://canary7f3a.example | upstream.no_proxy
BROKER_UPSTREAM__ALLOW_PLAIN_HTTP=*.canary7f3a.example | a host alone
BROKER_UPSTREAM__ALLOW_PLAIN_HTTP=litellm,http://canary7f3a | entry 2 of 2
BROKER_UPSTREAM__ALLOW_PLAIN_HTTP=8.8.8.8 | a host alone
BROKER_AUTH__ALLOW_PLAIN_HTTP=canary7f3a:8080 | a host alone
BROKER_UPSTREAM__PUBLIC_URL=canary7f3a | upstream.public_url
OPENAI_BASE_URL=https://u:canary7f3a@api.openai.com/v1 | user or a password
OPENAI_BASE_URL=https://api.openai.com/v1?key=canary7f3a | upstream.base_url
OPENAI_ORG_ID=canary7f3a two | upstream.organization
BROKER_UPSTREAM__CONNECT_TIMEOUT=11s | must not be longer than upstream.timeout
BROKER_UPSTREAM__TIMEOUT=0s | upstream.timeout
BROKER_UPSTREAM__MAX_IN_FLIGHT=0 | upstream.max_in_flight
BROKER_UPSTREAM__MINTS_PER_SECOND=0 | upstream.mints_per_second
BROKER_UPSTREAM__MAX_WAIT=-1ms | upstream.max_wait
BROKER_UPSTREAM__CA_FILE=nowhere | upstream.ca_file
BROKER_UPSTREAM__CA_FILE=no-certificate | without a certificate
BROKER_UPSTREAM__PROBE_INTERVAL=0s | upstream.probe_interval
BROKER_PERSONAS__FILE=nowhere | personas.file
BROKER_PERSONAS__FILE=broken.toml | personas.file (broken.toml:3)
BROKER_PERSONAS__DEFAULT=canary 7f3a | personas.default
BROKER_PERSONAS__DEFAULT=defalt | the nearest is "default"
BROKER_HEALTH__DETAILS=canary7f3a | one of auto, full, summary
BROKER_COMPAT__GET_TOKEN=1 | compat.get_token
BROKER_LOG__FORMAT=canary7f3a | one of auto, text, json
BROKER_AUTH__MODE=canary7f3a | one of off, optional, required
BROKER_AUTH__MODE=required | auth.mode (environment BROKER_AUTH__MODE): needs an issuer of tokens: set auth.supabase_url
BROKER_AUTH__MODE=optional | write [[auth.issuers]] with issuer
BROKER_AUTH__DEFAULT_ROLE=two canary7f3a | auth.default_role
BROKER_AUTH__SUPABASE_URL=canary7f3a | auth.supabase_url
BROKER_AUTH__SUPABASE_URL=http://canary7f3a.supabase.co | must be https
BROKER_AUTH__SUPABASE_URL=https://canary7f3a.supabase.co/auth/v1 | must end with its host
BROKER_AUTH__SUPABASE_JWT_SECRET=canary7f3a-canary7f3a-canary7f3a | needs auth.supabase_url beside it
BROKER_AUTH__SUPABASE_JWT_SECRET=canary7f3a | at least 32 bytes
BROKER_AUTH__SUPABASE_JWT_SECRET_FILE=nowhere | auth.supabase_jwt_secret_file
BROKER_AUTH__AUTH0_DOMAIN=https://canary7f3a.auth0.com | auth.auth0_domain
BROKER_AUTH__AUTH0_DOMAIN=canary7f3a.auth0.com | (default): and auth.auth0_domain go together
BROKER_AUTH__AUTH0_AUDIENCE=canary7f3a | auth.auth0_audience
BROKER_AUTH__FIREBASE_PROJECT=My Canary7f3a | auth.firebase_project
BROKER_AUTH__CLERK_DOMAIN=canary7f3a | auth.clerk_domain
BROKER_AUTH__KEYCLOAK_REALM=https://canary7f3a.example/ | must be the address of a realm
BROKER_AUTH__KEYCLOAK_CLIENT=canary7f3a | and auth.keycloak_realm go together
BROKER_AUTH__ENTRA_TENANT=canary7f3a.onmicrosoft.com | auth.entra_tenant
BROKER_AUTH__ENTRA_AUDIENCE=canary7f3a | auth.entra_audience
BROKER_AUTH__COGNITO_POOL=canary7f3a | must be the id of a user pool
BROKER_AUTH__COGNITO_CLIENT=canary7f3a | and auth.cognito_pool go together
BROKER_AUTH__ISSUERS__JWKS_URL=canary7f3a | is a list of tables: write [[auth.issuers]]
BROKER_QUOTA__STUDENT__SESSIONS_PER_MONTH=0 | quota.student.sessions_per_month
BROKER_QUOTA__STUDENT__SESSIONS_PER_MONTH=1000000001 | must be between 1 and 1000000000
BROKER_QUOTA__STUDENT__SESSIONS_PER_MONTH=canary7f3a | must be a whole number
BROKER_QUOTA__STUDENT__SESSION_PER_MONTH=1 | the nearest is quota.student.sessions_per_month
BROKER_QUOTA__STUDENT__TOKENS_PER_MONTH=1 | needs measured use, which direct mode does not have
BROKER_QUOTA__STUDENT=1 | is a section, not a setting; it holds quota.student.sessions_per_month
BROKER_SESSION__SECRET=canary7f3a | was removed
BROKER_SESSION__SECRET_FILE=nowhere | was removed
REDIS_URL=canary7f3a | must be redis://HOST:PORT or rediss://
REDIS_URL=http://canary7f3a | redis.url (environment REDIS_URL)
REDIS_URL=rediss://canary7f3a/#insecure | redis.url
REDIS_URL=redis://canary7f3a | ledger.url (default): must be a postgres:// database that all replicas have
BROKER_REDIS__URL_FILE=nowhere | redis.url_file
BROKER_REDIS__CA_FILE=nowhere | redis.ca_file
BROKER_REDIS__CA_FILE=no-certificate | without a certificate
BROKER_REDIS__CA_FILE=certificate | is of no use unless redis.url begins with rediss://
BROKER_REDIS__ON_FAILURE=allow | one of local, deny
BROKER_REDIS__TIMEOUT=0s | redis.timeout
BROKER_REDIS__REPLICAS=0 | redis.replicas
RUST_LOG=info,a=canary7f3a | log.filter (environment RUST_LOG)
"#;

#[test]
fn every_bad_variable_is_refused_by_the_name_of_its_setting_and_without_its_value() {
    for row in BAD_VARIABLES.lines().filter(|row| !row.is_empty()) {
        let (variable, says) = row.split_once(" | ").unwrap();
        let (name, text) = variable.split_once('=').unwrap();
        let refusal = refusal(Mode::Serve, &good_and(&[(name, text)]));
        assert!(refusal.contains(says), "{row}: {refusal}");
        assert!(refusal.contains(name) || says.contains('('), "{refusal}");
        assert_eq!(refusal.lines().count(), 3, "{row}: {refusal}");
    }
}

#[test]
fn a_header_cannot_be_smuggled_in_through_a_name() {
    let smuggled = ("OPENAI_PROJECT_ID", "canary7f3a\nX-Evil: 1");
    let refusal = refusal(Mode::Serve, &good_and(&[smuggled]));
    assert!(refusal.contains("upstream.project"), "{refusal}");
}

#[test]
fn a_web_page_list_that_lets_strangers_in_refuses_to_serve() {
    for (text, says) in [
        ("", "set ALLOWED_ORIGINS=https://app.example.com"),
        ("*", "must not be *"),
        ("https://app.example.com,*", "must not be *"),
        ("http://a.example", "must be https"),
        (
            "http://a.example",
            "could replace that page (it is \"http://a.example\")",
        ),
        ("https://a.example/", "entry 1 of 1"),
        (
            "https://a.example/",
            "no trailing slash, no user (it is \"https://a.example/\")",
        ),
        ("https://a.example, app.b.example", "entry 2 of 2"),
        (
            "https://a.example, app.b.example",
            "(it is \"app.b.example\")",
        ),
        (
            "https://a.example;localhost:5173\nhttps://b.example",
            "entry 2 of 3",
        ),
        ("htps://a.example", "must start with https://"),
        ("null", "must start with https://"),
        ("null", "(it is \"null\")"),
        ("file://", "files cannot be allowed"),
        (
            "https://*.com",
            "name a domain of yours behind the *, like https://*.preview.example.com",
        ),
        ("https://*.co.uk", "(it is \"https://*.co.uk\")"),
        ("http://*.a.example", "may hold one *"),
        ("https://*.*.a.example", "may hold one *"),
        (
            "https://*.vercel.app",
            "must not hold https://*.vercel.app: others may get names that fit",
        ),
        (
            "https://app-*-team.vercel.app",
            "or set cors.allow_shared_suffix = true",
        ),
        ("https://pr-*.a.example", "cors.allow_shared_suffix"),
        // They may be secrets in the wrong variable.
        ("canary7f3a", "entry 1 of 1"),
        ("https://user:canary7f3a@a.example", "entry 1 of 1"),
        ("sk-canary7f3a", "entry 1 of 1"),
    ] {
        let refusal = refusal(Mode::Serve, &sources(&[KEY, ("ALLOWED_ORIGINS", text)]));
        assert!(refusal.contains("cors.allowed_origins"), "{refusal}");
        assert_eq!(refusal.lines().count(), 3, "{refusal}");
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
        (("OPENAI_API_KEY", "sk-canary7f3a\nsk"), "a line break"),
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

/// A settings file, its lines parted by ⏎, and what the complaint must say.
const BAD_FILES: &str = r#"
[limits] ⏎ token = 10 | limits.token (config/broker.toml:2): must be text, in quotes
[limits] ⏎  ⏎  ⏎ token = 'canary7f3a' | limits.token (config/broker.toml:4)
[server] ⏎ max_connections = '1' | server.max_connections (config/broker.toml:2)
server.require_origin = 'true' | server.require_origin (config/broker.toml:1)
[server] ⏎ hosts = [1, 2] | server.hosts
[guard] ⏎ threshold = '3' | guard.threshold
[upstream] ⏎ api_key = 123456 | upstream.api_key (config/broker.toml:2): must be text, in quotes
[upstream] ⏎ api_key = ['canary7f3a'] | upstream.api_key (config/broker.toml:2)
[limit] ⏎ token = 'canary7f3a' | limit.token (config/broker.toml:2): is not a setting; the nearest is limits.token
[session] ⏎ token_second = 60 | the nearest is session.token_seconds
[limits.token] ⏎ limit = 10 | limits.token.limit
[severs] | severs
server = 3 | server (config/broker.toml:1): is a section
"a\nb" = 1 | a\nb (config/broker.toml:1)
[upstream] ⏎ api_key = "sk-canary7f3a | settings file (config/broker.toml:2): is not TOML at column
[upstream] ⏎ api_key = sk-canary7f3a | settings file (config/broker.toml:2): is not TOML
sk-canary7f3a | settings file (config/broker.toml:1): is not TOML
[server ⏎  | settings file (config/broker.toml:1)
[log] ⏎ [log] | settings file (config/broker.toml:2): is not TOML at column 2: duplicate key
"#;

#[test]
fn every_bad_file_is_refused_by_line_and_without_repeating_it() {
    for row in BAD_FILES.lines().filter(|row| !row.is_empty()) {
        let (text, says) = row.split_once(" | ").unwrap();
        let sources = Sources {
            file: Some(file(&text.replace(" ⏎ ", "\n"))),
            ..good_and(&[])
        };
        let refusal = refusal(Mode::Serve, &sources);
        assert!(refusal.contains(says), "{row}: {refusal}");
    }
}

#[test]
fn a_removed_setting_is_refused_with_a_line_that_says_what_replaced_it() {
    for (name, says) in [
        ("BROKER_SESSION__PERSIST", "always survive a restart"),
        ("BROKER_SESSION__SECRET", "need no secret"),
        ("BROKER_SESSION__SECRET_FILE", "need no secret"),
        ("BROKER_GUARD__WEIGHTS__FOREIGN_SESSION", "no session id is"),
    ] {
        let said = refusal(Mode::Serve, &good_and(&[(name, "canary7f3a")]));
        assert!(
            said.contains(name) && said.contains("was removed"),
            "{said}"
        );
        assert!(said.contains(says), "{said}");
    }
    let file = Sources {
        file: Some(file("[session]\npersist = true")),
        ..good_and(&[])
    };
    let said = refusal(Mode::Serve, &file);
    assert!(
        said.contains("session.persist (config/broker.toml:2): was removed"),
        "{said}"
    );
}

#[test]
fn replicas_that_share_redis_do_not_start_without_a_ledger_that_all_of_them_use() {
    let redis = ("REDIS_URL", "redis://h");
    let says = "must be a postgres:// database that all replicas have";
    for more in [&[][..], &[("DATABASE_URL", "memory")]] {
        let said = refusal(Mode::Serve, &good_and(&[&[redis], more].concat()));
        assert!(said.contains("ledger.url") && said.contains(says), "{said}");
        let dev = Config::from_sources(Mode::Dev, &good_and(&[&[redis], more].concat()));
        let warnings = dev.unwrap().warnings;
        assert!(
            warnings.iter().any(|warning| warning.contains(says)),
            "{warnings:?}"
        );
    }
    let alone = ("BROKER_REDIS__REPLICAS", "1");
    let shared = ("DATABASE_URL", "postgres://broker:pw@db/broker");
    for fine in [alone, shared] {
        let loaded = serve(&good_and(&[redis, fine]));
        let about = |warning: &String| warning.contains(says);
        assert!(!loaded.warnings.iter().any(about), "{:?}", loaded.warnings);
    }
}

#[test]
fn many_mistakes_are_told_at_once_in_the_order_of_the_settings() {
    let sources = Sources {
        file: Some(file(
            "[server]\nlisten = 'x'\n[gaurd]\nblock = '1m'\n[limits]\nrefresh = 'x'",
        )),
        flags: pairs(&[("session.max_age", "soon"), ("session.max_ages", "1h")]),
        ..sources(&[
            ("BROKER_LIMITS__TOKENS", "1/1s"),
            ("BROKER_UPSTREAM__BASE_URL", "x"),
            ("BROKER_PERSONAS__FILE", "bad-personas.toml"),
            ("BROKER_LOG__FORMAT", "xml"),
        ])
    };
    let errors = Config::from_sources(Mode::Serve, &sources).unwrap_err();
    let named: Vec<_> = errors.complaints().iter().map(Complaint::setting).collect();
    assert_eq!(
        named,
        [
            "gaurd.block",
            "BROKER_LIMITS__TOKENS",
            "session.max_ages",
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
        "session.max_ages (flag session.max_ages): is not a setting; the nearest is session.max_age",
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

//! What comes out: defaults, personas, modes, warnings.

use std::time::Duration;

use token_broker::config::{HealthDetails, IpBinding, LogFormat};
use token_broker::limit::Offence;

use super::*;

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
        (seconds(5), seconds(24))
    );
    assert!(config.redis.url.is_none() && config.redis.replicas.get() == 2);
    assert_eq!(config.redis.timeout, Duration::from_millis(50));
    assert_eq!(config.limits.token.to_string(), "10/60s");
    assert_eq!(config.limits.refresh.to_string(), "120/60s");
    assert_eq!(config.limits.token_network.to_string(), "200/60s");
    assert_eq!(config.limits.refresh_network.to_string(), "600/60s");
    assert_eq!(
        (config.limits.capacity, config.guard.rules.capacity),
        (262_144, 65_536)
    );
    assert_eq!(config.guard.rules.threshold, 3_000, "thousandths");
    assert_eq!(config.guard.rules.decay, seconds(600));
    assert_eq!(
        (config.guard.rules.block, config.guard.rules.block_max),
        (seconds(900), seconds(86_400))
    );
    let weights = config.guard.rules.weights;
    assert_eq!(weights[&Offence::RateLimited].0, 1_000);
    assert_eq!(weights[&Offence::WrongOrigin].0, 250);
}

#[test]
fn the_defaults_of_sessions_and_the_upstream_are_the_promised_ones() {
    let config = serve(&good_and(&[])).config;
    let seconds = Duration::from_secs;
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
    assert_eq!(config.log.filter, "info".parse().unwrap());
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
fn a_setting_that_is_probably_not_meant_is_warned_of() {
    for (name, text, says) in [
        (
            "BROKER_SERVER__LISTEN",
            "0.0.0.0",
            "every caller shares one address",
        ),
        (
            "BROKER_SERVER__LISTEN",
            "0.0.0.0",
            "auth.mode: is off, and the broker is reachable from a network",
        ),
        ("BROKER_GUARD__NEVER_BLOCK", "0.0.0.0/0", "the guard is off"),
        (
            "BROKER_SESSION__MIN_REFRESH_INTERVAL",
            "2m",
            "secrets end before",
        ),
        ("OPENAI_BASE_URL", "https://api.openai.com", "ends with /v1"),
        (
            "OPENAI_BASE_URL",
            "https://mine.openai.azure.com/openai",
            "Azure's with /openai/v1",
        ),
        ("HTTPS_PROXY", "http://proxy:3128", "HTTPS_PROXY is set"),
        ("https_proxy", "http://proxy:3128", "https_proxy is set"),
        (
            "BROKER_UPSTREAM__PUBLIC_URL",
            "http://gateway:4000/v1",
            "a page on https cannot call",
        ),
        (
            "BROKER_UPSTREAM__TIMEOUT",
            "30s",
            "a drain may cut callers off",
        ),
    ] {
        let warnings = serve(&good_and(&[(name, text)])).warnings;
        let about = |warning: &&String| warning.contains(says);
        assert_eq!(warnings.iter().filter(about).count(), 1, "{warnings:?}");
    }
    assert!(serve(&good_and(&[])).warnings.is_empty());
}

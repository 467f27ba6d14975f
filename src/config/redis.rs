//! Owns the settings of what replicas share.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::settings::Settings;
use super::upstream::ca_file;

/// What replicas share.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// The server; it may hold a password. `None` when there is only one replica.
    pub url: Option<SecretString>,
    /// Certificates that vouch for the server instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Longest time that a request waits for one answer of the server.
    pub timeout: Duration,
    /// What a replica does while the server is gone.
    pub on_failure: OnFailure,
    /// How many replicas there are: each has this part of every limit while the server is gone.
    pub replicas: NonZeroU32,
}

/// What a replica does while the server is gone. There is no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Enforces its own part of every limit.
    Local,
    /// Refuses.
    Deny,
}

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);
const WAYS: &[(&str, OnFailure)] = &[("local", OnFailure::Local), ("deny", OnFailure::Deny)];

impl RedisSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let url = settings.secret("redis.url");
        let is_good = |url: &SecretString| is_redis(url.expose_secret());
        settings.require(
            &["redis.url"],
            url.as_ref().is_none_or(is_good),
            "must be redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT, with TLS",
        );
        let ca_file = ca_file(settings, "redis.ca_file");
        let speaks_tls = |url: &SecretString| {
            Url::parse(url.expose_secret()).is_ok_and(|url| url.scheme() == "rediss")
        };
        settings.require(
            &["redis.ca_file", "redis.url"],
            ca_file.is_none() || url.as_ref().is_some_and(speaks_tls),
            "is of no use unless redis.url begins with rediss://",
        );
        let timeout = settings.duration("redis.timeout", SHORTEST_TIMEOUT..=LONGEST_TIMEOUT);
        let on_failure = settings.choice("redis.on_failure", WAYS);
        let replicas: u32 = settings.number("redis.replicas", 1..=10_000);
        Some(Self {
            url,
            ca_file,
            timeout,
            on_failure: on_failure?,
            replicas: NonZeroU32::new(replicas).unwrap_or(NonZeroU32::MIN),
        })
    }
}

/// No fragment: the only one there is turns the check of certificates off.
fn is_redis(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        ["redis", "rediss"].contains(&url.scheme()) && url.has_host() && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_plainly_or_with_tls_that_is_checked() {
        for url in [
            "redis://localhost",
            "redis://10.0.0.1:6379/2",
            "rediss://user:password@redis.example.com:6380",
        ] {
            assert!(is_redis(url), "{url}");
        }
        for wrong in [
            "",
            "localhost:6379",
            "http://localhost",
            "redis:",
            "rediss://h:6380/#insecure",
        ] {
            assert!(!is_redis(wrong), "{wrong}");
        }
    }
}

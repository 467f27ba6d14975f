//! Owns what a web origin is and which of them may call.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A serialised web origin (RFC 6454 §6.2): scheme, host and, unless default, port. Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

/// Why a text is not an origin that can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `http://` or `https://` in front.
    #[error("must start with https:// (or http:// for localhost)")]
    Scheme,
    /// Something other than a host and a port follows.
    #[error(
        "must be scheme, host and port only, like https://app.example.com: no path, no trailing slash, no user, no wildcard"
    )]
    Shape,
    /// Browsers send hosts in lower case, so this would never match.
    #[error("must be in lower case, as browsers send it")]
    Case,
    /// Browsers leave the default port away, so this would never match.
    #[error("must leave the default port away, as browsers do")]
    DefaultPort,
}

impl Origin {
    /// Reads an origin as an operator writes it into the allow-list.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (default_port, rest) = if let Some(rest) = text.strip_prefix("https://") {
            ("443", rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            ("80", rest)
        } else {
            return Err(OriginError::Scheme);
        };
        let (host, port) = split_port(rest).ok_or(OriginError::Shape)?;
        if rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(OriginError::Case);
        }
        if port == Some(default_port) {
            return Err(OriginError::DefaultPort);
        }
        is_host(host)
            .then(|| Self(text.into()))
            .ok_or(OriginError::Shape)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the origin is reached over TLS or never leaves the machine.
    pub fn is_trustworthy(&self) -> bool {
        self.0.starts_with("https://") || is_localhost(&self.0)
    }
}

fn split_port(rest: &str) -> Option<(&str, Option<&str>)> {
    let after_host = rest.rfind(']').map_or(0, |bracket| bracket + 1);
    match rest[after_host..].find(':') {
        None => Some((rest, None)),
        Some(colon) => {
            let (host, port) = rest.split_at(after_host + colon);
            let port = &port[1..];
            let canonical = port
                .parse::<u16>()
                .ok()
                .filter(|&number| number > 0)?
                .to_string()
                == port;
            canonical.then_some((host, Some(port)))
        }
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let clean = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    clean && !host.is_empty() && host.split('.').all(|label| !label.is_empty())
}

/// True for origins of the machine itself, whatever their port.
fn is_localhost(origin: &str) -> bool {
    let Some(rest) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    let host = split_port(rest).map(|(host, _)| host);
    matches!(host, Some("localhost" | "127.0.0.1" | "[::1]"))
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which origins may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    exact: BTreeSet<Origin>,
    localhost: bool,
    any: bool,
}

impl Origins {
    /// Exactly these.
    pub fn exactly(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self {
            exact: origins.into_iter().collect(),
            ..Self::default()
        }
    }

    /// These, and every origin of the machine itself. For dev mode.
    #[must_use]
    pub fn and_localhost(self) -> Self {
        Self {
            localhost: true,
            ..self
        }
    }

    /// Every origin there is. For dev mode.
    #[must_use]
    pub fn and_any(self) -> Self {
        Self { any: true, ..self }
    }

    /// True when nobody may call.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && !self.localhost && !self.any
    }

    /// True when every origin may call.
    pub const fn allows_any(&self) -> bool {
        self.any
    }

    /// The origins that were listed.
    pub fn listed(&self) -> impl Iterator<Item = &Origin> {
        self.exact.iter()
    }

    /// The origin in a request's `Origin` header, when it may call. Exact and case-sensitive: `null`, suffixes, other
    /// ports and other schemes are strangers.
    pub fn admit(&self, header: &[u8]) -> Option<Origin> {
        let text = std::str::from_utf8(header).ok()?;
        let origin = Origin::parse(text).ok()?;
        let known =
            self.any || self.exact.contains(&origin) || (self.localhost && is_localhost(text));
        known.then_some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_matches_pass() {
        let origins = Origins::exactly([
            Origin::parse("https://app.example.com").unwrap(),
            Origin::parse("http://localhost:5173").unwrap(),
        ]);
        assert!(origins.admit(b"https://app.example.com").is_some());
        assert!(origins.admit(b"http://localhost:5173").is_some());
        let strangers = [
            "",
            "null",
            "*",
            "https://app.example.com.",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "http://app.example.com",
            "https://APP.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com.evil.test",
            "https://evil.test/app.example.com",
            "https://evilapp.example.com",
            "https://sub.app.example.com",
            "https://example.com",
            "https://app.example.co",
            "https://app-example.com",
            "https://user@app.example.com",
            "https://app.example.com@evil.test",
            "https://app.example.com#",
            "https://app.example.com?",
            " https://app.example.com",
            "https://app.example.com ",
            "https://app.example.com, https://evil.test",
            "https://app.example.com\0",
            "https://app.example.com\t",
            "//app.example.com",
            "app.example.com",
            "file://",
            "chrome-extension://abc",
            "data:",
            "https://",
            "https://:443",
            "https://[::1]",
            "http://localhost",
            "http://localhost:517",
            "http://localhost:51730",
            "http://localhost:05173",
            "http://127.0.0.1:5173",
            "https://localhost:5173",
            "https://аpp.example.com",
        ];
        for stranger in strangers {
            assert!(
                origins.admit(stranger.as_bytes()).is_none(),
                "{stranger:?} must be a stranger"
            );
        }
        assert!(origins.admit(b"https://app.example.com\xff").is_none());
    }

    #[test]
    fn what_could_never_match_is_refused_with_the_reason() {
        assert_eq!(Origin::parse("app.example.com"), Err(OriginError::Scheme));
        assert_eq!(
            Origin::parse("https://app.example.com/"),
            Err(OriginError::Shape)
        );
        assert_eq!(
            Origin::parse("https://*.example.com"),
            Err(OriginError::Shape)
        );
        assert_eq!(
            Origin::parse("https://App.example.com"),
            Err(OriginError::Case)
        );
        assert_eq!(
            Origin::parse("https://app.example.com:443"),
            Err(OriginError::DefaultPort)
        );
        assert_eq!(
            Origin::parse("http://app.example.com:80"),
            Err(OriginError::DefaultPort)
        );
    }

    #[test]
    fn localhost_means_the_machine_itself_and_nothing_that_looks_like_it() {
        let origins = Origins::default().and_localhost();
        for local in [
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "http://[::1]:8000",
            "https://localhost",
        ] {
            assert!(origins.admit(local.as_bytes()).is_some(), "{local}");
        }
        for stranger in [
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://127.0.0.2",
            "null",
        ] {
            assert!(origins.admit(stranger.as_bytes()).is_none(), "{stranger}");
        }
    }
}

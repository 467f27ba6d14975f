//! Web origins, and which of them may call.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use url::Url;

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
    /// Browsers omit the default port, so this would never match.
    #[error("must omit the default port, as browsers do")]
    DefaultPort,
}

impl Origin {
    /// Reads an origin as browsers send it. Every other spelling is an error, because it would never match.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(OriginError::Scheme);
        }
        let url = Url::parse(text).map_err(|_| OriginError::Shape)?;
        let host = url.host_str().unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if !host.bytes().all(is_plain) || host.split('.').any(str::is_empty) {
            return Err(OriginError::Shape);
        }
        let sent = url.origin().ascii_serialization();
        match text {
            _ if text == sent => Ok(Self(text.into())),
            _ if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Err(OriginError::Case),
            _ if text.strip_prefix(&sent).is_some_and(is_port) => Err(OriginError::DefaultPort),
            _ => Err(OriginError::Shape),
        }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true when the origin is reached over TLS or never leaves the machine.
    pub fn is_trustworthy(&self) -> bool {
        self.0.starts_with("https://") || self.is_localhost()
    }

    /// Returns true for origins of the machine itself, whatever their port.
    fn is_localhost(&self) -> bool {
        let url = Url::parse(&self.0).ok();
        let host = url.as_ref().and_then(Url::host_str);
        matches!(host, Some("localhost" | "127.0.0.1" | "[::1]"))
    }
}

fn is_port(text: &str) -> bool {
    matches!(text, ":443" | ":80")
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
    /// Returns exactly these.
    pub fn exactly(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self {
            exact: origins.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Returns these, and every origin of the machine itself. For dev mode.
    #[must_use]
    pub fn and_localhost(self) -> Self {
        Self {
            localhost: true,
            ..self
        }
    }

    /// Returns every origin there is. For dev mode.
    #[must_use]
    pub fn and_any(self) -> Self {
        Self { any: true, ..self }
    }

    /// Returns true when nobody may call.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && !self.localhost && !self.any
    }

    /// Returns true when every origin may call.
    pub const fn allows_any(&self) -> bool {
        self.any
    }

    /// Returns the origins that were listed.
    pub fn listed(&self) -> impl Iterator<Item = &Origin> {
        self.exact.iter()
    }

    /// Returns the origin in a request's `Origin` header, when it may call. Exact and case-sensitive: `null`, suffixes,
    /// other ports and other schemes are strangers.
    pub fn admit(&self, header: &[u8]) -> Option<Origin> {
        let text = std::str::from_utf8(header).ok()?;
        let listed = self.exact.iter().find(|known| known.as_str() == text);
        if listed.is_some() || !(self.any || self.localhost) {
            return listed.cloned();
        }
        let origin = Origin::parse(text).ok()?;
        (self.any || origin.is_localhost()).then_some(origin)
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

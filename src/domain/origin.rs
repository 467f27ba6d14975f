//! Origins of pages and apps.

use std::fmt;
use std::sync::Arc;

use url::Url;

/// Schemes whose origins are anybody's, or that are no scheme of a page or an app.
const REFUSED: [&str; 8] = [
    "about",
    "blob",
    "data",
    "file",
    "ftp",
    "javascript",
    "ws",
    "wss",
];

/// A serialised origin (RFC 6454 §6.2): scheme, host and, unless default, port. Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

/// Why a text is not an origin that can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No scheme of a page or an app in front.
    #[error(
        "must start with https:// (http:// for localhost) or the scheme of an app, like capacitor://localhost; \
         null and files cannot be allowed, because any page can have them"
    )]
    Scheme,
    /// Something other than a host and a port follows.
    #[error(
        "must be scheme, host and port only, like https://app.example.com: no path, no trailing slash, no user"
    )]
    Shape,
    /// A `*` that is not in one label of the host of an https origin.
    #[error(
        "may hold one *, in the host of an https origin, for one label: https://*.preview.example.com"
    )]
    Star,
    /// Anyone can register a domain that matches.
    #[error(
        "must name a domain of yours behind the *, like https://*.preview.example.com: \
         anyone can register a name that matches"
    )]
    Registry,
}

impl Origin {
    /// Reads an origin. Normalises what browsers write in one way only: upper case, the default port, Unicode.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let sent = canonical(text)?;
        if sent.contains('*') {
            return Err(OriginError::Star);
        }
        Ok(Self(sent.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true when no network can answer in the origin's place: it is reached over TLS, never leaves the machine,
    /// or is an app.
    pub fn is_trustworthy(&self) -> bool {
        !self.0.starts_with("http://") || self.is_localhost()
    }

    /// Returns true for origins of the machine itself (RFC 6761 §6.3), whatever their scheme and port.
    pub(super) fn is_localhost(&self) -> bool {
        let url = Url::parse(&self.0).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost")
    }
}

/// Returns `text` as browsers send it. The host may hold a `*`.
pub(super) fn canonical(text: &str) -> Result<String, OriginError> {
    let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
    if !is_scheme(&scheme.to_ascii_lowercase()) {
        return Err(OriginError::Scheme);
    }
    // `Url` would drop a line break, mend a backslash and decode %2e.
    let is_stray =
        |letter: char| letter.is_whitespace() || letter.is_control() || "/\\?#@%".contains(letter);
    let url = Url::parse(text).ok().filter(|_| !rest.contains(is_stray));
    let url = url.ok_or(OriginError::Shape)?;
    let host = url.host_str().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]*".contains(&byte);
    if !host.bytes().all(is_plain) || host.split('.').any(str::is_empty) {
        return Err(OriginError::Shape);
    }
    let port = url.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    Ok(format!("{}://{host}{port}", url.scheme()))
}

/// Returns true for a scheme that a page or an app can have. One that resembles https is a slip.
fn is_scheme(scheme: &str) -> bool {
    let is_slip = || strsim::osa_distance(scheme, "https") <= 2;
    matches!(scheme, "https" | "http") || !(REFUSED.contains(&scheme) || is_slip())
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Origins;

    #[test]
    fn a_spelling_that_browsers_never_send_is_normalised() {
        for (text, sent) in [
            ("HTTPS://APP.example.com:443", "https://app.example.com"),
            ("https://App.example.com", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            (
                "https://app.example.com:08443",
                "https://app.example.com:8443",
            ),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
            (
                "https://XN--BCHER-KVA.example",
                "https://xn--bcher-kva.example",
            ),
            ("https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"),
            ("https://app。example。com", "https://app.example.com"),
            ("https://[2001:DB8::0:1]:443", "https://[2001:db8::1]"),
            ("Capacitor://localhost", "capacitor://localhost"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(origin.as_str(), sent, "{text}");
            let origins = Origins::exactly([origin]);
            assert!(origins.admit(sent.as_bytes()).is_some());
            assert!(origins.admit(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn f14_apps_have_origins_of_their_own_schemes() {
        for app in [
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "http://tauri.localhost",
            "https://tauri.localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://7a3f1c2e-0000-4000-8000-0123456789ab",
            "safari-web-extension://7A3F1C2E-0000-4000-8000-0123456789AB",
            "app://localhost",
            "app://-",
            "capacitor-electron://-",
            "com.example.app://localhost",
            "wails://wails.localhost:34115",
            "vscode-webview://1t0kf2",
        ] {
            let origin = Origin::parse(app).unwrap();
            assert_eq!(origin.as_str(), app);
            assert!(origin.is_trustworthy(), "{app}");
            let origins = Origins::exactly([origin]);
            assert!(origins.admit(app.as_bytes()).is_some());
            for stranger in ["/", ":1", ".", "x"].map(|more| format!("{app}{more}")) {
                assert!(origins.admit(stranger.as_bytes()).is_none(), "{stranger}");
            }
            let upper = app.to_uppercase();
            assert!(origins.admit(upper.as_bytes()).is_none(), "{upper}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_the_reason() {
        for (text, error) in [
            ("app.example.com", OriginError::Scheme),
            ("localhost:5173", OriginError::Scheme),
            ("null", OriginError::Scheme),
            ("file://", OriginError::Scheme),
            ("file://localhost", OriginError::Scheme),
            ("data:text/html,x", OriginError::Scheme),
            ("blob:https://app.example.com", OriginError::Shape),
            ("blob:https://app.example.com/1", OriginError::Shape),
            ("wss://app.example.com", OriginError::Scheme),
            ("ftp://app.example.com", OriginError::Scheme),
            ("htps://app.example.com", OriginError::Scheme),
            ("httpss://app.example.com", OriginError::Scheme),
            (" https://app.example.com", OriginError::Scheme),
            ("[\"https://app.example.com", OriginError::Scheme),
            ("https:app.example.com", OriginError::Scheme),
            ("https://", OriginError::Shape),
            ("https://:443", OriginError::Shape),
            ("https:///app.example.com", OriginError::Shape),
            ("https://https://app.example.com", OriginError::Shape),
            ("https://app.example.com/", OriginError::Shape),
            ("https://app.example.com/page", OriginError::Shape),
            ("https://app.example.com?x", OriginError::Shape),
            ("https://app.example.com#", OriginError::Shape),
            ("https://app.example.com\\x", OriginError::Shape),
            ("https://user@app.example.com", OriginError::Shape),
            ("https://app.example.com.", OriginError::Shape),
            ("https://app..example.com", OriginError::Shape),
            ("https://app%2eexample.com", OriginError::Shape),
            ("https://app.example.com:99999", OriginError::Shape),
            ("https://app.exam\nple.com", OriginError::Shape),
            ("https://app.example.com https://b", OriginError::Shape),
            ("https://app.example.com;https://b", OriginError::Shape),
            ("https://app.example.com\"", OriginError::Shape),
            ("capacitor://", OriginError::Shape),
            ("capacitor://localhost/", OriginError::Shape),
            ("capacitor://löcalhost", OriginError::Shape),
            ("https://*.example.com", OriginError::Star),
            ("capacitor://*", OriginError::Star),
        ] {
            assert_eq!(Origin::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_origin_is_admitted_in_one_spelling_only(
            scheme in "https?|HTTPS|capacitor|ws|[a-z]{1,4}",
            host in "[a-zA-Z0-9ü.*:@/%\\[\\]-]{0,12}",
            port in "(:[0-9]{1,5})?",
        ) {
            let text = format!("{scheme}://{host}{port}");
            let everybody = Origins::any();
            if let Ok(origin) = Origin::parse(&text) {
                let sent = origin.as_str();
                prop_assert_eq!(Origin::parse(sent), Ok(origin.clone()));
                let only = Origins::exactly([origin.clone()]);
                prop_assert_eq!(only.admit(sent.as_bytes()), Some(origin.clone()));
                prop_assert_eq!(only.admit(text.as_bytes()).is_some(), text == sent);
                prop_assert_eq!(everybody.admit(text.as_bytes()).is_some(), text == sent);
            } else {
                prop_assert!(everybody.admit(text.as_bytes()).is_none());
            }
        }
    }
}

//! The list of origins that may call.

use std::collections::BTreeSet;

use super::{Origin, OriginPattern};

/// Which origins may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    exact: BTreeSet<Origin>,
    patterns: Vec<OriginPattern>,
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

    /// Returns every origin that fits a pattern.
    pub fn fitting(pattern: OriginPattern) -> Self {
        Self {
            patterns: vec![pattern],
            ..Self::default()
        }
    }

    /// Returns the origins of both.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        self.exact.append(&mut other.exact);
        self.patterns.append(&mut other.patterns);
        self.localhost |= other.localhost;
        self.any |= other.any;
        self
    }

    /// Returns every origin of the machine itself. For dev mode.
    pub fn localhost() -> Self {
        Self {
            localhost: true,
            ..Self::default()
        }
    }

    /// Returns every origin there is. For dev mode.
    pub fn any() -> Self {
        Self {
            any: true,
            ..Self::default()
        }
    }

    /// Returns true when nobody may call.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true when every origin may call.
    pub const fn allows_any(&self) -> bool {
        self.any
    }

    /// Returns the origins that were listed.
    pub fn listed(&self) -> impl Iterator<Item = &Origin> {
        self.exact.iter()
    }

    /// Returns the patterns that were listed.
    pub fn patterns(&self) -> &[OriginPattern] {
        &self.patterns
    }

    /// Returns the origin in a request's `Origin` header, when it may call. Exact and case-sensitive: `null`, suffixes,
    /// other ports and other schemes are strangers.
    pub fn admit(&self, header: &[u8]) -> Option<Origin> {
        let text = std::str::from_utf8(header).ok()?;
        let listed = self.exact.iter().find(|known| known.as_str() == text);
        let fits = self.any || self.patterns.iter().any(|pattern| pattern.fits(text));
        if listed.is_some() || !(fits || self.localhost) {
            return listed.cloned();
        }
        let origin = Origin::parse(text).ok()?;
        let is_as_sent = origin.as_str() == text;
        (is_as_sent && (fits || origin.is_localhost())).then_some(origin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn f31_an_origin_that_fits_a_pattern_is_admitted_as_itself() {
        let pattern = OriginPattern::parse("https://*.preview.example.com").unwrap();
        let origins = Origins::fitting(pattern);
        let sent = "https://pr-12.preview.example.com";
        assert_eq!(origins.admit(sent.as_bytes()).unwrap().as_str(), sent);
        for stranger in [
            "https://PR-12.preview.example.com",
            "https://xn--.preview.example.com",
            "https://*.preview.example.com",
            "https://preview.example.com",
            "null",
        ] {
            assert!(origins.admit(stranger.as_bytes()).is_none(), "{stranger}");
        }
    }

    #[test]
    fn localhost_means_the_machine_itself_and_nothing_that_looks_like_it() {
        let origins = Origins::localhost();
        for local in [
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "http://[::1]:8000",
            "https://localhost",
            "http://app.localhost:5173",
            "capacitor://localhost",
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

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_judged_without_a_panic(header in proptest::collection::vec(any::<u8>(), 0..40)) {
            let pattern = OriginPattern::parse("https://*.preview.example.com").unwrap();
            prop_assert!(Origins::fitting(pattern).admit(&header).is_none());
        }
    }
}

//! Patterns of origins that are not known beforehand, with one open label.

use std::fmt;

use psl::{List, Psl, Type};

use super::OriginError;
use super::origin::canonical;

/// A pattern of https origins, like `https://*.preview.example.com`. The `*` stands for the letters, digits, hyphens and
/// underscores of one label, or of a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// All before the `*`.
    begin: String,
    /// All behind the `*`.
    end: String,
    is_shared: bool,
}

impl OriginPattern {
    /// Reads a pattern. Refuses one below the suffix of a registry, like `com` or `co.uk`.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let text = canonical(text)?;
        let (begin, end) = text.split_once('*').ok_or(OriginError::Star)?;
        let label = begin.rsplit(['/', '.']).next().unwrap_or_default();
        // Punycode of a part of a label says nothing about the whole label.
        if !begin.starts_with("https://") || end.contains('*') || label.starts_with("xn--") {
            return Err(OriginError::Star);
        }
        let (rest, domain) = end.split_once('.').ok_or(OriginError::Registry)?;
        let suffix = shared_suffix(domain);
        if suffix == Some(Type::Icann) {
            return Err(OriginError::Registry);
        }
        Ok(Self {
            begin: begin.to_owned(),
            end: end.to_owned(),
            is_shared: suffix.is_some() || !label.is_empty() || !rest.is_empty(),
        })
    }

    /// Returns true when others may get names that fit: below a suffix that many share, or by a part of a label.
    pub const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns true when `text` is this pattern with letters of one label for the `*`.
    pub fn fits(&self, text: &str) -> bool {
        let rest = text.strip_prefix(&self.begin);
        let open = rest.and_then(|rest| rest.strip_suffix(&self.end));
        let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        open.is_some_and(|open| !open.is_empty() && open.bytes().all(is_of_label))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}*{}", self.begin, self.end)
    }
}

/// Returns the kind of the suffix in the Public Suffix List that `domain` is. Names below it belong to different people.
/// A single label that the list does not know counts as private. `domain` may have a port.
fn shared_suffix(domain: &str) -> Option<Type> {
    let domain = domain.split(':').next().unwrap_or_default();
    // Rules like *.compute.amazonaws.com speak of the labels below a domain, not of the domain.
    let below = format!("x.{domain}");
    let suffix = List.suffix(below.as_bytes())?;
    let is_suffix = suffix.as_bytes().len() >= domain.len();
    is_suffix.then(|| suffix.typ().unwrap_or(Type::Private))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> OriginPattern {
        OriginPattern::parse(text).unwrap()
    }

    #[test]
    fn f31_one_whole_label_below_a_domain_of_ones_own_is_open() {
        for (text, fitting) in [
            (
                "https://*.preview.example.com",
                "https://pr-12.preview.example.com",
            ),
            ("https://*.example.app", "https://a_b.example.app"),
            ("https://*.example.co.uk", "https://1.example.co.uk"),
            ("https://*.team.vercel.app", "https://x.team.vercel.app"),
            ("https://app.*.example.com", "https://app.pr-1.example.com"),
            (
                "HTTPS://*.Preview.Example.com:443",
                "https://x.preview.example.com",
            ),
            (
                "https://*.bücher.example",
                "https://pr-1.xn--bcher-kva.example",
            ),
            (
                "https://*.example.com:8443",
                "https://pr-1.example.com:8443",
            ),
            ("https://*.corp.internal", "https://x.corp.internal"),
        ] {
            assert!(pattern(text).fits(fitting), "{text} {fitting}");
            assert!(!pattern(text).is_shared(), "{text}");
        }
    }

    #[test]
    fn a_pattern_fits_nothing_but_one_label() {
        let open = pattern("https://*.preview.example.com");
        for stranger in [
            "",
            "null",
            "https://*.preview.example.com.evil.test",
            "https://preview.example.com",
            "https://.preview.example.com",
            "https://a.b.preview.example.com",
            "https://evil.test/.preview.example.com",
            "https://evil.test#.preview.example.com",
            "https://evil.test?.preview.example.com",
            "https://evil.test:1.preview.example.com",
            "https://user@.preview.example.com",
            "https://a%2eb.preview.example.com",
            "https://a b.preview.example.com",
            "https://ä.preview.example.com",
            "https://xpreview.example.com",
            "https://a.preview.example.com.",
            "https://a.preview.example.com:8443",
            "https://a.preview.example.com.evil.test",
            "http://a.preview.example.com",
            "capacitor://a.preview.example.com",
        ] {
            assert!(!open.fits(stranger), "{stranger}");
        }
        let part = pattern("https://app-*-team.vercel.app");
        assert!(part.fits("https://app-git-main-team.vercel.app"));
        for stranger in [
            "https://app--team.vercel.app",
            "https://app-team.vercel.app",
            "https://app-x.y-team.vercel.app",
            "https://app-x-other.vercel.app",
        ] {
            assert!(!part.fits(stranger), "{stranger}");
        }
    }

    #[test]
    fn names_that_others_may_get_are_shared() {
        for text in [
            "https://*.vercel.app",
            "https://*.netlify.app",
            "https://*.pages.dev",
            "https://*.github.io",
            "https://*.web.app",
            "https://*.onrender.com",
            "https://*.ngrok-free.app",
            "https://*.s3.amazonaws.com",
            "https://*.compute.amazonaws.com",
            "https://*.vercel.app:8443",
            "https://app.*.vercel.app",
            "https://*.local",
            "https://app-*-team.vercel.app",
            "https://pr-*.example.com",
            "https://*-app.example.com",
        ] {
            assert!(pattern(text).is_shared(), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_opens_more_than_a_label_of_ones_own_is_refused() {
        for (text, error) in [
            ("https://*", OriginError::Registry),
            ("https://*:8443", OriginError::Registry),
            ("https://app-*", OriginError::Registry),
            ("https://*.com", OriginError::Registry),
            ("https://*.app", OriginError::Registry),
            ("https://*.co.uk", OriginError::Registry),
            ("https://*.com:8443", OriginError::Registry),
            ("https://app.*.co.uk", OriginError::Registry),
            ("https://*.рф", OriginError::Registry),
            ("https://*.kawasaki.jp", OriginError::Registry),
            ("https://*.*.example.com", OriginError::Star),
            ("https://**.example.com", OriginError::Star),
            ("https://xn--*.example.com", OriginError::Shape),
            ("https://bü*.example.com", OriginError::Star),
            ("http://*.example.com", OriginError::Star),
            ("http://*.localhost", OriginError::Star),
            ("capacitor://*", OriginError::Star),
            ("chrome-extension://*", OriginError::Star),
            ("moz-extension://*", OriginError::Star),
            ("https://app.example.com", OriginError::Star),
            ("*://app.example.com", OriginError::Shape),
            ("*.example.com", OriginError::Scheme),
            ("https://*.example.com/", OriginError::Shape),
            ("https://app.example.com:*", OriginError::Shape),
            ("https://app.example.com/*", OriginError::Shape),
            ("https://192.168.*.1", OriginError::Shape),
            ("https://*..example.com", OriginError::Shape),
            ("https://[*]", OriginError::Shape),
        ] {
            assert_eq!(OriginPattern::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_fits_differs_from_the_pattern_in_one_label_only(
            begin in "(https://)?([a-z0-9-]{0,4}[.])?[a-z0-9-]{0,3}",
            open in "[a-z0-9.:/@#_-]{0,9}",
            end in "[a-z0-9-]{0,3}[.:/]?(preview[.]example[.]com)?(:8443)?",
        ) {
            for text in ["https://*.preview.example.com", "https://pr-*.preview.example.com:8443"] {
                let pattern = pattern(text);
                let sent = format!("{begin}{open}{end}");
                let label = text.split(['/', '.']).nth(2).unwrap();
                let (before, after) = text.split_once(label).unwrap();
                let (first, last) = label.split_once('*').unwrap();
                let middle = sent.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let is_label = middle.is_some_and(|middle| {
                    middle.len() > first.len() + last.len()
                        && middle.starts_with(first)
                        && middle.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter))
                });
                prop_assert_eq!(pattern.fits(&sent), is_label, "{}", sent);
            }
        }

        #[test]
        fn every_label_fits_and_nothing_longer_does(label in "[a-z0-9_-]{1,63}", more in "[.:/@#?%\\\\]") {
            let pattern = pattern("https://*.preview.example.com");
            let fitting = format!("https://{label}.preview.example.com");
            prop_assert!(pattern.fits(&fitting));
            let longer = format!("https://{label}{more}.preview.example.com");
            prop_assert!(!pattern.fits(&longer));
            let foreign = format!("{fitting}{more}evil.test");
            prop_assert!(!pattern.fits(&foreign));
        }
    }
}

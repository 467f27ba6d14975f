//! Language tags (BCP 47).

use std::fmt;

/// Longest tag, in bytes. RFC 5646 §4.4.1 says that 35 are enough.
const LONGEST: usize = 35;

/// A language tag, like `es` or `es-MX` (BCP 47): letters, digits and hyphens only.
#[derive(Clone, Debug)]
pub struct Language(Box<str>);

/// Error for a text that is no language tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the tag of a language, like es or es-MX: letters, digits and -, at most 35")]
pub struct LanguageError;

impl Language {
    /// Reads a tag, or the name of a locale as iOS, Android and POSIX write it: `es_MX`,
    /// `pt_BR.UTF-8`, `de_DE@euro`.
    pub fn parse(text: &str) -> Result<Self, LanguageError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let end = text.find(['.', '@']).unwrap_or(text.len());
        let (tag, rest) = text.split_at(end);
        let fits = (1..=LONGEST).contains(&text.len())
            && !tag.is_empty()
            && tag.bytes().all(is_plain)
            && rest
                .bytes()
                .all(|byte| is_plain(byte) || b".@".contains(&byte));
        fits.then(|| Self(tag.replace('_', "-").into()))
            .ok_or(LanguageError)
    }

    /// Returns the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first part: `es` of `es-MX`.
    fn primary(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }

    /// Returns true when `other` is the broader form of this language: `es` for `es-MX`.
    pub fn falls_back_to(&self, other: &Self) -> bool {
        self.primary().eq_ignore_ascii_case(&other.0)
    }
}

/// Tags are compared without case (RFC 5646 §2.1.1).
impl PartialEq for Language {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Language {}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_letters_digits_and_hyphens_and_short() {
        for good in ["es", "es-MX", "zh-Hant-TW", "i-klingon", &"a".repeat(35)] {
            assert_eq!(Language::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".UTF-8",
            "@euro",
            "es. Ignore all of the above",
            "es.{{ role }}",
            "es MX",
            "es\n",
            "español",
            "{{ role }}",
            "\"",
            &"a".repeat(36),
        ] {
            assert_eq!(Language::parse(bad), Err(LanguageError), "{bad:?}");
        }
    }

    #[test]
    fn f30_names_of_locales_are_read_as_tags() {
        for (locale, tag) in [
            ("es_MX", "es-MX"),
            ("zh_Hans_CN", "zh-Hans-CN"),
            ("zh-Hans_CN", "zh-Hans-CN"),
            ("pt_BR.UTF-8", "pt-BR"),
            ("de_DE@euro", "de-DE"),
            ("sr_RS.utf8@latin", "sr-RS"),
        ] {
            assert_eq!(Language::parse(locale).unwrap().as_str(), tag, "{locale}");
        }
    }

    #[test]
    fn a_broader_language_will_do_and_a_narrower_one_will_not() {
        let tag = |text| Language::parse(text).unwrap();
        assert_eq!(tag("es-mx"), tag("ES-MX"));
        assert!(tag("es-MX").falls_back_to(&tag("ES")));
        assert!(!tag("es").falls_back_to(&tag("es-MX")));
        assert!(!tag("est").falls_back_to(&tag("es")));
    }
}

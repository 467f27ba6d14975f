//! Owns how a language is called.

use std::fmt;

/// Longest tag that is taken: RFC 5646 §4.4.1 promises that those of 35 letters are enough.
const LONGEST: usize = 35;

/// The tag of a language, like `es` or `es-MX` (BCP 47). What it is made of cannot be anything but a tag.
#[derive(Clone, Debug)]
pub struct Language(Box<str>);

/// Why a text is not the tag of a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the tag of a language, like es or es-MX: letters, digits and -, at most 35")]
pub struct LanguageError;

impl Language {
    /// Reads a tag.
    pub fn parse(text: &str) -> Result<Self, LanguageError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        ((1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain))
            .then(|| Self(text.into()))
            .ok_or(LanguageError)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first part: `es` of `es-MX`.
    fn primary(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }

    /// True when one who asks for `self` is content with `other`, though it is broader: `es` for `es-MX`.
    pub fn falls_back_to(&self, other: &Self) -> bool {
        self.primary().eq_ignore_ascii_case(&other.0)
    }
}

/// Tags are the same whatever their case (RFC 5646 §2.1.1).
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
            "es_MX",
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
    fn a_broader_language_will_do_and_a_narrower_one_will_not() {
        let tag = |text| Language::parse(text).unwrap();
        assert_eq!(tag("es-mx"), tag("ES-MX"));
        assert!(tag("es-MX").falls_back_to(&tag("ES")));
        assert!(!tag("es").falls_back_to(&tag("es-MX")));
        assert!(!tag("est").falls_back_to(&tag("es")));
    }
}

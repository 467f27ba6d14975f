//! Request ids, which every answer and every log line quotes.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::random_bytes;

/// Longest accepted inbound request id.
const MAX_LENGTH: usize = 64;

/// The id of one request: printable, short, safe in a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Returns a new id: `req_` and 96 random bits.
    pub fn random() -> Self {
        let mut text = String::with_capacity(20);
        text.push_str("req_");
        URL_SAFE_NO_PAD.encode_string(random_bytes::<12>(), &mut text);
        Self(text.into())
    }

    /// Accepts the id that a trusted proxy gave, when it is short and plain: letters, digits, `-`, `_`, `.`.
    pub fn parse(given: &str) -> Option<Self> {
        let fits = (1..=MAX_LENGTH).contains(&given.len());
        let clean = given
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        (fits && clean).then(|| Self(given.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_is_one_that_would_be_believed() {
        let id = RequestId::random();
        assert_eq!(RequestId::parse(id.as_str()), Some(id));
    }

    #[test]
    fn a_hostile_id_is_not_believed() {
        for hostile in [
            "",
            "a b",
            "a\nb",
            "\u{1b}[31m",
            "<script>",
            "é",
            &"a".repeat(65),
        ] {
            assert_eq!(RequestId::parse(hostile), None, "{hostile:?}");
        }
    }
}

//! Checks webhooks by the rules of Standard Webhooks, as OpenAI signs them.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::KeyFingerprint;
use crate::clock::Timestamp;

/// How the secret of a webhook begins.
const SECRET: &str = "whsec_";
/// A shorter secret could be guessed.
const LEAST_SECRET: usize = 16;
/// How a signature of the only version begins.
const VERSION: &str = "v1,";
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;
/// Most signatures of one webhook. The provider sends one for each secret while it changes the secret.
const MOST_SIGNATURES: usize = 4;
/// The longest id of a webhook, in bytes.
const LONGEST_ID: usize = 128;
/// A webhook is refused when its time is so far from ours, in either direction: somebody may have kept it.
const TOLERANCE: Duration = Duration::from_mins(5);

/// The secrets that sign webhooks. Never shows them.
#[derive(Clone)]
pub struct WebhookKeys(Box<[hmac::Key]>);

impl WebhookKeys {
    /// Reads secrets with spaces or line ends between them: while a secret is changed there are two, and each project of the
    /// provider has its own.
    pub fn parse(text: &str) -> Option<Self> {
        let keys = text.split_whitespace().map(key);
        let keys = keys.collect::<Option<Box<[_]>>>()?;
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Returns what tells each secret apart from others, without the secret.
    pub fn fingerprints(&self) -> impl Iterator<Item = KeyFingerprint> {
        let signed = self.0.iter().map(|key| hmac::sign(key, &[]));
        signed.map(|tag| KeyFingerprint::of(&STANDARD.encode(tag)))
    }

    /// True when one of the secrets has signed the webhook.
    pub fn have_signed(&self, head: &WebhookHead<'_>, body: &[u8]) -> bool {
        let begin = format!("{}.{}.", head.id, head.timestamp);
        let message = [begin.as_bytes(), body].concat();
        let is_by = |key, signature: &[u8]| hmac::verify(key, &message, signature).is_ok();
        let mut signatures = head.signatures.iter();
        signatures.any(|signature| self.0.iter().any(|key| is_by(key, signature)))
    }
}

impl fmt::Debug for WebhookKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WebhookKeys({})", self.0.len())
    }
}

fn key(text: &str) -> Option<hmac::Key> {
    let bytes = text.strip_prefix(SECRET)?.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(bytes).ok()?;
    (bytes.len() >= LEAST_SECRET).then(|| hmac::Key::new(HMAC_SHA256, &bytes))
}

/// The headers that sign a webhook. Nothing in them is proven before [`WebhookKeys::have_signed`].
#[derive(Debug)]
pub struct WebhookHead<'head> {
    /// `webhook-id`. The provider repeats a webhook under the same id.
    pub id: &'head str,
    timestamp: &'head str,
    signatures: Vec<Vec<u8>>,
}

impl<'head> WebhookHead<'head> {
    /// The name of the header with the id.
    pub const ID: &'static str = "webhook-id";
    /// The name of the header with the time at which the webhook was sent, in seconds since the Unix epoch.
    pub const TIMESTAMP: &'static str = "webhook-timestamp";
    /// The name of the header with the signatures.
    pub const SIGNATURE: &'static str = "webhook-signature";

    /// Reads the three headers. The error names one that cannot be right at `now`.
    pub fn read(
        (id, timestamp, signature): (&'head str, &'head str, &str),
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        let is_plain = id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(Self::ID);
        }
        let is_digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = timestamp.parse().ok().filter(|_| is_digits);
        let is_recent = |seconds| now.as_seconds().abs_diff(seconds) <= TOLERANCE.as_secs();
        if !seconds.is_some_and(is_recent) {
            return Err(Self::TIMESTAMP);
        }
        let signatures = signature.split(' ').take(MOST_SIGNATURES);
        let signatures = signatures.filter_map(|one| one.strip_prefix(VERSION));
        let signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
        let signatures: Vec<_> = signatures
            .filter(|bytes| bytes.len() == SIGNATURE_BYTES)
            .collect();
        if signatures.is_empty() {
            return Err(Self::SIGNATURE);
        }
        Ok(Self {
            id,
            timestamp,
            signatures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn is_right(
        keys: &str,
        (id, at, signature): (&str, &str, &str),
        now: u64,
        body: &[u8],
    ) -> Result<bool, &'static str> {
        let keys = WebhookKeys::parse(keys).unwrap();
        let head = WebhookHead::read((id, at, signature), Timestamp::from_seconds(now))?;
        Ok(keys.have_signed(&head, body))
    }

    #[test]
    fn lv23_the_example_of_the_specification_is_accepted_and_any_change_is_not() {
        let right = (ID, AT, SIGNATURE);
        assert_eq!(is_right(KEY, right, 1_614_265_330, BODY), Ok(true));
        for (head, body) in [
            (("msg_other", AT, SIGNATURE), BODY),
            ((ID, "1614265331", SIGNATURE), BODY),
            (right, br#"{"test": 2432232315}"#),
        ] {
            assert_eq!(is_right(KEY, head, 1_614_265_330, body), Ok(false));
        }
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(is_right(other, right, 1_614_265_330, BODY), Ok(false));
    }

    #[test]
    fn lv23_one_right_signature_of_several_and_one_right_secret_of_several_are_enough() {
        let wrong = format!("v1,{}", STANDARD.encode([0; SIGNATURE_BYTES]));
        let several = format!("v2,x {wrong} {SIGNATURE}");
        let keys = format!("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n{KEY}");
        assert_eq!(
            is_right(&keys, (ID, AT, &several), 1_614_265_330, BODY),
            Ok(true)
        );
        // Somebody who sends many signatures does not get many tries.
        let many = format!("{} {SIGNATURE}", vec![wrong; MOST_SIGNATURES].join(" "));
        assert_eq!(
            is_right(&keys, (ID, AT, &many), 1_614_265_330, BODY),
            Ok(false)
        );
    }

    #[test]
    fn lv23_headers_that_cannot_be_right_are_refused_before_anything_is_reckoned() {
        let read = |id, at, signature, now| is_right(KEY, (id, at, signature), now, BODY);
        for now in [1_614_265_330 - 300, 1_614_265_330 + 300] {
            assert_eq!(read(ID, AT, SIGNATURE, now), Ok(true));
        }
        for now in [1_614_265_330 - 301, 1_614_265_330 + 301] {
            assert_eq!(read(ID, AT, SIGNATURE, now), Err(WebhookHead::TIMESTAMP));
        }
        let long = "a".repeat(LONGEST_ID + 1);
        for id in ["", "a b", &long] {
            assert_eq!(read(id, AT, SIGNATURE, 1_614_265_330), Err(WebhookHead::ID));
        }
        for at in ["", "+1614265330", "1614265330.0", "99999999999999999999"] {
            let read = read(ID, at, SIGNATURE, 1_614_265_330);
            assert_eq!(read, Err(WebhookHead::TIMESTAMP), "{at}");
        }
        let other_version = SIGNATURE.replace("v1", "v2");
        for signature in ["", "v1,", "v1,AAAA", &other_version] {
            let read = read(ID, AT, signature, 1_614_265_330);
            assert_eq!(read, Err(WebhookHead::SIGNATURE), "{signature}");
        }
    }

    #[test]
    fn lv23_a_secret_is_whsec_and_base64_of_16_bytes_at_least() {
        for wrong in [
            "",
            " ",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_!",
            "whsec_AAAA",
        ] {
            assert!(WebhookKeys::parse(wrong).is_none(), "{wrong}");
        }
        let padded = "whsec_AAAAAAAAAAAAAAAAAAAAAA==";
        assert!(WebhookKeys::parse(padded).is_some());
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let of = |text: &str| WebhookKeys::parse(text).unwrap().fingerprints().collect();
        let (one, both): (Vec<_>, Vec<_>) = (of(KEY), of(&format!("{KEY} {other}")));
        assert_eq!(one, both[..1]);
        assert_ne!(both[0], both[1]);
        let shown = format!("{:?}", WebhookKeys::parse(KEY).unwrap());
        assert_eq!(shown, "WebhookKeys(1)");
    }
}

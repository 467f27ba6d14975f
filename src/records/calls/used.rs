//! The sums of use of a call, as columns of its entry, and the rows of single uses.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::domain::{CallUse, EntryId, Money, Tokens, Usage, Used};

/// The columns of [`UseRow`].
pub(super) const USE: &str =
    "day text, entry text, id text, at bigint, mark text, model text, {used # bigint}";

/// The sums of use. An entry of another kind has `NULL` in all these columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(in crate::records) struct UsedRow {
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) turns: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) seconds: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) fresh_text: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) fresh_audio: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) fresh_image: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) cached_text: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) cached_audio: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) cached_image: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) output_text: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) output_audio: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) transcribed_ms: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) nanodollars: u64,
    #[serde(deserialize_with = "or_zero")]
    pub(in crate::records) estimated_nanodollars: u64,
}

fn or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl UsedRow {
    pub(in crate::records) fn new(used: &Used) -> Self {
        let Usage {
            fresh,
            cached,
            output,
            transcribed,
        } = used.usage;
        Self {
            turns: used.turns,
            seconds: used.seconds,
            fresh_text: fresh.text,
            fresh_audio: fresh.audio,
            fresh_image: fresh.image,
            cached_text: cached.text,
            cached_audio: cached.audio,
            cached_image: cached.image,
            output_text: output.text,
            output_audio: output.audio,
            transcribed_ms: u64::try_from(transcribed.as_millis()).unwrap_or(u64::MAX),
            nanodollars: used.cost.as_count(),
            estimated_nanodollars: used.estimated.as_count(),
        }
    }

    pub(in crate::records) fn read(self) -> Used {
        Used {
            turns: self.turns,
            seconds: self.seconds,
            usage: Usage {
                fresh: Tokens {
                    text: self.fresh_text,
                    audio: self.fresh_audio,
                    image: self.fresh_image,
                },
                cached: Tokens {
                    text: self.cached_text,
                    audio: self.cached_audio,
                    image: self.cached_image,
                },
                output: Tokens {
                    text: self.output_text,
                    audio: self.output_audio,
                    image: 0,
                },
                transcribed: Duration::from_millis(self.transcribed_ms),
            },
            cost: Money::from_count(self.nanodollars),
            estimated: Money::from_count(self.estimated_nanodollars),
        }
    }
}

/// The use by one response or one transcription, as it is stored.
#[derive(Serialize)]
pub(super) struct UseRow<'a> {
    /// The day of the entry.
    day: String,
    entry: String,
    id: &'a str,
    /// In milliseconds since the Unix epoch.
    at: u64,
    mark: &'static str,
    model: &'a str,
    #[serde(flatten)]
    used: UsedRow,
}

impl<'a> UseRow<'a> {
    /// Returns the use of a call that began on `day`.
    pub(super) fn new((entry, day): (EntryId, String), more: &'a CallUse, now: Timestamp) -> Self {
        Self {
            day,
            entry: entry.to_string(),
            id: &more.id,
            at: now.as_millis(),
            mark: more.mark.as_str(),
            model: &more.model,
            used: UsedRow::new(&Used::default().plus(more)),
        }
    }
}

/// Names the use by one response or one transcription.
#[derive(Deserialize, Serialize)]
pub(super) struct UseKeyRow {
    pub(super) entry: String,
    pub(super) id: Box<str>,
}

//! `[transcription]`: which models transcribe recordings, and within which bounds.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::settings::Settings;
use crate::domain::written::{lasting, list, whole};
use crate::provider::known_transcription_model;

const MODELS: &str = "transcription.models";

/// Which models transcribe recordings, and within which bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranscriptionSettings {
    /// The models that callers may name; the first one is for those who name none. Without models there is no transcription.
    #[serde(deserialize_with = "models")]
    pub models: Vec<Box<str>>,
    /// Longest time in which a recording has to arrive.
    #[serde(deserialize_with = "lasting::<1_000, 600_000, _>")]
    pub upload_timeout: Duration,
    /// Longest time from the first byte of a recording to the last byte of its transcript.
    #[serde(deserialize_with = "lasting::<1_000, 1_800_000, _>")]
    pub timeout: Duration,
    /// The most transcriptions at a time.
    #[serde(deserialize_with = "whole::<1, 10_000, _, _>")]
    pub max_in_flight: usize,
}

fn models<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Box<str>>, D::Error> {
    let mut models = list(from, |name| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        let fits = name.len() <= 128 && name.bytes().all(is_plain);
        fits.then(|| Box::<str>::from(name))
            .ok_or("must be the name of a model")
    })?;
    // One empty text is an empty list.
    models.retain(|name| !name.is_empty());
    Ok(models)
}

impl TranscriptionSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let read: Self = settings.section("transcription")?;
        settings.require(
            &["transcription.upload_timeout", "transcription.timeout"],
            read.upload_timeout <= read.timeout,
            "must not be longer than transcription.timeout",
        );
        for name in &read.models {
            if !known_transcription_model(name) {
                let message = format_args!("names {name:?}, which is no known transcription model");
                settings.warn(MODELS, message);
            }
        }
        Some(read)
    }

    /// True when recordings are transcribed.
    pub const fn is_on(&self) -> bool {
        !self.models.is_empty()
    }
}

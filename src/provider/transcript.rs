//! Knows the provider's transcriptions: which parts a request may have, and what an answer says of its use.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{UsageReport, object};

/// Most bytes of an answer that are kept in order to read its figures. Of a longer one, the use is estimated.
const MOST_KEPT: usize = 1024 * 1024;
/// Bytes of a text that are kept: the last times of subtitles are in them.
const TEXT_TAIL: usize = 16 * 1024;

/// Longest tag of a language (BCP 47), in bytes.
const LONGEST_LANGUAGE: usize = 35;

/// The words of `response_format`.
const RESPONSE_FORMATS: [&str; 6] = [
    "json",
    "text",
    "srt",
    "verbose_json",
    "vtt",
    "diarized_json",
];
/// Parts whose value is checked by the provider alone. Each says something about this transcription only.
const FREE_PARTS: [&str; 6] = [
    "languages[]",
    "prompt",
    "keywords[]",
    "include[]",
    "timestamp_granularities[]",
    "chunking_strategy",
];
/// The members of `chunking_strategy`, as SDKs write an object into a form.
const CHUNKING: [&str; 4] = [
    "chunking_strategy[type]",
    "chunking_strategy[threshold]",
    "chunking_strategy[prefix_padding_ms]",
    "chunking_strategy[silence_duration_ms]",
];

/// Returns the name of a part of a request with this value, as it is sent on. `None` for a part that nobody may send, and
/// for a value that the provider would refuse. `file` is no such part.
pub fn transcription_part(name: &str, value: &str) -> Option<&'static str> {
    let known = match name {
        "model" => return Some("model"),
        "response_format" => RESPONSE_FORMATS
            .contains(&value)
            .then_some("response_format"),
        "language" => {
            let is_tag = value
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
            (is_tag && value.len() <= LONGEST_LANGUAGE).then_some("language")
        }
        "temperature" => {
            let number = value.parse::<f64>().ok();
            let fits = number.is_some_and(|number| (0.0..=1.0).contains(&number));
            fits.then_some("temperature")
        }
        "stream" => ["true", "false"].contains(&value).then_some("stream"),
        _ => FREE_PARTS
            .iter()
            .chain(&CHUNKING)
            .find(|known| **known == name)
            .copied(),
    };
    // The provider refuses empty values of most parts.
    known.filter(|_| !value.is_empty() || name == "prompt")
}

/// What an answer said.
#[derive(Debug)]
pub struct Heard {
    /// The use.
    pub usage: UsageReport,
    /// The length of the recording.
    pub length: Option<Duration>,
    /// The bytes of the transcript.
    pub letters: u64,
}

/// An answer as it passes by. Keeps no more than it takes to read the figures.
#[derive(Debug)]
pub struct Transcript {
    form: Form,
    /// The bytes that are not read yet: a line of events, or the body.
    kept: Vec<u8>,
    /// True while the rest of something too long passes by.
    is_too_long: bool,
    /// The data of the event that has begun.
    event: Vec<u8>,
    heard: Heard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Events,
    Json,
    Text,
}

/// An answer, or one of its events.
#[derive(Deserialize)]
struct Said<'json> {
    #[serde(borrow)]
    delta: Option<Cow<'json, str>>,
    #[serde(borrow)]
    text: Option<Cow<'json, str>>,
    #[serde(borrow)]
    usage: Option<&'json RawValue>,
    duration: Option<Value>,
}

impl Transcript {
    /// Returns an answer of this media type of which nothing has passed yet.
    pub fn of(media_type: &str) -> Self {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let form = match essence {
            "text/event-stream" => Form::Events,
            "application/json" => Form::Json,
            _ => Form::Text,
        };
        Self {
            form,
            kept: Vec::new(),
            is_too_long: false,
            event: Vec::new(),
            heard: Heard {
                usage: UsageReport::Missing,
                length: None,
                letters: 0,
            },
        }
    }

    /// Takes the next bytes in.
    pub fn hears(&mut self, bytes: &[u8]) {
        match self.form {
            Form::Events => {
                let mut lines = bytes.split(|byte| *byte == b'\n');
                self.keep(lines.next().unwrap_or_default());
                for rest in lines {
                    self.line();
                    self.keep(rest);
                }
            }
            Form::Json => self.keep(bytes),
            Form::Text => {
                self.heard.letters += bytes.len() as u64;
                self.kept.extend_from_slice(bytes);
                let surplus = self.kept.len().saturating_sub(TEXT_TAIL);
                self.kept.drain(..surplus);
            }
        }
    }

    /// Returns what was said, in an answer that is over or was cut here.
    pub fn ends(mut self) -> Heard {
        match self.form {
            Form::Events => {
                self.line();
                self.dispatch();
            }
            Form::Json => self.read_kept(),
            Form::Text => self.heard.length = last_time(&self.kept),
        }
        self.heard
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.kept.len() + self.event.len() + bytes.len() > MOST_KEPT {
            self.is_too_long = true;
        }
        if !self.is_too_long {
            self.kept.extend_from_slice(bytes);
        }
    }

    /// Takes a whole line of events: a part of the data, or the end of an event.
    fn line(&mut self) {
        let line = std::mem::take(&mut self.kept);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            self.dispatch();
        } else if let Some(data) = line.strip_prefix(b"data:") {
            self.event
                .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
    }

    fn dispatch(&mut self) {
        self.kept = std::mem::take(&mut self.event);
        self.read_kept();
    }

    /// Reads the document that was kept, unless its end is missing.
    fn read_kept(&mut self) {
        let document = std::mem::take(&mut self.kept);
        let is_whole = !std::mem::take(&mut self.is_too_long);
        let text = std::str::from_utf8(&document).ok().filter(|_| is_whole);
        let Some(said) = text.and_then(object::<Said<'_>>) else {
            return;
        };
        match UsageReport::read(said.usage) {
            UsageReport::Missing => {}
            read => self.heard.usage = read,
        }
        let seconds = said.duration.and_then(|given| match given {
            Value::String(text) => text.parse().ok(),
            given => given.as_f64(),
        });
        let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        self.heard.length = length.or(self.heard.length);
        let delta = said.delta.map_or(0, |text| text.len() as u64);
        let whole = said.text.map_or(0, |text| text.len() as u64);
        self.heard.letters = (self.heard.letters + delta).max(whole);
    }
}

/// Returns the last time of subtitles: `00:01:02,500 --> 00:01:04,000` in SRT, `01:02.500 --> 01:04.000` in VTT.
fn last_time(text: &[u8]) -> Option<Duration> {
    let text = String::from_utf8_lossy(text);
    let (_, end) = text.rsplit_once("--> ")?;
    let end = end.split_whitespace().next()?.replace(',', ".");
    let mut parts = end.rsplit(':');
    let mut seconds: f64 = parts.next()?.parse().ok()?;
    for (part, unit) in parts.zip([60.0, 3600.0]) {
        seconds += f64::from(part.parse::<u16>().ok()?) * unit;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hel\"}\n\n\
        data: {\"type\":\"transcript.text.delta\",\"delta\":\"lo\"}\n\n\
        data: {\"type\":\"transcript.text.done\",\"text\":\"Hello\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\
        \"output_tokens\":4,\"total_tokens\":18,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":14}}}\n\n";

    fn heard(media_type: &str, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Heard {
        let mut transcript = Transcript::of(media_type);
        for part in parts {
            transcript.hears(part.as_ref());
        }
        transcript.ends()
    }

    fn input(heard: &Heard) -> Option<u64> {
        match &heard.usage {
            UsageReport::Figures(usage) => usage.input,
            UsageReport::Missing | UsageReport::Unreadable => None,
        }
    }

    #[test]
    fn tr6_events_are_read_however_they_are_cut_with_lf_and_crlf_and_with_or_without_done() {
        for stream in [
            STREAM.to_owned(),
            STREAM.replace('\n', "\r\n"),
            format!("{STREAM}data: [DONE]\n\n"),
            format!(": comment\nevent: x\n{STREAM}"),
            STREAM.trim_end().to_owned(),
            STREAM.replace(",\"usage\"", "\ndata: ,\"usage\""),
        ] {
            for size in [1, 2, 3, 7, 64, 10_000] {
                let heard = heard(
                    "text/event-stream; charset=utf-8",
                    stream.as_bytes().chunks(size),
                );
                assert_eq!(
                    (input(&heard), heard.letters),
                    (Some(14), 5),
                    "{size} {stream}"
                );
            }
        }
    }

    #[test]
    fn tr6_a_stream_without_its_end_says_how_much_was_written_and_no_figures() {
        let (begin, _) = STREAM
            .split_once("data: {\"type\":\"transcript.text.done")
            .unwrap();
        let heard = heard("text/event-stream", [begin]);
        assert_eq!((input(&heard), heard.letters), (None, 5));
    }

    #[test]
    fn an_event_that_is_too_long_is_passed_over_and_the_next_one_is_read() {
        let long = format!("data: {{\"delta\":\"{}\"}}\n\n", "a".repeat(MOST_KEPT));
        let found = heard("text/event-stream", [&long, STREAM]);
        assert_eq!((input(&found), found.letters), (Some(14), 5));
        let found = heard(
            "application/json",
            [format!("{{\"text\":\"{}\"}}", "a".repeat(MOST_KEPT))],
        );
        assert_eq!(input(&found), None);
    }

    #[test]
    fn a_document_has_figures_or_a_length_and_subtitles_have_times() {
        let found = heard(
            "application/json",
            [r#"{"text":"a","usage":{"type":"duration","seconds":3}}"#],
        );
        assert!(matches!(found.usage, UsageReport::Figures(usage) if usage.seconds == Some(3.0)));
        for (media_type, text, millis) in [
            (
                "application/json",
                r#"{"text":"a","duration":2.5}"#,
                Some(2_500),
            ),
            (
                "application/json",
                r#"{"text":"a","duration":"2.5"}"#,
                Some(2_500),
            ),
            (
                "text/plain",
                "1\n00:00:00,000 --> 00:01:02,500\nHello\n",
                Some(62_500),
            ),
            (
                "text/vtt",
                "WEBVTT\n\n00:00.000 --> 01:02.500 align:start\nHello\n",
                Some(62_500),
            ),
            ("text/plain", "Hello --> there", None),
            ("text/plain", "Hello", None),
        ] {
            let found = heard(media_type, [text]).length;
            assert_eq!(found.map(|length| length.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn a_part_is_passed_on_only_when_it_is_known_and_may_be_right() {
        for (name, value, is_passed) in [
            ("model", "whisper-1", true),
            ("stream", "true", true),
            ("stream", "yes", false),
            ("temperature", "0.5", true),
            ("temperature", "2", false),
            ("temperature", "NaN", false),
            ("response_format", "vtt", true),
            ("response_format", "html", false),
            ("chunking_strategy[type]", "server_vad", true),
            ("include[]", "logprobs", true),
            ("language", "", false),
            ("language", "pt-BR", true),
            ("language", "<es>", false),
            ("prompt", "", true),
            ("file", "x", false),
            ("user", "x", false),
            ("name\"; filename=\"x", "x", false),
        ] {
            let passed = transcription_part(name, value);
            assert_eq!(passed, is_passed.then_some(name), "{name} {value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_answer_is_too_odd_to_be_read(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            media_type in prop_oneof![Just("text/event-stream"), Just("application/json"), Just("text/plain")],
        ) {
            let found = heard(media_type, parts);
            prop_assert!(found.length.is_none_or(|length| length < Duration::MAX));
        }
    }
}

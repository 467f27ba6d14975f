//! Recordings that are transcribed: their formats, how long they are, and what their transcription uses.

use std::time::Duration;

use super::{Card, Usage};

/// Most bytes of a recording. The provider takes no more.
pub const LARGEST_RECORDING: u64 = 25 * 1024 * 1024;
/// Longest recording that models billed by the token take: `gpt-4o-transcribe` and its kin refuse longer ones.
const LONGEST: Duration = Duration::from_secs(1400);
/// Fewest bytes of a second for which time and money are held, before anything is known: 8 kbit/s. Codecs for speech need as
/// much; silence may take less.
const LEAST_RATE: u64 = 1_000;
/// Bytes of a second that are counted where nothing says how many: 32 kbit/s, the least that recorders of browsers use.
const USUAL_RATE: u32 = 4_000;
/// Most text tokens of the transcript of one second.
const TOKENS_PER_SECOND: u64 = 10;
/// Bytes of text for each token, on average.
const BYTES_PER_TOKEN: u64 = 4;
/// The head of a WAV file up to its bits for each sample.
const WAV_HEAD: usize = 36;
/// The formats of WAV files whose samples all have the same size: integers, floating point, and either with more channels.
const EVEN_FORMATS: [u16; 3] = [1, 3, 0xFFFE];

/// The file names' endings that the provider reads the format from, each with its media types. The first type is sent on.
const FORMATS: [(&str, &[&str]); 10] = [
    ("flac", &["audio/flac", "audio/x-flac"]),
    ("m4a", &["audio/x-m4a", "audio/m4a"]),
    ("mp3", &["audio/mpeg", "audio/mp3"]),
    ("mp4", &["audio/mp4", "video/mp4"]),
    ("mpeg", &["video/mpeg"]),
    ("mpga", &["audio/mpga"]),
    ("oga", &["audio/oga"]),
    (
        "ogg",
        &["audio/ogg", "audio/opus", "video/ogg", "application/ogg"],
    ),
    (
        "wav",
        &["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"],
    ),
    ("webm", &["audio/webm", "video/webm"]),
];

/// The format of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The ending of a file name.
    pub ending: &'static str,
    /// The media type.
    pub media_type: &'static str,
}

impl Format {
    /// Returns the format of a file of this name, or else of this media type.
    pub fn of(name: Option<&str>, media_type: Option<&str>) -> Option<Self> {
        let ending = name.and_then(|name| name.rsplit_once('.'));
        let by_name = ending
            .and_then(|(_, ending)| Self::find(|known, _| known.eq_ignore_ascii_case(ending)));
        by_name.or_else(|| {
            let essence = media_type?.split(';').next()?.trim();
            Self::find(|_, types| {
                types
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(essence))
            })
        })
    }

    fn find(is_it: impl Fn(&str, &[&str]) -> bool) -> Option<Self> {
        let mut formats = FORMATS.iter();
        let (ending, types) = formats.find(|(ending, types)| is_it(ending, types))?;
        Some(Self {
            ending,
            media_type: types.first()?,
        })
    }
}

/// What is known of a recording after its bytes have passed.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    head: Vec<u8>,
    bytes: u64,
}

impl Recording {
    /// Takes note of the next bytes.
    pub fn takes(&mut self, bytes: &[u8]) {
        let missing = WAV_HEAD - self.head.len();
        self.head
            .extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.bytes += bytes.len() as u64;
    }

    /// Returns the number of bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the length: exact for a WAV file, and an estimate from the bytes for others.
    pub fn length(&self) -> Duration {
        self.exact_length()
            .unwrap_or_else(|| self.at(USUAL_RATE.into()))
    }

    /// Returns the length of a WAV file.
    pub fn exact_length(&self) -> Option<Duration> {
        self.wav_rate().map(|rate| self.at(rate))
    }

    /// Returns the length at this number of bytes for each second.
    fn at(&self, rate: u64) -> Duration {
        Duration::from_millis(self.bytes.saturating_mul(1000) / rate)
    }

    /// Returns the bytes of a second, from the head of a WAV file. What decoders ignore in it says nothing, unless it agrees
    /// with what they read.
    fn wav_rate(&self) -> Option<u64> {
        let is_wav = self.head.starts_with(b"RIFF") && self.head.get(8..16)? == b"WAVEfmt ";
        let [format, channels, bits] = [20, 22, 34].map(|at| self.word(at));
        let [samples, said] = [24, 28].map(|at| {
            let high = self.word(at + 2)?;
            Some(u64::from(high) << 16 | u64::from(self.word(at)?))
        });
        let frame = u64::from(channels?) * u64::from(bits?.div_ceil(8));
        let rate = samples? * frame;
        let is_read = is_wav && EVEN_FORMATS.contains(&format?) && said? == rate;
        (is_read && (1_000..=10_000_000).contains(&rate)).then_some(rate)
    }

    /// Returns two bytes of the head as a number.
    fn word(&self, at: usize) -> Option<u16> {
        let bytes = self.head.get(at..at + 2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Returns the length that is held for a recording of this many bytes, or of an unknown number. `is_bounded` says that the
/// models refuse recordings that are too long.
pub fn held_length(bytes: Option<u64>, is_bounded: bool) -> Duration {
    let seconds = bytes.unwrap_or(LARGEST_RECORDING).div_ceil(LEAST_RATE);
    let length = Duration::from_secs(seconds.max(1));
    if is_bounded {
        length.min(LONGEST)
    } else {
        length
    }
}

impl Usage {
    /// Returns an estimate of what a transcription uses, in the kinds that `card` has prices for: audio of this length, and
    /// a transcript of so many bytes, or of the most that can be said in that time.
    pub fn of_recording(card: &Card, length: Duration, transcript: Option<u64>) -> Self {
        if card.minute.is_some() {
            return Self {
                transcribed: length,
                ..Self::default()
            };
        }
        let most = || length.as_secs().saturating_mul(TOKENS_PER_SECOND);
        let tokens = transcript.map(|bytes| bytes.div_ceil(BYTES_PER_TOKEN));
        let mut usage = Self::heard(length);
        usage.output.text = tokens.unwrap_or_else(most);
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::super::Money;
    use super::*;

    #[test]
    fn a_format_is_known_by_the_name_or_else_by_the_type() {
        let ending = |name, kind| Format::of(name, kind).map(|format| format.ending);
        for (name, kind, found) in [
            (Some("a.b.MP3"), None, Some("mp3")),
            (Some("a.mp3"), Some("audio/webm"), Some("mp3")),
            (Some("blob"), Some("audio/webm;codecs=opus"), Some("webm")),
            (None, Some("Audio/OGG"), Some("ogg")),
            (Some("a.txt"), Some("text/plain"), None),
            (Some("mp3"), None, None),
            (None, None, None),
        ] {
            assert_eq!(ending(name, kind), found, "{name:?} {kind:?}");
        }
    }

    /// Three seconds of 16 kHz, 16 bit, one channel, whose head says that a second has so many bytes.
    fn wav(said: u32) -> Vec<u8> {
        let mut wav = b"RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        wav.extend(16_000_u32.to_le_bytes());
        wav.extend(said.to_le_bytes());
        wav.extend([2, 0, 16, 0]);
        wav.resize(96_000, 0);
        wav
    }

    #[test]
    fn a_wav_file_whose_head_contradicts_itself_counts_no_less_than_it_lasts() {
        for said in [0, 31_999, 1_000_000, u32::MAX] {
            let mut recording = Recording::default();
            recording.takes(&wav(said));
            assert_eq!(recording.exact_length(), None, "{said}");
            assert_eq!(recording.length(), Duration::from_secs(24), "{said}");
        }
    }

    #[test]
    fn the_length_of_a_wav_file_is_exact_however_it_is_cut_and_of_others_estimated() {
        let wav = wav(32_000);
        for size in [1, 7, 32, 50_000] {
            let mut recording = Recording::default();
            wav.chunks(size).for_each(|chunk| recording.takes(chunk));
            assert_eq!(recording.length(), Duration::from_secs(3), "{size}");
        }
        let mut other = Recording::default();
        other.takes(&vec![0; 40_000]);
        assert_eq!(other.length(), Duration::from_secs(10));
    }

    #[test]
    fn what_is_held_for_grows_with_the_bytes_up_to_the_longest_recording() {
        let seconds = |bytes| held_length(bytes, true).as_secs();
        assert_eq!(
            [
                seconds(None),
                seconds(Some(0)),
                seconds(Some(20_001)),
                seconds(Some(LARGEST_RECORDING))
            ],
            [1400, 1, 21, 1400]
        );
        for bytes in [None, Some(LARGEST_RECORDING)] {
            assert_eq!(held_length(bytes, false).as_secs(), 26_215, "no bound");
        }
    }

    #[test]
    fn an_estimate_is_of_the_kind_that_has_a_price() {
        let length = Duration::from_secs(20);
        let minute = Card {
            minute: Some(Money::from_nanos(1)),
            ..Card::default()
        };
        let usage = Usage::of_recording(&minute, length, Some(80));
        assert_eq!((usage.transcribed, usage.tokens()), (length, 0));
        let usage = Usage::of_recording(&Card::default(), length, Some(81));
        assert_eq!((usage.fresh.audio, usage.output.text), (200, 21));
        let most = Usage::of_recording(&Card::default(), length, None);
        assert_eq!(most.output.text, 200);
    }
}

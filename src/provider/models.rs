//! Lists the provider's models.

/// Realtime models that exist, the oldest last. `gpt-realtime` and `gpt-realtime-mini` end on 2027-01-20.
pub const KNOWN_MODELS: &[&str] = &[
    "gpt-realtime-2.1",
    "gpt-realtime-2.1-mini",
    "gpt-realtime-2",
    "gpt-realtime-1.5",
    "gpt-realtime",
    "gpt-realtime-2025-08-28",
    "gpt-realtime-mini",
    "gpt-realtime-mini-2025-12-15",
    "gpt-audio-1.5",
    "gpt-audio-mini",
];

/// Models that were shut down, although their names look like snapshots of existing ones.
const GONE: &[&str] = &["gpt-realtime-mini-2025-10-06"];

/// Transcription models.
const TRANSCRIPTION: &[&str] = &[
    "whisper-1",
    "gpt-transcribe",
    "gpt-live-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-realtime-whisper",
];

/// Returns true for a model that can open a session, and for dated snapshots of one.
pub fn known_model(name: &str) -> bool {
    !GONE.contains(&name) && KNOWN_MODELS.contains(&undated(name))
}

/// Returns true for a model that can transcribe a session's input.
pub fn known_transcription_model(name: &str) -> bool {
    TRANSCRIPTION.contains(&undated(name))
}

/// Returns the name without the date at its end: `gpt-realtime-2026-01-31` is `gpt-realtime`.
pub(super) fn undated(name: &str) -> &str {
    const DATE: &[u8] = b"-0000-00-00";
    let Some((base, date)) = name
        .len()
        .checked_sub(DATE.len())
        .and_then(|at| name.split_at_checked(at))
    else {
        return name;
    };
    let is_date = date.bytes().zip(DATE).all(|(given, like)| match like {
        b'0' => given.is_ascii_digit(),
        dash => given == *dash,
    });
    if is_date { base } else { name }
}

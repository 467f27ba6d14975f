//! Lists the provider's models.

/// Realtime models that exist, the oldest last.
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

/// Models of GPT-Live, the newest first. They open sessions at `/v1/live/sessions` only.
pub const LIVE_MODELS: &[&str] = &["gpt-live-1.1", "gpt-live-1"];

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

/// The announced end of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// The model, without the date of a snapshot.
    pub model: &'static str,
    /// The day (UTC) from which the provider refuses it: `2027-01-20`.
    pub day: &'static str,
    /// What the provider recommends instead.
    pub instead: &'static str,
}

const RECORDERS: &str = "gpt-transcribe or gpt-live-transcribe";

/// Models with an announced end, from <https://developers.openai.com/api/docs/deprecations> as of 2026-12-01. The provider's
/// list of models has the same days as `shutdown_date`.
pub const SHUTDOWNS: &[Shutdown] = &[
    shutdown("gpt-realtime", "2027-01-20", "gpt-realtime-2.1"),
    shutdown("gpt-realtime-mini", "2027-01-20", "gpt-realtime-2.1-mini"),
    shutdown("whisper-1", "2027-02-26", RECORDERS),
    shutdown("gpt-4o-transcribe", "2027-02-26", RECORDERS),
    shutdown("gpt-4o-mini-transcribe", "2027-02-26", RECORDERS),
    shutdown("gpt-4o-transcribe-diarize", "2027-02-26", RECORDERS),
];

const fn shutdown(model: &'static str, day: &'static str, instead: &'static str) -> Shutdown {
    Shutdown {
        model,
        day,
        instead,
    }
}

/// Returns the announced end of a model, or of the model whose dated snapshot it is.
pub fn announced_shutdown(name: &str) -> Option<&'static Shutdown> {
    let mut all = SHUTDOWNS.iter();
    all.find(|shutdown| shutdown.model == undated(name))
}

/// Returns true for a model that can open a session, and for dated snapshots of one.
pub fn known_model(name: &str) -> bool {
    !GONE.contains(&name) && KNOWN_MODELS.contains(&undated(name))
}

/// Returns true for a model that can open a GPT-Live session, and for dated snapshots of one.
pub fn known_live_model(name: &str) -> bool {
    LIVE_MODELS.contains(&undated(name))
}

/// Returns true for a model that can transcribe a session's input.
pub fn known_transcription_model(name: &str) -> bool {
    TRANSCRIPTION.contains(&undated(name))
}

/// Returns the name without the date at its end: `gpt-realtime-2026-01-31` is `gpt-realtime`.
pub fn undated(name: &str) -> &str {
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

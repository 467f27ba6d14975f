//! Knows the provider's Realtime schema: the rules for session objects, events, and the figures of use.

mod dialect;
mod effective;
mod event;
mod lists;
mod live;
mod models;
mod pins;
mod rule;
mod say;
#[cfg(test)]
mod tests;
mod together;
mod transcript;
mod usage;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use dialect::Dialect;
pub use effective::{Backend, EffectiveSession, MostTokens, Pinned};
pub use event::{LONGEST_FRAME, News, OddFrame, ResponseStatus, ServerEvent, UNKNOWN, UsageReport};
pub use lists::EventLists;
pub use live::{Lasted, PageEvents, Work, close, instruct, is_reflected_audio};
pub use models::{
    KNOWN_MODELS, LIVE_MODELS, SHUTDOWNS, Shutdown, announced_shutdown, known_live_model,
    known_model, known_transcription_model, undated,
};
pub use pins::{
    CORRECTION, NotConfirmed, Pins, assertion, contradiction, look, looks_like, own_transcription,
};
use rule::{Check, Path, published};
pub use transcript::{Heard, Transcript, transcription_part};
pub use usage::{InputDetails, Kinds, Usage};

/// A violation of the provider's rules by a session object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct Fault {
    /// Dotted path of the field in the provider's notation: `session.audio.output.voice`, `session.tools[0].name`.
    pub param: String,
    /// The provider's code: `unknown_parameter`, `invalid_value`, `invalid_type`, `missing_required_parameter`, or
    /// one that names the limit, like `integer_below_min_value` and `array_above_max_length`.
    pub code: &'static str,
    /// What is wrong, for a person, in the provider's own words. Quotes at most the beginning of a wrong value.
    pub message: String,
}

/// Code of a [`Fault`] about a model that is not known.
pub const UNKNOWN_MODEL: &str = "unknown_model";

/// Checks a session object against the published rules. Accepts any model name, see [`known_model`].
pub fn check(session: &Value) -> Result<(), Fault> {
    obey("Session", session, true)?;
    together::check(session)
}

/// Checks a session object as [`check`] does, and returns the fields, words and models that are not
/// known instead of refusing them. The provider may have published them after this version. The model tells which rules apply.
pub fn doubts(session: &Value) -> Result<Vec<Fault>, Fault> {
    let model = session["model"].as_str();
    let (mut doubts, is_known) = match Dialect::of_model(model.unwrap_or_default()) {
        Dialect::Realtime => {
            let doubts = obey("Session", session, false)?;
            together::check(session)?;
            (doubts, model.is_none_or(known_model))
        }
        Dialect::Live => {
            let doubts = obey("LiveSession", session, false)?;
            together::check_live(session)?;
            (doubts, model.is_none_or(known_live_model))
        }
    };
    let unknown = model.filter(|_| !is_known);
    doubts.extend(unknown.map(|name| Fault {
        param: "session.model".to_owned(),
        code: UNKNOWN_MODEL,
        message: format!("The model '{}' is not known.", say::shorten(name)),
    }));
    Ok(doubts)
}

/// Checks the whole body of a request for a client secret: `expires_after`, and `session` as [`check`]
/// does.
pub fn check_request(body: &Value) -> Result<(), Fault> {
    obey("Request", body, true)?;
    body.get("session").map_or(Ok(()), together::check)
}

/// Checks the whole body of a request for a GPT-Live session over WebRTC. Accepts any model name.
pub fn check_live_request(body: &Value) -> Result<(), Fault> {
    obey("LiveRequest", body, true)?;
    together::check_live(&body["session"])
}

/// Checks a GPT-Live session as [`check_live_request`] does.
pub fn check_live(session: &Value) -> Result<(), Fault> {
    obey("LiveSession", session, true)?;
    together::check_live(session)
}

/// Checks `value` against a published rule. Returns what is unknown, or, when `is_strict`, fails with it.
fn obey(rule: &str, value: &Value, is_strict: bool) -> Result<Vec<Fault>, Fault> {
    let root = if rule.ends_with("Request") {
        ""
    } else {
        "session"
    };
    let mut check = Check {
        is_strict,
        doubts: Vec::new(),
    };
    check.obey(published(rule), value, &Path::Root(root))?;
    Ok(check.doubts)
}

/// Reads a number of whole seconds, which may be written with a fraction. `None` for anything else.
fn whole_seconds(json: &RawValue) -> Option<u64> {
    let seconds: f64 = serde_json::from_str(json.get()).ok()?;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    Some(time.as_secs())
}

/// Deserializes a JSON object. Serde would take an array for a struct, too.
fn object<'json, T: Deserialize<'json>>(json: &'json str) -> Option<T> {
    let is_object = json.trim_start().starts_with('{');
    is_object.then(|| serde_json::from_str(json).ok()).flatten()
}

//! Owns what a Realtime session object may hold, as the provider published it.

mod models;
mod rule;
mod say;
mod table;
#[cfg(test)]
mod tests;
mod together;

use serde_json::Value;

pub use models::{KNOWN_MODELS, known_model, known_transcription_model};
use rule::{Path, obey};

/// Where a session object breaks the provider's rules, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct Fault {
    /// Dotted path of the field, as the provider writes it: `session.audio.output.voice`, `session.tools[0].name`.
    pub param: String,
    /// The provider's code: `unknown_parameter`, `invalid_value`, `invalid_type`, `missing_required_parameter`, or
    /// one that names the limit, like `integer_below_min_value` and `array_above_max_length`.
    pub code: &'static str,
    /// What is wrong, for a person, in the provider's own words. Quotes at most the beginning of a wrong value.
    pub message: String,
}

/// Checks a session object against the published rules.
///
/// Any model name passes: the operator may use one that was published after this program. See [`known_model`].
pub fn check(session: &Value) -> Result<(), Fault> {
    obey(&table::SESSION, session, &Path::Root("session"))?;
    together::check(session)
}

/// Checks the whole body of a request for a client secret: `expires_after`, and `session` as [`check`] does.
pub fn check_request(body: &Value) -> Result<(), Fault> {
    obey(&table::REQUEST, body, &Path::Root(""))?;
    body.get("session").map_or(Ok(()), together::check)
}

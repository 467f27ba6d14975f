//! Owns what a Realtime session object may hold, as the provider published it.

/// Where a session object breaks the provider's rules, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct Fault {
    /// Dotted path of the field, as the provider writes it: `session.audio.output.voice`.
    pub param: String,
    /// The provider's code: `unknown_parameter`, `invalid_value`, `invalid_type`, `missing_required_parameter`.
    pub code: &'static str,
    /// What is wrong, for a person.
    pub message: String,
}

/// Checks a session object against the published rules.
pub fn check(_session: &serde_json::Value) -> Result<(), Fault> {
    Ok(())
}

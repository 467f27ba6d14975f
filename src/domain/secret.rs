//! Client secrets, which hide themselves.

use secrecy::{ExposeSecret, SecretString};

use crate::clock::{Tick, Timestamp};

/// The short-lived credential that the provider gives for a browser. It may open any number of upstream sessions
/// until it expires.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    value: SecretString,
    /// Expiry on the provider's clock.
    pub expires_at: Timestamp,
    /// Expiry on the monotonic clock of this process.
    pub expires_tick: Tick,
    /// The provider's summary of the session that it opens.
    pub upstream_session: UpstreamSession,
    /// The provider's request id, for its support.
    pub upstream_request: Option<Box<str>>,
}

/// The provider's summary of what a client secret will open. Never instructions or tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamSession {
    /// `sess_…`
    pub id: Option<String>,
    /// True when the session only transcribes, and nobody answers.
    pub is_transcription: bool,
    /// The model's name.
    pub model: Option<String>,
    /// The built-in voice's name, or a custom voice's id.
    pub voice: Option<String>,
}

impl ClientSecret {
    /// Wraps a secret of the provider.
    pub fn new(
        value: SecretString,
        expires_at: Timestamp,
        expires_tick: Tick,
        upstream_session: UpstreamSession,
    ) -> Self {
        Self {
            value,
            expires_at,
            expires_tick,
            upstream_session,
            upstream_request: None,
        }
    }

    /// Returns the secret itself. Called only where the answer to the caller is written.
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// Returns the whole seconds left at `now`, rounded down.
    pub fn seconds_left(&self, now: Tick) -> u64 {
        self.expires_tick.since(now).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_secret_hides_itself() {
        let end = (Timestamp::from_seconds(60), Tick::default());
        let secret =
            ClientSecret::new("ek_canary".into(), end.0, end.1, UpstreamSession::default());
        assert!(!format!("{secret:?}").contains("canary"));
        assert_eq!(secret.expose(), "ek_canary");
    }
}

//! Remembers the client secrets that the simulated provider minted.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::domain::random_bytes;

/// Most secrets that are remembered. The oldest is evicted.
const MAX_SECRETS: usize = 10_000;

/// State of a client secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// Can open a session.
    Live,
    /// Expired.
    Expired,
}

/// A minted client secret.
struct Secret {
    value: String,
    end: Timestamp,
    /// The session that was asked for.
    session: Value,
}

/// The secrets, oldest first.
#[derive(Default)]
pub(super) struct Secrets(VecDeque<Secret>);

impl Secrets {
    /// Mints a secret with 192 random bits for `session` that expires at `end`.
    pub(super) fn mint(&mut self, end: Timestamp, session: Value) -> String {
        if self.0.len() >= MAX_SECRETS {
            self.0.pop_front();
        }
        let value = format!("ek_sim_{}", URL_SAFE_NO_PAD.encode(random_bytes::<24>()));
        self.0.push_back(Secret {
            value: value.clone(),
            end,
            session,
        });
        value
    }

    /// Returns the state of a secret at `now`; `None` for one that is not remembered.
    pub(super) fn state(&self, value: &str, now: Timestamp) -> Option<SecretState> {
        let secret = self.0.iter().find(|known| known.value == value)?;
        let is_live = now < secret.end;
        Some(if is_live {
            SecretState::Live
        } else {
            SecretState::Expired
        })
    }

    /// Returns the session of a live secret.
    pub(super) fn session(&self, value: &str, now: Timestamp) -> Option<Value> {
        let live = |known: &&Secret| known.value == value && now < known.end;
        self.0
            .iter()
            .find(live)
            .map(|secret| secret.session.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_secret_lives_until_its_end() {
        let mut secrets = Secrets::default();
        let value = secrets.mint(at(60), Value::Null);
        assert!(value.starts_with("ek_sim_") && value.len() >= 7 + 22);
        assert_eq!(secrets.state(&value, at(59)), Some(SecretState::Live));
        assert_eq!(secrets.state(&value, at(60)), Some(SecretState::Expired));
        assert_eq!(secrets.state("ek_sim_other", at(0)), None);
    }

    #[test]
    fn the_oldest_secret_is_forgotten_first() {
        let mut secrets = Secrets::default();
        let first = secrets.mint(at(60), Value::Null);
        let second = secrets.mint(at(60), Value::Null);
        for _ in 1..MAX_SECRETS {
            secrets.mint(at(60), Value::Null);
        }
        assert_eq!(secrets.state(&first, at(0)), None);
        assert_eq!(secrets.state(&second, at(0)), Some(SecretState::Live));
        assert_eq!(secrets.0.len(), MAX_SECRETS);
    }
}

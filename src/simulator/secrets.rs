//! Remembers the client secrets that the simulated provider minted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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

/// Secrets by value and by age.
#[derive(Default)]
pub(super) struct Secrets {
    ends: HashMap<Arc<str>, Timestamp>,
    by_age: VecDeque<Arc<str>>,
}

impl Secrets {
    /// Mints a secret with 192 random bits that expires at `end`.
    pub(super) fn mint(&mut self, end: Timestamp) -> Arc<str> {
        if self.by_age.len() >= MAX_SECRETS
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.ends.remove(&oldest);
        }
        let random = URL_SAFE_NO_PAD.encode(random_bytes::<24>());
        let value: Arc<str> = format!("ek_sim_{random}").into();
        self.ends.insert(value.clone(), end);
        self.by_age.push_back(value.clone());
        value
    }

    /// Returns the state of a secret at `now`; `None` for one that is not remembered.
    pub(super) fn state(&self, value: &str, now: Timestamp) -> Option<SecretState> {
        self.ends.get(value).map(|end| {
            if now < *end {
                SecretState::Live
            } else {
                SecretState::Expired
            }
        })
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
        let value = secrets.mint(at(60));
        assert!(value.starts_with("ek_sim_") && value.len() >= 7 + 22);
        assert_eq!(secrets.state(&value, at(59)), Some(SecretState::Live));
        assert_eq!(secrets.state(&value, at(60)), Some(SecretState::Expired));
        assert_eq!(secrets.state("ek_sim_other", at(0)), None);
    }

    #[test]
    fn the_oldest_secret_is_forgotten_first() {
        let mut secrets = Secrets::default();
        let first = secrets.mint(at(60));
        let second = secrets.mint(at(60));
        for _ in 1..MAX_SECRETS {
            secrets.mint(at(60));
        }
        assert_eq!(secrets.state(&first, at(0)), None);
        assert_eq!(secrets.state(&second, at(0)), Some(SecretState::Live));
        assert_eq!(secrets.ends.len(), MAX_SECRETS);
    }
}

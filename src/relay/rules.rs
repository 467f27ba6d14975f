//! Chooses the rules for the events that pass: the policy of a relay, or the lists of an attached program.

use super::listed;
use super::policy::{Policy, Verdict};
use crate::broker::Passes;
use crate::provider::EventLists;

/// The rules that decide which events pass.
pub(super) enum Rules {
    Persona(Policy),
    Listed(EventLists),
}

impl Rules {
    /// Judges one text of the client.
    pub(super) fn judge(&self, text: &str) -> Verdict {
        match self {
            Self::Persona(policy) => policy.judge(text),
            Self::Listed(lists) => listed::judge(lists, text),
        }
    }
}

impl From<Passes> for Rules {
    fn from(passes: Passes) -> Self {
        match passes {
            Passes::Persona {
                is_held,
                most_tokens,
                transcribers,
            } => Self::Persona(Policy {
                is_held,
                most_tokens,
                transcribers,
            }),
            Passes::Listed(lists) => Self::Listed(lists),
        }
    }
}

//! The ways in which a page connects to the provider.

use serde::{Deserialize, Serialize};

/// A way in which a page connects to the provider, with rising control of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectMode {
    /// The page talks to the provider, with a client secret of the provider.
    Direct,
    /// The page sends its media to the provider. This service exchanges offer and answer, and watches the call.
    Call,
    /// The page talks to this service by WebSocket, which talks to the provider.
    Relay,
}

impl ConnectMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Call, Self::Relay];

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// Returns the word for it in settings, answers and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Call => "call",
            Self::Relay => "relay",
        }
    }
}

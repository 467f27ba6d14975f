//! Tells the two dialects apart in which the provider's calls speak.

use super::{OddFrame, ServerEvent, live};

/// How the names of GPT-Live models begin.
const LIVE: &str = "gpt-live-";

/// How a call speaks with the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Realtime API, below `/v1/realtime`.
    Realtime,
    /// GPT-Live, below `/v1/live/sessions`.
    Live,
}

impl Dialect {
    /// Returns the dialect of sessions with this model.
    pub fn of_model(model: &str) -> Self {
        if model.starts_with(LIVE) {
            Self::Live
        } else {
            Self::Realtime
        }
    }

    /// Reads a text frame of the side channel of a call.
    pub fn read(self, frame: &str) -> Result<ServerEvent<'_>, OddFrame> {
        match self {
            Self::Realtime => ServerEvent::read(frame),
            Self::Live => live::read(frame),
        }
    }
}

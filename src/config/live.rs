//! `[live]`: what holds for calls of GPT-Live.

use serde::Deserialize;

use crate::domain::written::whole;

/// What holds for calls of GPT-Live.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveSettings {
    /// Most live calls of one model; 0 for no limit of the broker's.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_sessions: u32,
}

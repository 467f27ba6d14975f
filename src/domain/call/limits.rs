//! Limits of single calls, which a persona or a role may have.

use std::time::Duration;

use serde::Deserialize;

use crate::domain::Money;
use crate::domain::written::{money, some_lasting, some_whole};

/// The provider ends every call after an hour, in milliseconds.
pub const LONGEST_CALL: u64 = 3_600_000;

/// How firmly a call is held to its persona.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Changes of the persona are put back, and many of them end the call.
    Watched,
    /// The page has no data channel, so that it can change nothing.
    Locked,
    /// The page may change everything.
    Free,
}

/// Limits of each call of a persona or of a role. `None` where it has no limit of its own. Of several limits, the smallest
/// holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table with max_duration, idle_timeout, join_timeout, max_turns, max_money or max_parallel_responses"
)]
pub struct CallLimits {
    /// Longest life of a call after its answer.
    #[serde(deserialize_with = "some_lasting::<15_000, LONGEST_CALL, _>")]
    pub max_duration: Option<Duration>,
    /// Longest time without speech from either side.
    #[serde(deserialize_with = "some_lasting::<5_000, LONGEST_CALL, _>")]
    pub idle_timeout: Option<Duration>,
    /// Longest time after the answer without a sign of life from the page.
    #[serde(deserialize_with = "some_lasting::<5_000, 600_000, _>")]
    pub join_timeout: Option<Duration>,
    /// Most answers of the model in one call.
    #[serde(deserialize_with = "some_whole::<1, 1_000_000, _, _>")]
    pub max_turns: Option<u32>,
    /// Most money that one call may cost.
    #[serde(deserialize_with = "money")]
    pub max_money: Option<Money>,
    /// Most answers that the model may work on at a time.
    #[serde(deserialize_with = "some_whole::<1, 100, _, _>")]
    pub max_parallel_responses: Option<usize>,
}

impl CallLimits {
    /// True when they limit time, turns or money, which direct mode does not measure.
    pub const fn are_measured(&self) -> bool {
        self.max_duration.is_some() || self.max_turns.is_some() || self.max_money.is_some()
    }
}

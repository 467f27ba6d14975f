//! `[call]`: the limits of calls, and what is watched while they run.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::settings::Settings;
use crate::domain::Money;
use crate::domain::written::{lasting, optional, whole};

/// The limits of calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallSettings {
    /// Longest life of a call after its answer.
    #[serde(deserialize_with = "lasting::<15_000, LONGEST, _>")]
    pub max_duration: Duration,
    /// Longest time without speech from either side.
    #[serde(deserialize_with = "lasting::<5_000, LONGEST, _>")]
    pub idle_timeout: Duration,
    /// Longest time after the answer in which nothing is heard of the page.
    #[serde(deserialize_with = "lasting::<5_000, 600_000, _>")]
    pub join_timeout: Duration,
    /// How long before its end a call is warned of it.
    #[serde(deserialize_with = "lasting::<0, 600_000, _>")]
    pub warn_before: Duration,
    /// Longest time that a spoken goodbye may take after the limit.
    #[serde(deserialize_with = "lasting::<0, 10_000, _>")]
    pub grace: Duration,
    /// What the model is told before the end.
    pub farewell: Farewell,
    /// Most answers of the model in one call; 0 for no limit.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_turns: u32,
    /// Most money that one call may cost; `None` for no limit.
    #[serde(deserialize_with = "money")]
    pub max_money: Option<Money>,
    /// Most answers that the model may work on at a time.
    #[serde(deserialize_with = "whole::<1, 100, _, _>")]
    pub max_parallel_responses: usize,
    /// Most live calls of one identity.
    #[serde(deserialize_with = "whole::<1, 10_000, _, _>")]
    pub max_live: u32,
    /// Most live calls of callers without identity from one network.
    #[serde(deserialize_with = "whole::<1, 10_000, _, _>")]
    pub max_live_network: u32,
    /// Most live calls of all callers without identity.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_live_anonymous: u32,
    /// Most live calls of everybody.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_live_total: u32,
    /// How firmly a call is held to its persona.
    pub persona: Hold,
    /// True when the addresses of the page's computer are removed from its offer.
    pub strip_candidates: bool,
}

/// What the model is told before a limit ends its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Farewell {
    /// Nothing.
    None,
    /// That little time is left.
    Warn,
    /// To say goodbye.
    Goodbye,
}

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

/// The provider ends a call after an hour, in milliseconds.
const LONGEST: u64 = 3_600_000;

fn money<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Money>, D::Error> {
    let read = |text: &str| {
        let money = Money::parse(text).filter(|money| *money > Money::ZERO);
        money.ok_or("must be an amount of dollars, like \"0.50\"")
    };
    optional(from, read)
}

impl CallSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let call: Self = settings.section("call")?;
        settings.require(
            &["call.warn_before", "call.max_duration"],
            call.warn_before < call.max_duration,
            "must be shorter than call.max_duration",
        );
        settings.require(
            &["call.max_live_anonymous", "call.max_live_total"],
            call.max_live_anonymous <= call.max_live_total,
            "must not be more than call.max_live_total",
        );
        Some(call)
    }
}

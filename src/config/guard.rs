//! `[guard]`: offences and blocks.

use ipnet::IpNet;
use serde::Deserialize;

use super::networks;
use super::settings::Settings;
use crate::domain::written::whole;
use crate::limit::GuardRules;

/// Offences and blocks.
#[derive(Clone, Debug, Deserialize)]
pub struct Guard {
    /// Score and length of blocks.
    #[serde(skip)]
    pub rules: GuardRules,
    /// Networks that are never blocked.
    #[serde(deserialize_with = "networks::read")]
    pub never_block: Vec<IpNet>,
    /// Upper bound on failed verifications of credentials in a second, for each address.
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    pub failed_verifications: u32,
}

impl Guard {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let guard = Self {
            rules: settings.section("guard")?,
            ..settings.section("guard")?
        };
        settings.require(
            &["guard.block", "guard.block_max"],
            guard.rules.block <= guard.rules.block_max,
            "must not be longer than guard.block_max",
        );
        settings.warn_if(
            guard.never_block.iter().any(networks::is_everything),
            "guard.never_block",
            "holds every address of a family: the guard is off for all of them",
        );
        settings.warn_if(
            guard.rules.weights.values().all(|points| points.0 == 0),
            "guard.weights",
            "are all zero: the guard is off",
        );
        Some(guard)
    }
}

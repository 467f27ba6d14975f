//! Reads `[guard]`: when a caller is blocked.

use ipnet::IpNet;
use serde::Deserialize;

use super::networks;
use super::settings::Settings;
use crate::domain::written::whole;
use crate::limit::{GuardRules, Weights};

/// When a caller is blocked.
#[derive(Clone, Debug)]
pub struct Guard {
    /// When offences become a block, and for how long.
    pub rules: GuardRules,
    /// Networks that are never blocked.
    pub never_block: Vec<IpNet>,
    /// Verifications of credentials that may fail in a second, for each address.
    pub failed_verifications: u32,
}

/// The settings of the section that are not rules of blocks.
#[derive(Deserialize)]
struct Beside {
    #[serde(deserialize_with = "networks::read")]
    never_block: Vec<IpNet>,
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    failed_verifications: u32,
}

impl Guard {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let rules: GuardRules = settings.table("guard")?;
        let beside: Beside = settings.table("guard")?;
        settings.require(
            &["guard.block", "guard.block_max"],
            rules.block <= rules.block_max,
            "must not be longer than guard.block_max",
        );
        if beside.never_block.iter().any(networks::is_everything) {
            let message = "holds every address of a family: the guard is off for all of them";
            settings.warn("guard.never_block", message);
        }
        let Weights {
            rate_limited,
            forged_credential,
            malformed,
            wrong_origin,
        } = rules.weights;
        let all = [rate_limited, forged_credential, malformed, wrong_origin];
        if all.iter().all(|&weight| weight <= 0.0) {
            settings.warn("guard.weights", "are all zero: the guard is off");
        }
        Some(Self {
            rules,
            never_block: beside.never_block,
            failed_verifications: beside.failed_verifications,
        })
    }
}

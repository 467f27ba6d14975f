//! Reads the settings of when a caller is blocked.

use std::time::Duration;

use ipnet::IpNet;

use super::networks;
use super::settings::Settings;
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

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const HEAVIEST: f64 = 1000.0;

impl Guard {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let rules = GuardRules {
            threshold: settings.fraction("guard.threshold", 0.1..=HEAVIEST),
            decay: settings.duration("guard.decay", SECOND..=DAY),
            block: settings.duration("guard.block", SECOND..=DAY * 7),
            block_max: settings.duration("guard.block_max", SECOND..=DAY * 7),
            capacity: settings.number("guard.capacity", 1..=16_777_216),
            weights: weights(settings),
        };
        let guard = Self {
            rules,
            never_block: settings.list("guard.never_block", networks::parse),
            failed_verifications: settings.number("guard.failed_verifications", 1..=1_000_000),
        };
        guard.check(settings);
        guard
    }

    fn check(&self, settings: &mut Settings) {
        settings.require(
            &["guard.block", "guard.block_max"],
            self.rules.block <= self.rules.block_max,
            "must not be longer than guard.block_max",
        );
        if self.never_block.iter().any(networks::is_everything) {
            let message = "holds every address of a family: the guard is off for all of them";
            settings.warn("guard.never_block", message);
        }
        let Weights {
            rate_limited,
            forged_credential,
            malformed,
            wrong_origin,
        } = self.rules.weights;
        let all = [rate_limited, forged_credential, malformed, wrong_origin];
        if all.iter().all(|&weight| weight <= 0.0) {
            settings.warn("guard.weights", "are all zero: the guard is off");
        }
    }
}

fn weights(settings: &mut Settings) -> Weights {
    let mut weight = |name| settings.fraction(name, 0.0..=HEAVIEST);
    Weights {
        rate_limited: weight("guard.weights.rate_limited"),
        forged_credential: weight("guard.weights.forged_credential"),
        malformed: weight("guard.weights.malformed"),
        wrong_origin: weight("guard.weights.wrong_origin"),
    }
}

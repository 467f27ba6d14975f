//! Owns the settings of when an address is blocked.

use std::time::Duration;

use ipnet::IpNet;

use super::networks;
use super::settings::Settings;

/// When an address is blocked.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The score at which an address is blocked.
    pub threshold: f64,
    /// The time in which a score decays.
    pub decay: Duration,
    /// The first block; each further one is twice as long.
    pub block: Duration,
    /// The longest block.
    pub block_max: Duration,
    /// Networks that are never blocked.
    pub never_block: Vec<IpNet>,
    /// Most addresses remembered at once.
    pub capacity: usize,
    /// What each offence adds to the score.
    pub weights: Weights,
}

/// What each offence adds to an address's score; zero forgives it.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Refused by the rate limit; counted at most once a second.
    pub rate_limited: f64,
    /// Asked to refresh somebody else's session.
    pub foreign_session: f64,
    /// Showed a credential that only forgers show.
    pub forged_credential: f64,
    /// Sent a body that is not a request.
    pub malformed: f64,
    /// Sent an origin that is not allowed, and no innocent page was behind it.
    pub wrong_origin: f64,
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const HEAVIEST: f64 = 1000.0;

impl Guard {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let guard = Self {
            threshold: settings.fraction("guard.threshold", 0.1..=HEAVIEST),
            decay: settings.duration("guard.decay", SECOND..=DAY),
            block: settings.duration("guard.block", SECOND..=DAY * 7),
            block_max: settings.duration("guard.block_max", SECOND..=DAY * 7),
            never_block: settings.list("guard.never_block", networks::parse),
            capacity: settings.number("guard.capacity", 1..=16_777_216),
            weights: Weights::read(settings),
        };
        guard.check(settings);
        guard
    }

    fn check(&self, settings: &mut Settings) {
        settings.require(
            &["guard.block", "guard.block_max"],
            self.block <= self.block_max,
            "must not be longer than guard.block_max",
        );
        if self.never_block.iter().any(networks::is_everything) {
            let message = "holds every address of a family: the guard is off for all of them";
            settings.warn("guard.never_block", message);
        }
        if self.weights.are_nothing() {
            settings.warn("guard.weights", "are all zero: the guard is off");
        }
    }
}

impl Weights {
    fn read(settings: &mut Settings) -> Self {
        let mut weight = |name| settings.fraction(name, 0.0..=HEAVIEST);
        Self {
            rate_limited: weight("guard.weights.rate_limited"),
            foreign_session: weight("guard.weights.foreign_session"),
            forged_credential: weight("guard.weights.forged_credential"),
            malformed: weight("guard.weights.malformed"),
            wrong_origin: weight("guard.weights.wrong_origin"),
        }
    }

    fn are_nothing(&self) -> bool {
        let all = [
            self.rate_limited,
            self.foreign_session,
            self.forged_credential,
            self.malformed,
            self.wrong_origin,
        ];
        all.iter().all(|&weight| weight <= 0.0)
    }
}

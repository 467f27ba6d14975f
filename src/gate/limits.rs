//! The one table of limits: what each is called, what it counts, whom it applies to.

use std::collections::BTreeMap;

use crate::config;
use crate::domain::Rate;
use crate::limit::Tolerance;

/// One limit. Every rule about a limit is in its [`Row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// New sessions of an address.
    Token,
    /// New sessions of a neighbourhood.
    TokenNetwork,
    /// Refreshes of an address.
    Refresh,
    /// Refreshes of a neighbourhood.
    RefreshNetwork,
    /// New sessions of all verified callers at an address.
    VerifiedToken,
    /// Refreshes of all verified callers at an address.
    VerifiedRefresh,
    /// New sessions of an identity.
    Identity,
    /// Mints of an identity, sessions and refreshes.
    IdentityMints,
    /// Mints of all callers without identity.
    AnonymousMints,
    /// A neighbourhood's share of the mints of all callers without identity.
    AnonymousNetwork,
    /// Mints of everybody in a minute.
    Mints,
    /// The share of `Mints` that callers without identity may take.
    MintsAnonymous,
    /// The share of `Mints` that callers without identity of one neighbourhood may take.
    MintsNetwork,
    /// Mints of everybody in a day.
    MintsDaily,
    /// The share of `MintsDaily` that callers without identity may take.
    MintsDailyAnonymous,
    /// Refused credentials of an address.
    RefusedCredentials,
    /// Transcriptions of an address.
    Transcribe,
    /// Transcriptions of an identity.
    TranscribeIdentity,
}

/// Whose requests share one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All requests of one address: an IPv4 address or an IPv6 /64.
    Address,
    /// All requests of one neighbourhood: a /24 or a /48.
    Neighbourhood,
    /// All requests of one identity.
    Identity,
    /// All requests to which the limit applies.
    Everybody,
}

/// Whom a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// Callers without identity.
    Anonymous,
    /// Callers with a verified identity.
    Verified,
    /// All callers.
    All,
}

/// Which requests a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Requests that open a session.
    Openings,
    /// Requests that refresh a session.
    Refreshes,
    /// Both.
    Mints,
    /// Requests whose credential was refused.
    Refusals,
    /// Requests that transcribe a recording.
    Transcriptions,
}

/// The rules of one limit.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The limit's name where its windows are stored. Unlike the setting, no two limits share it.
    pub slot: &'static str,
    /// The name of the setting, without its section.
    pub setting: &'static str,
    /// Whose requests share one window.
    pub scope: Scope,
    /// Whom the limit applies to.
    pub applies: Applies,
    /// Which requests it counts.
    pub counts: Counts,
}

impl Row {
    /// Returns whether the limit is a budget: used up by mints only, and refused as a quota is.
    pub const fn is_budget(&self) -> bool {
        matches!(self.counts, Counts::Mints) && !matches!(self.scope, Scope::Identity)
    }

    /// Returns whether callers learn in headers how much of the limit is left.
    pub const fn is_told(&self) -> bool {
        !self.is_budget()
    }

    /// Returns whether many refusals are an offence: an address is refused at which nobody is verified.
    pub const fn can_offend(&self) -> bool {
        matches!(self.scope, Scope::Address) && !matches!(self.applies, Applies::Verified)
    }

    /// Returns whether the limit counts requests, not mints: a request that fails through its own
    /// fault uses up a place all the same.
    pub const fn counts_requests(&self) -> bool {
        !self.is_budget() && !matches!(self.scope, Scope::Identity)
    }
}

impl Limit {
    /// All limits, in the order in which their windows are locked.
    pub const ALL: [Self; 18] = [
        Self::Token,
        Self::TokenNetwork,
        Self::Refresh,
        Self::RefreshNetwork,
        Self::VerifiedToken,
        Self::VerifiedRefresh,
        Self::Identity,
        Self::IdentityMints,
        Self::AnonymousMints,
        Self::AnonymousNetwork,
        Self::Mints,
        Self::MintsAnonymous,
        Self::MintsNetwork,
        Self::MintsDaily,
        Self::MintsDailyAnonymous,
        Self::RefusedCredentials,
        Self::Transcribe,
        Self::TranscribeIdentity,
    ];

    /// The table.
    pub const fn row(self) -> Row {
        use Applies::{All, Anonymous, Verified};
        use Counts::{Mints, Openings, Refreshes, Refusals, Transcriptions};
        use Scope::{Address, Everybody, Identity, Neighbourhood};
        let (slot, scope, applies, counts) = match self {
            Self::Token => ("token", Address, Anonymous, Openings),
            Self::TokenNetwork => ("token_network", Neighbourhood, Anonymous, Openings),
            Self::Refresh => ("refresh", Address, Anonymous, Refreshes),
            Self::RefreshNetwork => ("refresh_network", Neighbourhood, Anonymous, Refreshes),
            Self::VerifiedToken => ("verified_token", Address, Verified, Openings),
            Self::VerifiedRefresh => ("verified_refresh", Address, Verified, Refreshes),
            Self::Identity => ("identity", Identity, Verified, Openings),
            Self::IdentityMints => ("identity_mints", Identity, Verified, Mints),
            Self::AnonymousMints => ("anonymous_mints", Everybody, Anonymous, Mints),
            Self::AnonymousNetwork => ("anonymous_network", Neighbourhood, Anonymous, Mints),
            Self::Mints => ("mints", Everybody, All, Mints),
            Self::MintsAnonymous => ("mints_anonymous", Everybody, Anonymous, Mints),
            Self::MintsNetwork => ("mints_network", Neighbourhood, Anonymous, Mints),
            Self::MintsDaily => ("mints_daily", Everybody, All, Mints),
            Self::MintsDailyAnonymous => ("mints_daily_anonymous", Everybody, Anonymous, Mints),
            Self::RefusedCredentials => ("refused_credentials", Address, All, Refusals),
            Self::Transcribe => ("transcribe", Address, Anonymous, Transcriptions),
            Self::TranscribeIdentity => ("transcribe_identity", Identity, Verified, Transcriptions),
        };
        let setting = match self {
            Self::VerifiedToken | Self::VerifiedRefresh => "verified_address",
            Self::MintsAnonymous | Self::MintsNetwork => "mints",
            Self::MintsDailyAnonymous => "mints_daily",
            Self::TranscribeIdentity => "transcribe",
            _ => slot,
        };
        Row {
            slot,
            setting,
            scope,
            applies,
            counts,
        }
    }

    /// Returns the rate that the settings give the limit.
    pub fn rate(self, settings: &config::Limits) -> Rate {
        match self {
            Self::Token => settings.token,
            Self::TokenNetwork => settings.token_network,
            Self::Refresh => settings.refresh,
            Self::RefreshNetwork => settings.refresh_network,
            Self::VerifiedToken | Self::VerifiedRefresh => settings.verified_address,
            Self::Identity => settings.identity,
            Self::IdentityMints => settings.identity_mints,
            Self::AnonymousMints => settings.anonymous_mints,
            Self::AnonymousNetwork => percent(settings.anonymous_mints, settings.anonymous_network),
            Self::Mints => settings.mints,
            Self::MintsAnonymous => percent(settings.mints, HALF),
            Self::MintsNetwork => {
                let quarter = percent(settings.mints, QUARTER);
                let limit = quarter.limit.max(settings.token_network.limit);
                Rate { limit, ..quarter }
            }
            Self::MintsDaily => settings.mints_daily,
            Self::MintsDailyAnonymous => percent(settings.mints_daily, HALF),
            Self::RefusedCredentials => settings.refused_credentials,
            Self::Transcribe | Self::TranscribeIdentity => settings.transcribe,
        }
    }
}

/// The share of the budgets of everybody that callers without identity may take, in percent.
const HALF: u32 = 50;

/// The share of a minute's budget that callers without identity of one neighbourhood may take, in percent. It is as many
/// mints as `limits.token_network` allows at least, so that it holds whoever refreshes very often, and no school.
const QUARTER: u32 = 25;

/// Returns `percent` of `rate`, and one at least.
fn percent(rate: Rate, percent: u32) -> Rate {
    let limit = u64::from(rate.limit) * u64::from(percent) / 100;
    Rate {
        limit: u32::try_from(limit).unwrap_or(u32::MAX).max(1),
        ..rate
    }
}

/// The rate and the capacity of every limit.
#[derive(Clone, Debug)]
pub struct Rates {
    of: BTreeMap<Limit, Rate>,
    capacity: usize,
}

impl Rates {
    /// Returns the rates that the settings describe.
    pub fn of(settings: &config::Limits) -> Self {
        let rate = |limit: Limit| (limit, limit.rate(settings));
        Self {
            of: Limit::ALL.map(rate).into(),
            capacity: settings.capacity,
        }
    }

    /// Returns what each of `replicas` may admit alone: its part of every limit, and one at least.
    #[must_use]
    pub fn share(mut self, replicas: std::num::NonZeroU32) -> Self {
        for rate in self.of.values_mut() {
            rate.limit = (rate.limit / replicas).max(1);
        }
        self
    }

    /// Returns the rate of `limit`.
    pub fn rate(&self, limit: Limit) -> Rate {
        self.of[&limit]
    }

    /// Returns how many keys of `limit` are remembered exactly.
    pub fn capacity(&self, limit: Limit) -> usize {
        match limit.row().scope {
            Scope::Everybody => 1,
            Scope::Address | Scope::Neighbourhood | Scope::Identity => self.capacity,
        }
    }

    /// Returns the longest window of all limits.
    pub fn longest_window(&self) -> std::time::Duration {
        let windows = self.of.values().map(|rate| rate.window);
        windows.max().unwrap_or_default()
    }

    /// Returns the refusals under `limit` that are no offence yet.
    pub fn tolerance(&self, limit: Limit) -> Tolerance {
        let rate = self.rate(limit);
        Tolerance::of(limit.row().slot, rate.limit, rate.window)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_limit_has_a_slot_of_its_own_and_its_place_in_the_order() {
        let slots: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.row().slot).collect();
        assert_eq!(slots.len(), Limit::ALL.len());
        assert!(Limit::ALL.is_sorted());
    }
}

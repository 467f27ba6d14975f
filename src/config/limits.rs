//! Reads the settings of how often callers may ask.

use super::settings::Settings;
use crate::domain::Rate;

/// How often callers may ask. What each limit counts, and for whom, is in the gate's table.
#[derive(Clone, Debug)]
pub struct Limits {
    /// New sessions of an address.
    pub token: Rate,
    /// Refreshes of an address.
    pub refresh: Rate,
    /// New sessions of a neighbourhood.
    pub token_network: Rate,
    /// Refreshes of a neighbourhood.
    pub refresh_network: Rate,
    /// New sessions of all verified callers at an address; as many refreshes again.
    pub verified_address: Rate,
    /// New sessions of an identity.
    pub identity: Rate,
    /// Mints of an identity, sessions and refreshes.
    pub identity_mints: Rate,
    /// Mints of all callers without identity together.
    pub anonymous_mints: Rate,
    /// The share of `anonymous_mints` that one neighbourhood may take, in percent.
    pub anonymous_network: u32,
    /// Mints of everybody together in a short time.
    pub mints: Rate,
    /// Mints of everybody together in a long time.
    pub mints_daily: Rate,
    /// Refused credentials of an address.
    pub refused_credentials: Rate,
    /// Upper bound on the addresses or identities that each limit remembers exactly.
    pub capacity: usize,
    /// Whether answers also carry the `RateLimit` fields of the IETF draft.
    pub ietf_fields: bool,
}

impl Limits {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            token: settings.rate("limits.token"),
            refresh: settings.rate("limits.refresh"),
            token_network: settings.rate("limits.token_network"),
            refresh_network: settings.rate("limits.refresh_network"),
            verified_address: settings.rate("limits.verified_address"),
            identity: settings.rate("limits.identity"),
            identity_mints: settings.rate("limits.identity_mints"),
            anonymous_mints: settings.rate("limits.anonymous_mints"),
            anonymous_network: settings.number("limits.anonymous_network", 1..=100),
            mints: settings.rate("limits.mints"),
            mints_daily: settings.rate("limits.mints_daily"),
            refused_credentials: settings.rate("limits.refused_credentials"),
            capacity: settings.number("limits.capacity", 1..=16_777_216),
            ietf_fields: settings.flag("limits.ietf_fields"),
        }
    }
}

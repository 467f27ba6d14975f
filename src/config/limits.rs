//! Owns the settings of how often callers may ask.

use super::settings::Settings;
use crate::domain::Rate;

/// How often callers may ask.
#[derive(Clone, Debug)]
pub struct Limits {
    /// New sessions, for each address (IPv6: /64).
    pub token: Rate,
    /// Refreshes, for each address (IPv6: /64).
    pub refresh: Rate,
    /// New sessions, for the /24 or /48 around an address.
    pub token_network: Rate,
    /// Refreshes, for the /24 or /48 around an address.
    pub refresh_network: Rate,
    /// New sessions, for each identity.
    pub identity: Rate,
    /// Mints of everybody together, sessions and refreshes.
    pub mints: Rate,
    /// The same, over a longer time.
    pub mints_daily: Rate,
    /// Mints of one identity, sessions and refreshes.
    pub identity_mints: Rate,
    /// Mints of all callers without identity together.
    pub anonymous_mints: Rate,
    /// Most addresses remembered at once.
    pub capacity: usize,
    /// True when answers also carry the `RateLimit` fields of the IETF draft.
    pub ietf_fields: bool,
}

impl Limits {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            token: settings.rate("limits.token"),
            refresh: settings.rate("limits.refresh"),
            token_network: settings.rate("limits.token_network"),
            refresh_network: settings.rate("limits.refresh_network"),
            identity: settings.rate("limits.identity"),
            mints: settings.rate("limits.mints"),
            mints_daily: settings.rate("limits.mints_daily"),
            identity_mints: settings.rate("limits.identity_mints"),
            anonymous_mints: settings.rate("limits.anonymous_mints"),
            capacity: settings.number("limits.capacity", 1..=16_777_216),
            ietf_fields: settings.flag("limits.ietf_fields"),
        }
    }
}

//! `[limits]`: the rates of all limits.

use serde::Deserialize;

use crate::domain::Rate;
use crate::domain::written::whole;

/// The rates of all limits. What each limit counts, and for whom, is in the gate's table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
    #[serde(deserialize_with = "whole::<1, 100, _, _>")]
    pub anonymous_network: u32,
    /// Mints of everybody together in a short time.
    pub mints: Rate,
    /// Mints of everybody together in a long time.
    pub mints_daily: Rate,
    /// Refused credentials of an address.
    pub refused_credentials: Rate,
    /// Transcriptions of an address without identity, or of an identity.
    pub transcribe: Rate,
    /// Upper bound on the addresses or identities that each limit remembers exactly.
    #[serde(deserialize_with = "whole::<1, 16_777_216, _, _>")]
    pub capacity: usize,
    /// Whether answers also carry the `RateLimit` fields of the IETF draft.
    pub ietf_fields: bool,
}

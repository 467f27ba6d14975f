//! Owns the settings of what identities may use in a month.

use std::collections::HashMap;

use crate::domain::Quota;

/// What identities may use in a month.
#[derive(Clone, Debug, Default)]
pub struct QuotaSettings {
    /// Those whose role has no quota of its own: `[quota.default]`.
    pub everybody: Quota,
    /// By role: `[quota.<role>]`.
    pub roles: HashMap<Box<str>, Quota>,
    /// Single identities: `[[quota.exceptions]]`.
    pub exceptions: Vec<QuotaException>,
}

/// The quota of one identity.
#[derive(Clone, Debug)]
pub struct QuotaException {
    /// Who vouches for it.
    pub issuer: String,
    /// Who it is there, in plain words.
    pub subject: String,
    /// What it may use.
    pub quota: Quota,
}

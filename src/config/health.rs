//! `[health]`: the details of health answers.

use serde::Deserialize;

/// The details of health answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Who sees services and metrics.
    pub details: HealthDetails,
}

/// Who sees services and metrics in `GET /health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthDetails {
    /// Callers from loopback and private addresses.
    Auto,
    /// Everybody.
    Full,
    /// Nobody.
    Summary,
}

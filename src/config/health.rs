//! Owns the settings of what the health answers tell.

use super::settings::Settings;

/// What the health answers tell.
#[derive(Clone, Debug)]
pub struct Health {
    /// Who sees services and metrics.
    pub details: HealthDetails,
}

/// Who sees services and metrics in `GET /health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthDetails {
    /// Callers from loopback and private addresses.
    Auto,
    /// Everybody.
    Full,
    /// Nobody.
    Summary,
}

const DETAILS: &[(&str, HealthDetails)] = &[
    ("auto", HealthDetails::Auto),
    ("full", HealthDetails::Full),
    ("summary", HealthDetails::Summary),
];

impl Health {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let details = settings.choice("health.details", DETAILS)?;
        Some(Self { details })
    }
}

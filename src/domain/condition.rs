//! Says how a part of the service is: operational, degraded or down.

use serde::Serialize;

/// The condition of a part of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The part works.
    #[default]
    Operational,
    /// The part works partly, or failed lately and is still used.
    Degraded,
    /// The part cannot be used right now.
    Down,
}

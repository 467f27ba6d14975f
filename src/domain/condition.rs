//! Says how a part of the service is: operational, degraded or down.

use serde::Serialize;

/// How a part of the service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    #[default]
    Operational,
    /// It works in part, or failed lately and is still used.
    Degraded,
    /// It cannot be used right now.
    Down,
}

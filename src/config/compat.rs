//! Reads `[compat]`: what is only there for older clients.

use serde::Deserialize;

/// What is only there for older clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compat {
    /// True when `GET /token` mints too.
    pub get_token: bool,
}

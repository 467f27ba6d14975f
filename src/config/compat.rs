//! `[compat]`: behaviour for older clients.

use serde::Deserialize;

/// Behaviour for older clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compat {
    /// True when `GET /token` mints too.
    pub get_token: bool,
}

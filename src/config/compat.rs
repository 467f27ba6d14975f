//! Reads `[compat]`: what is only there for older clients.

use serde::Deserialize;

use super::reader::Section;

/// What is only there for older clients.
#[derive(Clone, Debug, Deserialize)]
pub struct Compat {
    /// True when `GET /token` mints too.
    pub get_token: bool,
}

impl Section for Compat {
    const NAME: &'static str = "compat";
}

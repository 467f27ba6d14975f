//! Owns the settings that are only there for older clients.

use super::settings::Settings;

/// What is only there for older clients.
#[derive(Clone, Debug)]
pub struct Compat {
    /// True when `GET /token` mints too.
    pub get_token: bool,
}

impl Compat {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            get_token: settings.flag("compat.get_token"),
        }
    }
}

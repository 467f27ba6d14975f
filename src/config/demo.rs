//! Owns the settings of the try-it page.

use super::settings::Settings;

/// The try-it page.
#[derive(Clone, Debug)]
pub struct Demo {
    /// True when it is served.
    pub enabled: bool,
    /// True when the upstream is a simulated one, so that the page plays the model itself.
    pub simulated: bool,
    /// Whom a visitor may act for; nobody outside dev mode.
    pub people: Vec<DemoPerson>,
}

/// Somebody who does not exist, to try the broker as.
#[derive(Clone)]
pub struct DemoPerson {
    /// How it is called.
    pub name: &'static str,
    /// Its role.
    pub role: &'static str,
    /// A credential that the broker believes.
    pub bearer: String,
}

/// Without the credential.
impl std::fmt::Debug for DemoPerson {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "DemoPerson({})", self.name)
    }
}

impl Demo {
    pub(super) fn read(settings: &mut Settings) -> Self {
        Self {
            enabled: settings.flag("demo.enabled"),
            simulated: false,
            people: Vec::new(),
        }
    }
}

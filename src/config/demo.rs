//! `[demo]`: the demo page.

use serde::Deserialize;

/// The demo page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// True when the page is served.
    pub enabled: bool,
    /// True when the upstream is a simulated one, so that the page plays the model itself.
    #[serde(skip)]
    pub simulated: bool,
    /// People whom a visitor may act for. Empty outside dev mode.
    #[serde(skip)]
    pub people: Vec<DemoPerson>,
}

/// A made-up person whom visitors of the demo page may act for.
#[derive(Clone)]
pub struct DemoPerson {
    /// The name of the person.
    pub name: &'static str,
    /// The role of the person.
    pub role: &'static str,
    /// A credential that the broker accepts.
    pub bearer: String,
}

/// Omits the credential.
impl std::fmt::Debug for DemoPerson {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "DemoPerson({})", self.name)
    }
}

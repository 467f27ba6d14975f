//! `[demo]`: the demo page.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
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
    /// True when the records begin with a made-up month. Only those of dev mode can, in memory.
    #[serde(skip)]
    pub has_past: bool,
    /// People whom a visitor may act for. Empty outside dev mode.
    #[serde(skip)]
    pub people: Vec<DemoPerson>,
    /// What the page may try with calls. `None` outside dev mode.
    #[serde(skip)]
    pub calls: Option<DemoCalls>,
}

/// What the page may try with the calls of a simulated provider on this machine.
#[derive(Clone)]
pub struct DemoCalls {
    /// The name of the persona of the page's calls, whose limits are short.
    pub persona: &'static str,
    /// Cuts the side channels of the call with this id at the provider.
    pub cut: Arc<dyn Fn(String) -> Cutting + Send + Sync>,
}

/// Gives the time until a call had a side channel again; `None` when it got none.
pub type Cutting = BoxFuture<'static, Option<Duration>>;

/// Omits the function.
impl std::fmt::Debug for DemoCalls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "DemoCalls({})", self.persona)
    }
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

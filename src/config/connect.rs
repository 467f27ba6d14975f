//! `[connect]`: how pages connect to the provider.

use serde::{Deserialize, Deserializer};
use url::Url;

use super::Config;
use super::settings::Settings;
use crate::domain::written::{optional, text};
use crate::domain::{ConnectMode, endpoint};

/// How pages connect to the provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectSettings {
    /// The usual mode.
    #[serde(deserialize_with = "mode")]
    pub mode: ConnectMode,
    /// The address of this service as pages reach it; `None` for the one that each request names.
    #[serde(deserialize_with = "public_url")]
    pub public_url: Option<Url>,
}

fn mode<'de, D: Deserializer<'de>>(from: D) -> Result<ConnectMode, D::Error> {
    text(from, read_mode)
}

fn public_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    optional(from, |text| {
        let url = endpoint(text, &[])?;
        let is_bare = url.query().is_none();
        is_bare.then_some(url).ok_or("must end with its path: no ?")
    })
}

/// Reads the word for a mode.
pub(super) fn read_mode(text: &str) -> Result<ConnectMode, &'static str> {
    ConnectMode::parse(text).ok_or("must be direct, call or relay")
}

/// What is wrong with a limit that direct mode cannot keep.
const NOT_KEPT: &str = "limits time, turns or money, which direct mode does not measure";

impl Config {
    /// Complains of quotas and personas whose limits direct mode cannot keep, where a persona may be used in it.
    pub(super) fn require_measured(&self, settings: &mut Settings) {
        let usual = self.connect.mode;
        let mut direct = self
            .personas
            .iter()
            .filter(|persona| persona.mode(usual, Some(ConnectMode::Direct)).is_some())
            .peekable();
        if let Some(persona) = direct.peek() {
            for name in self.quota.measured() {
                let message = format_args!(
                    "{NOT_KEPT}, and persona {:?} may be used in it: set connect.mode to call or relay, or the persona's connect to [\"call\", \"relay\"]",
                    persona.name.as_str()
                );
                settings.complain(&name, message);
            }
        }
        for persona in direct.filter(|persona| persona.calls.limits.are_measured()) {
            let message = format_args!(
                "persona {:?}: call {NOT_KEPT}: set connect.mode to call or relay, or the persona's connect to [\"call\", \"relay\"]",
                persona.name.as_str()
            );
            settings.complain("personas.file", message);
        }
    }
}

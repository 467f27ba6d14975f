//! Reads `[ops]`: the listener for operators.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::fields::secret;
use super::section::Section;
use super::settings::Settings;
use crate::domain::written::text;

/// The listener for operators.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// The address and port of the listener.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// The bearer token of operators. Without one nothing listens.
    #[serde(deserialize_with = "secret")]
    pub token: Option<SecretString>,
}

/// Shorter tokens could be guessed.
const LEAST_TOKEN: usize = 24;

impl Section for Ops {
    const NAME: &'static str = "ops";

    fn check(&mut self, settings: &mut Settings) {
        let long_enough = |token: &SecretString| token.expose_secret().len() >= LEAST_TOKEN;
        settings.require(
            &["ops.token"],
            self.token.as_ref().is_none_or(long_enough),
            "must be at least 24 characters, like `openssl rand -hex 32` gives",
        );
        if self.token.is_some() && !self.listen.ip().is_loopback() {
            settings.warn(
                "ops.listen",
                "is not loopback: its token travels in plain HTTP, so only a private network may reach it",
            );
        }
    }
}

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let wrong = |_| "must be an address and a port, like 127.0.0.1:9090";
    text(from, |text| text.parse().map_err(wrong))
}

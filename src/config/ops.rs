//! Reads `[ops]`: the listener for operators.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::fields::long_secret;
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
    #[serde(deserialize_with = "long_secret::<24, _>")]
    pub token: Option<SecretString>,
}

impl Ops {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let ops: Self = settings.section("ops")?;
        settings.warn_if(
            ops.token.is_some() && !ops.listen.ip().is_loopback(),
            "ops.listen",
            "is not loopback: its token travels in plain HTTP, so only a private network may reach it",
        );
        Some(ops)
    }
}

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let wrong = |_| "must be an address and a port, like 127.0.0.1:9090";
    text(from, |text| text.parse().map_err(wrong))
}

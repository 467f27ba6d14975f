//! `[ops]`: the listener for operators.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::Deserialize;

use super::fields::{long_secret, socket_address};
use super::server;
use super::settings::Settings;

/// The listener for operators.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// The address and port of the listener.
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// The bearer token of operators. Without a token there is no listener.
    #[serde(deserialize_with = "long_secret::<24, _>")]
    pub token: Option<SecretString>,
    /// Host names under which the dashboard is served, beside those of this machine.
    #[serde(deserialize_with = "server::hosts")]
    pub hosts: Vec<String>,
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

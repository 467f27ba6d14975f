//! Owns the settings of the listener for operators.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};

use super::settings::Settings;

/// The listener for operators.
#[derive(Clone, Debug)]
pub struct Ops {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What operators show there; without it nothing listens.
    pub token: Option<SecretString>,
}

/// Shorter tokens could be guessed.
const LEAST_TOKEN: usize = 24;

impl Ops {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let listen = settings.parsed("ops.listen", |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| "must be an address and a port, like 127.0.0.1:9090")
        });
        let token = settings.secret("ops.token");
        let long_enough = |token: &SecretString| token.expose_secret().len() >= LEAST_TOKEN;
        settings.require(
            &["ops.token"],
            token.as_ref().is_none_or(long_enough),
            "must be at least 24 characters, like `openssl rand -hex 32` gives",
        );
        let listen = listen?;
        if token.is_some() && !listen.ip().is_loopback() {
            let message = "is not loopback: its token travels in plain HTTP, so only a private network may reach it";
            settings.warn("ops.listen", message);
        }
        Some(Self { listen, token })
    }
}

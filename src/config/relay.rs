//! `[relay]`: how much a relay holds, and how long a silent or slow side is waited for.

use std::time::Duration;

use serde::Deserialize;

use super::settings::Settings;
use crate::domain::written::{lasting, whole};
use crate::websocket::Bounds;

/// How relays are carried.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelaySettings {
    /// Largest event, in bytes.
    #[serde(deserialize_with = "whole::<65_536, 67_108_864, _, _>")]
    pub max_frame: usize,
    /// The silence after which a side is asked for a sign of life.
    #[serde(deserialize_with = "lasting::<1_000, 300_000, _>")]
    pub ping: Duration,
    /// The silence after which a side is gone.
    #[serde(deserialize_with = "lasting::<2_000, 600_000, _>")]
    pub dead: Duration,
    /// Longest time for which a client may take nothing.
    #[serde(deserialize_with = "lasting::<1_000, 300_000, _>")]
    pub slow: Duration,
    /// True when clients do not see the persona's instructions.
    pub hide_instructions: bool,
}

impl RelaySettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let relay: Self = settings.section("relay")?;
        settings.require(
            &["relay.ping", "relay.dead"],
            relay.ping < relay.dead,
            "must be shorter than relay.dead",
        );
        Some(relay)
    }

    /// Returns the bounds of each connection.
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            message: self.max_frame,
            ping_after: self.ping,
            dead_after: self.dead,
        }
    }
}

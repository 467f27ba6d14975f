//! `[session]`: the bounds of sessions.

use std::time::Duration;

use serde::Deserialize;

use super::settings::Settings;
use crate::domain::written::{lasting, whole};
use crate::domain::{Binding, Bindings, RefreshRules};

/// The bounds of sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// The lifetime of a client secret in seconds, within the provider's own range.
    #[serde(deserialize_with = "whole::<10, 7_200, _, _>")]
    pub token_seconds: u32,
    /// Least time between two mints of one session.
    #[serde(deserialize_with = "lasting::<0, DAY, _>")]
    pub min_refresh_interval: Duration,
    /// Most refreshes of one session.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_refreshes: u32,
    /// Longest life of one session.
    #[serde(deserialize_with = "lasting::<1_000, DAY, _>")]
    pub max_age: Duration,
    /// How firmly a session is tied to the networks that it is used from.
    pub ip_binding: IpBinding,
    /// Most networks from which a session of a caller without identity may be refreshed over its life.
    #[serde(deserialize_with = "whole::<1, 100, _, _>")]
    pub max_networks: usize,
    /// Most live sessions of one identity.
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    pub max_live: u32,
    /// Most live sessions of callers without identity from one network.
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    pub max_live_network: u32,
    /// Most sessions in total.
    #[serde(deserialize_with = "whole::<1, 10_000_000, _, _>")]
    pub max_total: u32,
}

/// How firmly a session is tied to the networks that it is used from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpBinding {
    /// `max_networks` networks for callers without identity, any number for identities.
    Auto,
    /// Only the network that opened the session.
    Strict,
    /// Every network is allowed, and a new one is recorded.
    Soft,
    /// Networks are ignored.
    Off,
}

/// In milliseconds.
const DAY: u64 = 86_400_000;

impl SessionSettings {
    /// Returns the bounds on the refreshes of a session.
    pub const fn refresh(&self) -> RefreshRules {
        let (anonymous, identified) = match self.ip_binding {
            IpBinding::Auto => (Binding::AtMost(self.max_networks), Binding::Soft),
            IpBinding::Strict => (Binding::AtMost(1), Binding::AtMost(1)),
            IpBinding::Soft => (Binding::Soft, Binding::Soft),
            IpBinding::Off => (Binding::Off, Binding::Off),
        };
        RefreshRules {
            min_interval: self.min_refresh_interval,
            max_refreshes: self.max_refreshes,
            max_age: self.max_age,
            binding: Bindings {
                anonymous,
                identified,
            },
        }
    }

    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let session: Self = settings.section("session")?;
        settings.require(
            &["session.min_refresh_interval", "session.max_age"],
            session.min_refresh_interval <= session.max_age,
            "must not be longer than session.max_age: no session could ever be refreshed",
        );
        settings.require(
            &["session.max_live", "session.max_total"],
            session.max_live <= session.max_total,
            "must not be more than session.max_total",
        );
        let lifetime = Duration::from_secs(session.token_seconds.into());
        settings.warn_if(
            session.min_refresh_interval > lifetime,
            "session.min_refresh_interval",
            "is longer than session.token_seconds: secrets end before they can be refreshed",
        );
        Some(session)
    }
}

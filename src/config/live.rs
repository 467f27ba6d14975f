//! `[live]`: what holds for calls of GPT-Live.

use serde::{Deserialize, Deserializer};

use crate::domain::written::{list, whole};

/// What holds for calls of GPT-Live.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveSettings {
    /// Most live calls of one model; 0 for no limit of the broker's.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_sessions: u32,
    /// The roles whose programs may attach to their calls.
    #[serde(deserialize_with = "roles")]
    pub attach_roles: Vec<Box<str>>,
}

fn roles<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Box<str>>, D::Error> {
    let mut roles = list(from, |name| Ok::<_, &str>(Box::<str>::from(name)))?;
    // One empty text is an empty list.
    roles.retain(|name| !name.is_empty());
    Ok(roles)
}

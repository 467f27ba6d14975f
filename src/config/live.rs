//! `[live]`: what holds for calls of GPT-Live.

use serde::{Deserialize, Deserializer};

use crate::domain::WebhookKeys;
use crate::domain::written::{list, optional, whole};

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
    /// The secrets that sign the provider's webhooks. Without a secret, no webhook is taken.
    #[serde(deserialize_with = "webhook_keys")]
    pub webhook_secret: Option<WebhookKeys>,
    /// What happens to sessions of the same project that are not the broker's.
    pub unowned: Unowned,
}

/// What happens to announced sessions that are not the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unowned {
    /// Operators are told.
    Report,
    /// They are hung up as well.
    Close,
}

fn roles<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Box<str>>, D::Error> {
    let mut roles = list(from, |name| Ok::<_, &str>(Box::<str>::from(name)))?;
    // One empty text is an empty list.
    roles.retain(|name| !name.is_empty());
    Ok(roles)
}

fn webhook_keys<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WebhookKeys>, D::Error> {
    let wrong = "must be the secret that OpenAI shows for the webhook: whsec_ and at least 16 bytes in base64; several have \
                 spaces between them";
    optional(from, |text| WebhookKeys::parse(text).ok_or(wrong))
}

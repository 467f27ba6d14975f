//! `[alerts]`: where trouble is reported to operators, and from when on.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::fields::secret;
use super::settings::Settings;
use crate::domain::written::{lasting, whole};
use crate::domain::{is_private_enough, web_address};

const WEBHOOK: &str = "alerts.webhook";

/// Where trouble is reported to operators, and from when on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// The address that messages are sent to. Who knows it can send messages, too. `None` for no messages.
    #[serde(deserialize_with = "secret")]
    pub webhook: Option<SecretString>,
    /// The form of messages.
    pub format: AlertFormat,
    /// Shortest time from one message of an alert to the next message that it is raised.
    #[serde(deserialize_with = "lasting::<60_000, 604_800_000, _>")]
    pub cooldown: Duration,
    /// The share of requests that may fail, in percent.
    #[serde(deserialize_with = "whole::<1, 100, _, _>")]
    pub error_percent: u32,
    /// The share of a budget that may be spent, in percent.
    #[serde(deserialize_with = "whole::<1, 100, _, _>")]
    pub budget_percent: u32,
    /// The blocks within 15 minutes that are too many.
    #[serde(deserialize_with = "whole::<1, 100_000, _, _>")]
    pub blocks: u64,
}

/// The form of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertFormat {
    /// The form that fits the host of the address: Slack's, that of ntfy.sh, or else JSON.
    Auto,
    /// A JSON object with a member for each fact.
    Json,
    /// Slack's, which Mattermost and Discord (with /slack behind its address) take, too.
    Slack,
    /// That of ntfy: text, with title and priority as headers.
    Ntfy,
}

impl Alerts {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let mut alerts: Self = settings.section("alerts")?;
        let webhook = alerts.webhook.as_ref().map(ExposeSecret::expose_secret);
        let url = webhook.map(web_address);
        settings.require(
            &[WEBHOOK, "alerts.webhook_file"],
            url != Some(None),
            "must be a whole address, like https://hooks.slack.com/services/…",
        );
        let url = url.flatten();
        settings.warn_if(
            url.as_ref().is_some_and(|url| !is_private_enough(url, &[])),
            WEBHOOK,
            "is plain http: anybody in between can read the messages and the address; use https",
        );
        if let (AlertFormat::Auto, Some(url)) = (alerts.format, &url) {
            alerts.format = fitting(url.host_str().unwrap_or_default());
        }
        Some(alerts)
    }
}

fn fitting(host: &str) -> AlertFormat {
    match host {
        "hooks.slack.com" => AlertFormat::Slack,
        "ntfy.sh" => AlertFormat::Ntfy,
        _ => AlertFormat::Json,
    }
}

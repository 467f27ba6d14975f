//! Tells operators of alerts by HTTP, in the form of generic JSON, of Slack or of ntfy.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::clock::{Clock, Timestamp};
use crate::config::{AlertFormat, Alerts};
use crate::http_client::{self, ClientBuilder, ClientError, Unserved, Way};

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for one message.
const DEADLINE: Duration = Duration::from_secs(15);
/// The waits before a message is sent again that was not taken.
const AGAIN: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
];

/// A message to operators. Contains nothing that a caller sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The name of the alert.
    pub alert: &'static str,
    /// True when the alert is over.
    pub is_over: bool,
    /// True when an operator should act at once.
    pub is_critical: bool,
    /// The facts, in a sentence.
    pub summary: String,
    /// The section of the runbook.
    pub runbook: &'static str,
    /// The time.
    pub at: Timestamp,
}

/// The way to operators.
pub struct Webhook {
    client: Client,
    url: SecretString,
    format: AlertFormat,
    tasks: TaskTracker,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// Returns the webhook of `settings`, if they name one. Messages go this `way`.
    pub fn new(
        settings: &Alerts,
        way: &Way,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, ClientError> {
        let Some(url) = settings.webhook.clone() else {
            return Ok(None);
        };
        Ok(Some(Self {
            client: ClientBuilder::new(way, CONNECT, HeaderMap::new())?.build()?,
            url,
            format: settings.format,
            tasks: TaskTracker::new(),
            clock,
        }))
    }

    /// Sends a message in the background. A message that is not taken is sent again a few times.
    pub fn tell(self: &Arc<Self>, notice: Notice) {
        let webhook = Arc::clone(self);
        self.tasks.spawn(async move {
            let mut sent = webhook.send(&notice).await;
            for wait in AGAIN {
                if sent.is_ok() {
                    break;
                }
                webhook.clock.sleep(wait).await;
                sent = webhook.send(&notice).await;
            }
            let (alert, is_over) = (notice.alert, notice.is_over);
            match sent {
                Ok(()) => tracing::info!(alert, is_over, "alert was sent to the webhook"),
                Err(error) => tracing::error!(
                    alert, is_over, %error,
                    "alert could not be sent: check alerts.webhook"
                ),
            }
        });
    }

    /// Sends a message once.
    pub async fn send(&self, notice: &Notice) -> Result<(), Unserved> {
        let request = self.client.post(self.url.expose_secret());
        let request = match self.format {
            AlertFormat::Auto | AlertFormat::Json => json_of(request, notice),
            AlertFormat::Slack => slack(request, notice),
            AlertFormat::Ntfy => ntfy(request, notice),
        };
        let answer = http_client::send(request, DEADLINE, &*self.clock);
        answer.await.map(drop)
    }

    /// Asks the server whether it is there, without a message and without the secret part of the address. Returns its name.
    pub async fn look(&self) -> Result<String, Unserved> {
        // The settings were read into a whole address.
        let url = Url::parse(self.url.expose_secret()).ok();
        let url = url.and_then(|url| url.join("/").ok());
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let request = self.client.head(url.as_ref().map_or("", Url::as_str));
        match http_client::send(request, DEADLINE, &*self.clock).await {
            Ok(_) | Err(Unserved::Refused(_)) => Ok(host.to_owned()),
            Err(error) => Err(error),
        }
    }
}

impl Notice {
    const fn state(&self) -> &'static str {
        if self.is_over { "resolved" } else { "firing" }
    }

    const fn severity(&self) -> &'static str {
        if self.is_critical {
            "critical"
        } else {
            "warning"
        }
    }

    /// Returns the whole message in one line.
    fn line(&self) -> String {
        let Self {
            alert,
            summary,
            runbook,
            ..
        } = self;
        let state = self.state().to_uppercase();
        format!("[{state}] token-broker {alert}: {summary} ({runbook})")
    }
}

fn json_of(request: RequestBuilder, notice: &Notice) -> RequestBuilder {
    body(
        request,
        &json!({
            "alert": notice.alert,
            "state": notice.state(),
            "severity": notice.severity(),
            "summary": notice.summary,
            "runbook": notice.runbook,
            "timestamp": notice.at.as_millis(),
        }),
    )
}

fn slack(request: RequestBuilder, notice: &Notice) -> RequestBuilder {
    body(request, &json!({ "text": notice.line() }))
}

fn body(request: RequestBuilder, json: &serde_json::Value) -> RequestBuilder {
    let request = request.header(CONTENT_TYPE, "application/json");
    request.body(json.to_string())
}

fn ntfy(request: RequestBuilder, notice: &Notice) -> RequestBuilder {
    let (priority, tags) = match (notice.is_over, notice.is_critical) {
        (true, _) => ("default", "white_check_mark"),
        (false, true) => ("urgent", "rotating_light"),
        (false, false) => ("high", "warning"),
    };
    request
        .header("Title", format!("token-broker {}", notice.alert))
        .header("Priority", priority)
        .header("Tags", tags)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(notice.line())
}

//! Sends the spans of traces to a collector: OTLP over HTTP, in JSON.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::traces::{Collecting, Ended, Spanned};
use crate::clock::Clock;
use crate::config::Otel;
use crate::domain::Trace;
use crate::http_client::{self, ClientBuilder, ClientError, Unserved, Way, read_body};

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for one batch.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time between two sendings of spans; after a failure, the time until the next attempt.
const EVERY: Duration = Duration::from_secs(5);
/// Longest time for the last spans when the process ends.
const LAST: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read, so that its connection can be used again.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The way of spans to a collector.
pub struct Exporter {
    client: Client,
    endpoint: Url,
    /// The headers that the collector asks for. An operator may change them while the broker runs.
    headers: RwLock<HeaderMap>,
    service: String,
    /// The name of this run among those of the service.
    instance: String,
    ended: Arc<Ended>,
    /// The spans that are being sent. An attempt that is dropped leaves them here.
    batch: tokio::sync::Mutex<Vec<Spanned>>,
    /// True while the collector takes nothing.
    is_away: Mutex<bool>,
    clock: Arc<dyn Clock>,
}

impl Exporter {
    /// Returns the way to the collector of `settings`, if they name one. Spans go this `way`.
    pub fn new(
        settings: &Otel,
        way: &Way,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, ClientError> {
        let Some(endpoint) = settings.endpoint.clone() else {
            return Ok(None);
        };
        Ok(Some(Self {
            client: ClientBuilder::new(way, CONNECT, HeaderMap::new())?.build()?,
            endpoint,
            headers: RwLock::new(headers(settings)),
            service: settings.service.clone(),
            instance: Trace::new_span_id(),
            ended: Arc::default(),
            batch: tokio::sync::Mutex::default(),
            is_away: Mutex::default(),
            clock,
        }))
    }

    /// Takes the headers of changed settings over.
    pub fn adopt(&self, settings: &Otel) {
        *self.headers.write() = headers(settings);
    }

    /// Returns the layer that collects the spans to send.
    pub(super) fn collecting(&self) -> Collecting {
        Collecting {
            ended: Arc::clone(&self.ended),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Sends spans as they end. Never returns.
    pub async fn run(&self) {
        loop {
            let is_sent = self.send_all().await;
            let more = async {
                if is_sent {
                    self.ended.many.notified().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = more => {}
                () = self.clock.sleep(EVERY) => {}
            }
        }
    }

    /// Sends the spans that have ended, unless that takes too long.
    pub async fn flush(&self) {
        if self.clock.timeout(LAST, self.send_all()).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
        }
    }

    /// Asks the collector whether it takes spans, with none.
    pub async fn look(&self) -> Result<(), Unserved> {
        self.send(&[]).await
    }

    /// Sends all that waits. Returns false when the collector takes nothing at present.
    async fn send_all(&self) -> bool {
        let mut batch = self.batch.lock().await;
        loop {
            self.ended.fill(&mut batch);
            if batch.is_empty() {
                return true;
            }
            if let Err(error) = self.send(&batch).await {
                self.note_failure(&error);
                if !is_passing(&error) {
                    self.ended.drop_all(&mut batch);
                }
                return false;
            }
            batch.clear();
            self.note_success();
        }
    }

    async fn send(&self, batch: &[Spanned]) -> Result<(), Unserved> {
        let body = self.body(batch).to_string();
        let request = self.client.post(self.endpoint.clone()).body(body);
        let request = request.headers(self.headers.read().clone());
        let request = request.header(CONTENT_TYPE, "application/json");
        let answer = http_client::send(request, DEADLINE, &*self.clock).await?;
        // What the collector says beside its status is not needed.
        let _ = read_body(answer, LONGEST_ANSWER).await;
        Ok(())
    }

    /// Returns the spans in the form of `ExportTraceServiceRequest`.
    fn body(&self, batch: &[Spanned]) -> Value {
        let version = env!("CARGO_PKG_VERSION");
        let resource = [
            ("service.name", self.service.as_str()),
            ("service.version", version),
            ("service.instance.id", &self.instance),
        ];
        let resource =
            resource.map(|(key, text)| json!({ "key": key, "value": { "stringValue": text } }));
        let spans: Vec<_> = batch.iter().map(Spanned::as_json).collect();
        json!({
            "resourceSpans": [{
                "resource": { "attributes": resource },
                "scopeSpans": [{
                    "scope": { "name": "token-broker", "version": version },
                    "spans": spans,
                }],
            }],
        })
    }

    fn note_failure(&self, error: &Unserved) {
        if !std::mem::replace(&mut *self.is_away.lock(), true) {
            let cause = super::chain(error);
            tracing::warn!(
                cause,
                "traces cannot be sent; they are dropped when too many wait (see otel.endpoint)"
            );
        }
    }

    fn note_success(&self) {
        let was_away = std::mem::take(&mut *self.is_away.lock());
        let dropped = self.ended.take_dropped();
        if was_away {
            tracing::info!(dropped, "traces are sent again");
        } else if dropped > 0 {
            tracing::warn!(
                dropped,
                "spans were dropped: the collector takes them too slowly"
            );
        }
    }
}

/// Returns the headers of `settings`, which logs never show.
fn headers(settings: &Otel) -> HeaderMap {
    let headers = settings.headers.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::from_str(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    });
    headers.collect()
}

/// True for a failure after which the same spans may be taken later.
fn is_passing(error: &Unserved) -> bool {
    match error {
        Unserved::Refused(status) => {
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
        }
        Unserved::TimedOut | Unserved::Unreachable(_) => true,
    }
}

/// Does `work`. Sends spans meanwhile, and the last ones at its end.
pub async fn beside(exporter: Option<&Exporter>, work: impl Future<Output = ()>) {
    let Some(exporter) = exporter else {
        return work.await;
    };
    tokio::select! {
        () = work => {}
        () = exporter.run() => {}
    }
    exporter.flush().await;
}

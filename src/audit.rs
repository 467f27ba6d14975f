//! Owns audit events: one JSON line each, floods folded, what was folded counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::clock::{Clock, Tick, Timestamp};
use crate::domain::{Caller, Network};

/// Lines of one kind from one network that are written out in full each minute; the rest is folded.
const LINES_PER_NETWORK: u32 = 5;
/// Lines of one kind from everybody that are written out in full each minute.
const LINES_PER_KIND: u32 = 500;
/// How often what was folded is summed up.
const FOLD: Duration = Duration::from_mins(1);
/// Longest user agent that is kept.
const MAX_USER_AGENT: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A session was opened and its first client secret minted.
    TokenMinted,
    /// A client secret was minted under a live session.
    TokenRefreshed,
    /// A request was refused by a rate limit.
    RateLimitExceeded,
    /// An address did what is counted as an offence, and what has no event of its own.
    SuspiciousActivity,
    /// An address earned a block.
    ClientBlocked,
    /// A request came from an origin outside the list.
    OriginRefused,
    /// A session was asked for by somebody it does not belong to, or from another network.
    SessionMismatch,
    /// A credential was not good.
    AuthFailed,
    /// An identity has used up its quota, or everybody together the budget.
    QuotaExceeded,
    /// The record of use cannot be written: nothing is minted.
    LedgerUnavailable,
    /// All sessions of an identity were ended by an operator.
    SessionsEnded,
    /// The upstream does not take our API key.
    UpstreamKeyRejected,
    /// A setting is legal but risky.
    ConfigWarning,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// In the ordinary course of things.
    Low,
    /// Worth a look when there are many.
    Medium,
    /// Worth a look.
    High,
}

impl Event {
    const fn severity(self) -> Severity {
        match self {
            Self::TokenMinted | Self::TokenRefreshed => Severity::Low,
            Self::RateLimitExceeded
            | Self::SuspiciousActivity
            | Self::OriginRefused
            | Self::SessionMismatch
            | Self::AuthFailed
            | Self::QuotaExceeded
            | Self::SessionsEnded
            | Self::ConfigWarning => Severity::Medium,
            Self::ClientBlocked | Self::UpstreamKeyRejected | Self::LedgerUnavailable => {
                Severity::High
            }
        }
    }

    /// Mints are bounded by their own pace and each is worth its line; refusals cost an attacker nothing.
    const fn folds(self) -> bool {
        !matches!(self, Self::TokenMinted | Self::TokenRefreshed)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a, D> {
    timestamp: u64,
    event: Event,
    #[serde(rename = "clientIP")]
    client_ip: Option<std::net::IpAddr>,
    user_agent: Option<&'a str>,
    severity: Severity,
    details: D,
    request_id: Option<&'a str>,
}

/// Whom a caller acts for, as an event's details say it. Nothing for callers without identity.
#[derive(Serialize)]
pub struct Who<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

impl<'a> From<&'a Caller> for Who<'a> {
    fn from(caller: &'a Caller) -> Self {
        let account = caller.identity.as_deref().map(|known| &known.account);
        Self {
            issuer: account.map(|account| &*account.issuer),
            identity: account.map(|account| &*account.subject),
            role: caller.role(),
        }
    }
}

/// Where audit lines go.
pub type Sink = Box<dyn Fn(&str) + Send + Sync>;

/// Writes audit events.
pub struct Audit {
    sink: Sink,
    clock: Arc<dyn Clock>,
    folding: Mutex<Folding>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Audit")
    }
}

/// What was written and folded in the running minute. Bounded: at most [`LINES_PER_KIND`] networks of each kind.
#[derive(Default)]
struct Folding {
    since: Option<Tick>,
    kinds: HashMap<Event, Kind>,
}

#[derive(Default)]
struct Kind {
    written: u32,
    folded: u64,
    by_network: HashMap<Option<Network>, u32>,
}

impl Kind {
    /// True when one more line of this kind from `network` is to be written out.
    fn admits(&mut self, network: Option<Network>) -> bool {
        let known = self.by_network.get(&network).copied().unwrap_or_default();
        let admitted = self.written < LINES_PER_KIND && known < LINES_PER_NETWORK;
        if admitted {
            self.written += 1;
            self.by_network.insert(network, known + 1);
        } else {
            self.folded += 1;
        }
        admitted
    }
}

impl Audit {
    /// Audit events written to `sink`, a line at a time.
    pub fn new(clock: Arc<dyn Clock>, sink: Sink) -> Self {
        Self {
            sink,
            clock,
            folding: Mutex::default(),
        }
    }

    /// Records what `caller` did or suffered. In a flood, details that would be folded are not even put together.
    pub fn record<D: Serialize>(&self, event: Event, caller: &Caller, details: impl FnOnce() -> D) {
        if event.folds() && !self.admits(event, Some(caller.network())) {
            return;
        }
        let user_agent = caller
            .user_agent
            .as_deref()
            .map(|text| &text[..text.floor_char_boundary(MAX_USER_AGENT)]);
        self.write(&Line {
            client_ip: Some(caller.address()),
            user_agent,
            request_id: Some(caller.request_id.as_str()),
            ..Line::of(event, self.clock.now(), details())
        });
    }

    /// Records what concerns no caller.
    pub fn note(&self, event: Event, details: impl Serialize) {
        if self.admits(event, None) {
            self.write(&Line::of(event, self.clock.now(), details));
        }
    }

    /// Sums up what was folded, if the minute is over. Called once in a while, and at the end with `even_early`.
    pub fn sum_up(&self, even_early: bool) {
        let summary = {
            let mut folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
            let over = folding
                .since
                .is_some_and(|since| self.clock.tick().since(since) >= FOLD);
            if !over && !even_early {
                return;
            }
            std::mem::take(&mut *folding)
        };
        for (event, kind) in summary.kinds {
            if kind.folded > 0 {
                let details = json!({ "folded": kind.folded, "written": kind.written });
                self.write(&Line::of(event, self.clock.now(), details));
            }
        }
    }

    fn admits(&self, event: Event, network: Option<Network>) -> bool {
        self.sum_up(false);
        let mut folding = self.folding.lock().unwrap_or_else(PoisonError::into_inner);
        folding.since.get_or_insert_with(|| self.clock.tick());
        folding.kinds.entry(event).or_default().admits(network)
    }

    fn write(&self, line: &Line<'_, impl Serialize>) {
        match serde_json::to_string(line) {
            Ok(text) => (self.sink)(&text),
            Err(error) => tracing::error!(%error, "an audit event could not be written"),
        }
    }
}

impl<D> Line<'_, D> {
    fn of(event: Event, now: Timestamp, details: D) -> Self {
        Self {
            timestamp: now.as_millis(),
            event,
            client_ip: None,
            user_agent: None,
            severity: event.severity(),
            details,
            request_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::RequestId;

    fn audit() -> (Arc<ManualClock>, Arc<Mutex<Vec<Value>>>, Audit) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let sink = move |line: &str| {
            written
                .lock()
                .unwrap()
                .push(serde_json::from_str(line).unwrap());
        };
        (Arc::clone(&clock), lines, Audit::new(clock, Box::new(sink)))
    }

    fn caller(host: u32) -> Caller {
        let address = std::net::Ipv4Addr::from_bits(host).into();
        let mut caller = Caller::at(address, RequestId::parse("req_1").unwrap());
        caller.user_agent = Some("evil\n\u{1b}[31m\"agent".into());
        caller
    }

    #[test]
    fn a_line_is_one_json_object_with_the_promised_fields_whatever_the_caller_sends() {
        let (_, lines, audit) = audit();
        audit.record(
            Event::RateLimitExceeded,
            &caller(0x0102_0304),
            || json!({ "limit": 10 }),
        );
        let expected = json!({
            "timestamp": 1_640_995_200_000_u64, "event": "rate_limit_exceeded", "clientIP": "1.2.3.4",
            "userAgent": "evil\n\u{1b}[31m\"agent", "severity": "medium", "details": { "limit": 10 }, "requestId": "req_1",
        });
        assert_eq!(*lines.lock().unwrap(), [expected]);
    }

    #[test]
    fn a_flood_is_folded_and_its_count_is_kept() {
        let (clock, lines, audit) = audit();
        let total = 100_000_u32;
        for number in 0..total {
            audit.record(Event::RateLimitExceeded, &caller(number), || json!({}));
        }
        clock.advance(FOLD);
        audit.sum_up(false);
        let lines = lines.lock().unwrap();
        assert!(lines.len() <= 5_000, "{} lines", lines.len());
        let folded: u64 = lines
            .iter()
            .filter_map(|line| line["details"]["folded"].as_u64())
            .sum();
        let written = lines
            .iter()
            .filter(|line| line["requestId"].is_string())
            .count();
        assert_eq!(folded + written as u64, u64::from(total));
    }

    #[test]
    fn one_noisy_network_does_not_hide_another() {
        let (_, lines, audit) = audit();
        for _ in 0..1000 {
            audit.record(Event::OriginRefused, &caller(1), || json!({}));
        }
        audit.record(Event::OriginRefused, &caller(2), || json!({}));
        let last = lines.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last["clientIP"], "0.0.0.2");
    }

    #[test]
    fn every_mint_has_its_line() {
        let (_, lines, audit) = audit();
        for _ in 0..1000 {
            audit.record(Event::TokenMinted, &caller(1), || json!({}));
        }
        assert_eq!(lines.lock().unwrap().len(), 1000);
    }
}

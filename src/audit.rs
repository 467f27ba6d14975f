//! Writes audit events: one JSON line each. Floods are folded into counts.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::clock::Clock;
use crate::domain::{Caller, Party};
use crate::limit::Folding;

/// Longest part of a user agent that is written, in bytes.
const MAX_USER_AGENT: usize = 256;

/// The kind of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A session was opened and its first client secret minted.
    TokenMinted,
    /// A client secret was minted under a live session.
    TokenRefreshed,
    /// A request was refused by a rate limit.
    RateLimitExceeded,
    /// A caller committed an offence that has no event of its own.
    SuspiciousActivity,
    /// A caller earned a block.
    ClientBlocked,
    /// A request came from an origin outside the list.
    OriginRefused,
    /// A session was presented by a caller that it does not belong to, or from another network.
    SessionMismatch,
    /// A credential was refused.
    AuthFailed,
    /// An identity has used up its quota, or all callers together have used up a budget.
    QuotaExceeded,
    /// The record of use cannot be written, so nothing is minted.
    LedgerUnavailable,
    /// An operator ended all sessions of an identity.
    SessionsEnded,
    /// The upstream rejects the API key.
    UpstreamKeyRejected,
    /// A setting is legal but risky.
    ConfigWarning,
}

impl Event {
    /// Returns `low` for ordinary events, `medium` for events that matter when there are many, and `high` for events
    /// that matter at once.
    const fn severity(self) -> &'static str {
        match self {
            Self::TokenMinted | Self::TokenRefreshed => "low",
            Self::ClientBlocked | Self::UpstreamKeyRejected | Self::LedgerUnavailable => "high",
            Self::RateLimitExceeded
            | Self::SuspiciousActivity
            | Self::OriginRefused
            | Self::SessionMismatch
            | Self::AuthFailed
            | Self::QuotaExceeded
            | Self::SessionsEnded
            | Self::ConfigWarning => "medium",
        }
    }

    /// Returns whether a flood of these events is folded. Mints are bounded by their own pace, and each is worth its
    /// line. Refusals cost an attacker nothing.
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
    client_ip: Option<IpAddr>,
    user_agent: Option<&'a str>,
    severity: &'static str,
    details: Details<'a, D>,
    request_id: Option<&'a str>,
}

/// The details of an event, and the identity that the caller acts for.
#[derive(Serialize)]
struct Details<'a, D> {
    #[serde(flatten)]
    given: D,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

/// The writer of audit lines.
pub type Sink = Box<dyn Fn(&str) + Send + Sync>;

/// Writes audit events.
pub struct Audit {
    sink: Sink,
    clock: Arc<dyn Clock>,
    folding: Folding<Event>,
}

impl Audit {
    /// Returns a log that writes each event as one line to `sink`.
    pub fn new(clock: Arc<dyn Clock>, sink: Sink) -> Self {
        Self {
            sink,
            clock,
            folding: Folding::default(),
        }
    }

    /// Records an event that `caller` caused. `details` runs only when the event is written.
    pub fn record<D: Serialize>(&self, event: Event, caller: &Caller, details: impl FnOnce() -> D) {
        if !event.folds() || self.admits(event, Some(Party::Network(caller.network()))) {
            self.write(event, Some(caller), details());
        }
    }

    /// Records an event that no caller caused.
    pub fn note(&self, event: Event, details: impl Serialize) {
        if self.admits(event, None) {
            self.write(event, None, details);
        }
    }

    /// Writes the counts of folded events when their minute is over, or at once when `even_early`.
    pub fn sum_up(&self, even_early: bool) {
        for (event, lines) in self.folding.sum_up(self.clock.tick(), even_early) {
            let details = json!({ "folded": lines.folded, "written": lines.written });
            self.write(event, None, details);
        }
    }

    fn admits(&self, event: Event, party: Option<Party>) -> bool {
        self.sum_up(false);
        self.folding.admits(event, party, self.clock.tick())
    }

    fn write(&self, event: Event, caller: Option<&Caller>, given: impl Serialize) {
        let account = caller.and_then(|caller| Some(&caller.identity.as_ref()?.account));
        let user_agent = caller.and_then(|caller| caller.user_agent.as_deref());
        let line = serde_json::to_string(&Line {
            timestamp: self.clock.now().as_millis(),
            event,
            client_ip: caller.map(Caller::address),
            user_agent: user_agent.map(|text| &text[..text.floor_char_boundary(MAX_USER_AGENT)]),
            severity: event.severity(),
            details: Details {
                given,
                issuer: account.map(|account| &*account.issuer),
                identity: account.map(|account| &*account.subject),
                role: caller.and_then(Caller::role),
            },
            request_id: caller.map(|caller| caller.request_id.as_str()),
        });
        match line {
            Ok(line) => (self.sink)(&line),
            Err(error) => tracing::error!(%error, ?event, "audit event could not be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
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
        clock.advance(Duration::from_mins(1));
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

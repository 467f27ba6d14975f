//! Writes audit events: one log line each. Floods are folded into counts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use tracing::field::display;

use crate::clock::Clock;
use crate::config::LogIdentity;
use crate::domain::{Caller, Party};
use crate::limit::Folding;
use crate::metrics::Vitals;

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
    /// An offer was exchanged for an answer, and the call is watched.
    CallOpened,
    /// A call is over.
    CallEnded,
    /// A recording was transcribed.
    Transcribed,
    /// A GPT-Live session whose creation had an unknown outcome was found, and is hung up.
    CallAdopted,
    /// The provider has announced a GPT-Live session that is none of the broker's.
    UnownedSession,
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
    /// A ticket was shown that had been used before.
    TicketReused,
    /// A credential was refused.
    AuthFailed,
    /// An identity has used up its quota, or all callers together have used up a budget.
    QuotaExceeded,
    /// A call used what has no price, so its cost is too low.
    ZeroPrice,
    /// The provider reports a use that cannot be right.
    OddUsage,
    /// The record of use cannot be written, so nothing is minted.
    LedgerUnavailable,
    /// An operator ended all sessions of an identity.
    SessionsEnded,
    /// The upstream rejects the API key.
    UpstreamKeyRejected,
    /// A webhook was not signed with this broker's secret, or too long ago.
    WebhookRefused,
    /// A setting is legal but risky.
    ConfigWarning,
    /// Settings were read again, and are in force.
    SettingsReloaded,
    /// Changed settings hold a mistake and were not applied. The earlier settings stay in force.
    SettingsRefused,
}

impl Event {
    /// Returns how much the event matters.
    const fn severity(self) -> Severity {
        match self {
            Self::TokenMinted
            | Self::TokenRefreshed
            | Self::CallOpened
            | Self::CallEnded
            | Self::Transcribed => Severity::Low,
            Self::ClientBlocked | Self::UpstreamKeyRejected | Self::LedgerUnavailable => {
                Severity::High
            }
            Self::RateLimitExceeded
            | Self::SuspiciousActivity
            | Self::OriginRefused
            | Self::SessionMismatch
            | Self::TicketReused
            | Self::AuthFailed
            | Self::QuotaExceeded
            | Self::CallAdopted
            | Self::UnownedSession
            | Self::ZeroPrice
            | Self::OddUsage
            | Self::SessionsEnded
            | Self::WebhookRefused
            | Self::ConfigWarning
            | Self::SettingsReloaded
            | Self::SettingsRefused => Severity::Medium,
        }
    }

    /// Returns whether a flood of these events is folded. Mints are bounded by their own pace, and each is worth its
    /// line. Refusals cost an attacker nothing.
    const fn folds(self) -> bool {
        !matches!(
            self,
            Self::TokenMinted
                | Self::TokenRefreshed
                | Self::CallOpened
                | Self::CallEnded
                | Self::Transcribed
        )
    }
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The event is ordinary.
    Low,
    /// The event matters when there are many of its kind.
    Medium,
    /// One such event matters already.
    High,
}

/// One line of the audit log. Its time and its request are those of the log line.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// The kind of the event.
    pub event: Event,
    /// How much the event matters.
    pub severity: Severity,
    /// The address of the caller.
    pub client_ip: Option<IpAddr>,
    /// The `User-Agent` of the caller, cut to a bearable length.
    pub user_agent: Option<&'a str>,
    /// What is known of this kind of event, and `issuer`, `identity` and `role` of the caller.
    pub details: Value,
}

/// The writer of audit lines.
pub type Sink = Box<dyn Fn(&Line<'_>) + Send + Sync>;

/// Writes one line to the log, at the level that fits its severity.
pub fn log(line: &Line<'_>) {
    let (event, severity) = (word(line.event), word(line.severity));
    let client_ip = line.client_ip.map(display);
    let user_agent = line.user_agent;
    // JSON leaves some control characters as they are, which a terminal may obey.
    let mut details = serde_json::to_string(&line.details).unwrap_or_default();
    if details.contains(char::is_control) {
        details = details.replace(char::is_control, "\u{fffd}");
    }
    match line.severity {
        Severity::Low => {
            tracing::info!(target: "audit", %event, %severity, client_ip, user_agent, %details, "{event}");
        }
        Severity::Medium => {
            tracing::warn!(target: "audit", %event, %severity, client_ip, user_agent, %details, "{event}");
        }
        Severity::High => {
            tracing::error!(target: "audit", %event, %severity, client_ip, user_agent, %details, "{event}");
        }
    }
}

/// Returns what a variant without members is called in JSON.
fn word(variant: impl Serialize) -> String {
    fmt::from_fn(|formatter| variant.serialize(formatter)).to_string()
}

/// Writes audit events.
pub struct Audit {
    sink: Sink,
    clock: Arc<dyn Clock>,
    folding: Folding<Event>,
    shown: LogIdentity,
    vitals: Arc<Vitals>,
}

impl Audit {
    /// Returns an audit log that gives each line to `sink`, names identities as `shown` says, and counts in `vitals`.
    pub fn new(sink: Sink, shown: LogIdentity, vitals: Arc<Vitals>) -> Self {
        Self {
            sink,
            clock: vitals.clock(),
            folding: Folding::default(),
            shown,
            vitals,
        }
    }

    /// Records an event that `caller` caused. `details` runs only when the event is written.
    pub fn record(&self, event: Event, caller: &Caller, details: impl FnOnce() -> Value) {
        self.count(event);
        if !event.folds() || self.admits(event, Some(Party::Network(caller.network()))) {
            self.write(event, Some(caller), details());
        }
    }

    /// Records a warning about the settings when they are read. Such warnings are few and never folded.
    pub fn warn_of_setting(&self, warning: &str) {
        self.write(Event::ConfigWarning, None, json!({ "warning": warning }));
    }

    /// Records an event that no caller caused.
    pub fn note(&self, event: Event, details: Value) {
        self.count(event);
        if !event.folds() || self.admits(event, None) {
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

    fn count(&self, event: Event) {
        let events = &self.vitals.series.audit_events;
        events.add([&word(event)], 1);
    }

    fn admits(&self, event: Event, party: Option<Party>) -> bool {
        self.sum_up(false);
        self.folding.admits(event, party, self.clock.tick())
    }

    fn write(&self, event: Event, caller: Option<&Caller>, mut details: Value) {
        let identity = caller.and_then(|caller| caller.identity.as_ref());
        if let (Some(known), Some(members)) = (identity, details.as_object_mut()) {
            members.insert("issuer".to_owned(), json!(&*known.account.issuer));
            let name = self.shown.name(&known.account);
            members.extend(name.map(|name| ("identity".to_owned(), name.into())));
            let role = known.role.as_ref().map(|role| json!(role));
            members.extend(role.map(|role| ("role".to_owned(), role)));
        }
        let user_agent = caller.and_then(|caller| caller.user_agent.as_deref());
        (self.sink)(&Line {
            event,
            severity: event.severity(),
            client_ip: caller.map(Caller::address),
            user_agent: user_agent.map(|text| &text[..text.floor_char_boundary(MAX_USER_AGENT)]),
            details,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::domain::RequestId;

    fn audit() -> (Arc<ManualClock>, Arc<Mutex<Vec<Value>>>, Audit) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        let sink = move |line: &Line<'_>| {
            written
                .lock()
                .unwrap()
                .push(serde_json::to_value(line).unwrap());
        };
        let vitals = Arc::new(Vitals::new(clock.clone()));
        let audit = Audit::new(Box::new(sink), LogIdentity::Hashed, vitals);
        (clock, lines, audit)
    }

    fn caller(host: u32) -> Caller {
        let address = std::net::Ipv4Addr::from_bits(host).into();
        let mut caller = Caller::at(address, RequestId::parse("req_1").unwrap());
        caller.user_agent = Some("evil\n\u{1b}[31m\"agent".into());
        caller
    }

    #[test]
    fn a_line_has_the_promised_fields_whatever_the_caller_sends() {
        let (_, lines, audit) = audit();
        audit.record(
            Event::RateLimitExceeded,
            &caller(0x0102_0304),
            || json!({ "limit": 10 }),
        );
        let expected = json!({
            "event": "rate_limit_exceeded", "severity": "medium", "client_ip": "1.2.3.4",
            "user_agent": "evil\n\u{1b}[31m\"agent", "details": { "limit": 10 },
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
            .filter(|line| line["client_ip"].is_string())
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
        assert_eq!(last["client_ip"], "0.0.0.2");
    }

    #[test]
    fn every_mint_has_its_line() {
        let (_, lines, audit) = audit();
        for _ in 0..1000 {
            audit.record(Event::TokenMinted, &caller(1), || json!({}));
        }
        assert_eq!(lines.lock().unwrap().len(), 1000);
    }

    #[test]
    fn every_end_of_a_call_has_its_line() {
        let (_, lines, audit) = audit();
        for _ in 0..1000 {
            audit.note(Event::CallEnded, json!({}));
        }
        assert_eq!(lines.lock().unwrap().len(), 1000);
    }

    #[test]
    fn every_warning_about_the_settings_at_start_has_its_line() {
        let (_, lines, audit) = audit();
        for number in 0..20 {
            audit.warn_of_setting(&number.to_string());
        }
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[19]["event"], "config_warning");
        assert_eq!(lines[19]["details"]["warning"], "19");
    }
}

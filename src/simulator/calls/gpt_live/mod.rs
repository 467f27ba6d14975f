//! GPT-Live sessions of the simulated provider: what they are, how they begin and how they end.
//!
//! Decisions, forks, stored sessions, SIP and the primary WebSocket are not simulated.

mod announcement;
mod backend;
mod client_event;
mod create;
mod meter;
mod permissions;
mod pulse;
mod switches;
mod talk;

use serde_json::{Value, json};

use self::meter::Meter;
use self::permissions::Permissions;
use super::Switches;
use super::live::{Live, Peer, token};
use crate::clock::Timestamp;

pub use self::announcement::Announcement;
pub(super) use self::client_event::obey;
pub(in crate::simulator) use self::create::create;
pub(super) use self::pulse::{pass, pulse};
pub use self::switches::{AnnounceTo, Drain, LiveSwitches, Reports};
#[cfg(feature = "peer")]
pub(super) use self::talk::interrupt;
pub(super) use self::talk::play;

/// Lifetime of a session, in seconds.
const SECONDS: u64 = 7200;

/// What a GPT-Live session has beside what all calls have.
pub(super) struct GptLive {
    /// What may pass over the data channel.
    pub(super) permissions: Permissions,
    pub(super) meter: Meter,
    /// True while the session does not hear its browser.
    pub(super) is_muted: bool,
    /// When a session that was asked to close ends, and the id of the event that asked.
    closing: Option<(Timestamp, Value)>,
    /// The backend's work that waits for the result of a tool.
    waiting: Option<backend::Task>,
}

impl GptLive {
    fn of(session: &Value, now: Timestamp) -> Self {
        Self {
            permissions: Permissions::of(&session["client"]),
            meter: Meter::of(session, now),
            is_muted: false,
            closing: None,
            waiting: None,
        }
    }
}

impl Live {
    /// Returns a new GPT-Live session of `key`, which asked for `asked`.
    pub(super) fn gpt_live(
        key: &str,
        offer: String,
        asked: &Value,
        (now, switches): (Timestamp, &Switches),
    ) -> Self {
        let mut live = Self::new(key, offer, &Value::Null, (now, switches));
        live.id = format!("live_u0_{}", token::<24>());
        let end = now.as_seconds() + switches.session_seconds.unwrap_or(SECONDS);
        live.session = resolved(asked, &live.id, end);
        live.gpt = Some(GptLive::of(&live.session, now));
        live
    }
}

/// Returns the session as snapshots show it. Its status is `active`, always.
fn resolved(asked: &Value, id: &str, end: u64) -> Value {
    let mut session = json!({
        "id": id,
        "object": "live.session",
        "status": "active",
        "expires_at": end,
        "instructions": "You are a simulated assistant. Nobody listens, and nothing is said.",
        "input": [],
        "audio": {"output": {"voice": "marin"}},
        "store": false,
        "client": {"data_channel": {"allowed_client_events": "all", "allowed_server_events": "all"}},
        "delegation": null,
        "triggers": [],
        "wake_policy": null,
        "idle_timeout_s": null,
        "safety_identifier": null,
    });
    for (name, value) in asked.as_object().into_iter().flatten() {
        let is_server_default = value.is_null() && !session[name.as_str()].is_null();
        if !is_server_default {
            session[name.as_str()] = value.clone();
        }
    }
    session
}

/// Returns the event that begins each connection.
pub(super) fn started(live: &Live, switches: &Switches) -> Value {
    let mut session = live.session.clone();
    if switches.wrong_session {
        session["id"] = format!("live_u0_{}", token::<24>()).into();
    }
    json!({"type": "session.started", "session": session})
}

/// Greets a browser whose data channel has opened.
pub(super) fn greet(live: &mut Live, switches: &Switches) {
    let is_restricted = |own: &GptLive| own.permissions.is_restricted();
    if live.gpt.as_ref().is_some_and(is_restricted) {
        let message = "The data channel of this session is restricted.";
        let info = json!({"type": "info", "code": "data_channel_permissions", "message": message});
        live.emit_anyway(info, switches);
    }
    let started = started(live, switches);
    live.emit_to(Peer::Browser, started, switches);
}

/// Closes the session at once, and tells everybody why and what was used.
pub(super) fn close(live: &mut Live, reason: &str, at: (Timestamp, &Switches)) {
    close_for(live, reason, &Value::Null, at);
}

/// Closes the session as [`close`] does, at the wish of the event with the id `wish`.
fn close_for(live: &mut Live, reason: &str, wish: &Value, (now, switches): (Timestamp, &Switches)) {
    let Some(own) = &live.gpt else {
        return;
    };
    let usage = own.meter.last(now, &switches.live);
    let mut closed = json!({"type": "session.closed", "reason": reason, "session": live.session, "usage": usage});
    if !wish.is_null() {
        closed["client_event_id"] = wish.clone();
    }
    live.emit(closed, switches);
    live.end(now, switches);
}

//! The last messages to a client at the end of its relay, with codes that its SDK understands.

use serde_json::{Value, json};

use super::policy::{Flaw, Refusal};
use crate::domain::EndReason;
use crate::websocket::{CloseCode, CloseFrame, Error, Message, ProtocolError};

/// Longest reason in a close frame, in bytes (RFC 6455 §5.5).
const MAX_REASON: usize = 123;
/// The type of errors that a client has caused.
const INVALID: &str = "invalid_request_error";

/// How a relay ends for its client.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The event that says why.
    pub(super) event: Option<String>,
    pub(super) close: Option<CloseFrame>,
}

impl Farewell {
    fn new(code: CloseCode, reason: &'static str) -> Self {
        Self {
            event: None,
            close: Some(CloseFrame {
                code,
                reason: reason.into(),
            }),
        }
    }

    /// An event of this type and code, and then the close frame. The reason is the event's message.
    fn telling((kind, error): (&str, &str), code: CloseCode, reason: &'static str) -> Self {
        let error = json!({ "type": kind, "code": error, "message": reason, "param": null });
        Self {
            event: Some(event(&error)),
            ..Self::new(code, reason)
        }
    }

    /// Returns the last messages to a client whose relay ends for this reason. SDKs stop for good after `insufficient_quota` and
    /// `invalid_api_key`, and come back after 1011, 1012 and 1013.
    pub(super) fn of(reason: EndReason) -> Self {
        match reason {
            EndReason::TimeLimit => Self::telling(
                (INVALID, "session_expired"),
                CloseCode::Away,
                "Your session hit its maximum duration.",
            ),
            EndReason::MoneyLimit => Self::telling(
                ("insufficient_quota", "insufficient_quota"),
                CloseCode::Policy,
                "The session has reached its limit of cost.",
            ),
            EndReason::TurnLimit => Self::telling(
                ("insufficient_quota", "insufficient_quota"),
                CloseCode::Policy,
                "The session has reached its limit of answers.",
            ),
            EndReason::Idle | EndReason::NotJoined => Self::telling(
                (INVALID, "session_expired"),
                CloseCode::Normal,
                "The session ended because nobody spoke.",
            ),
            EndReason::HungUp => Self::new(CloseCode::Normal, "hung up"),
            EndReason::LoggedOut | EndReason::Operator => Self::telling(
                (INVALID, "invalid_api_key"),
                CloseCode::Policy,
                "The session was ended by the service.",
            ),
            EndReason::PersonaViolation => Self::telling(
                (INVALID, "invalid_api_key"),
                CloseCode::Policy,
                "The session was changed in ways that are not allowed.",
            ),
            EndReason::Blind | EndReason::Provider => Self::lost(),
            EndReason::Shutdown => Self::new(CloseCode::Restart, "service restart"),
        }
    }

    /// The provider's connection broke.
    pub(super) fn lost() -> Self {
        Self::telling(
            ("server_error", "server_error"),
            CloseCode::Error,
            "The connection to the provider was lost.",
        )
    }

    /// The provider has closed its connection with this frame.
    pub(super) fn of_provider(frame: Option<CloseFrame>) -> Self {
        Self {
            event: None,
            close: frame.map(redacted),
        }
    }

    /// The client sent a text that is no event.
    pub(super) fn of_flaw(flaw: Flaw) -> Self {
        let (code, reason) = match flaw {
            Flaw::NoObject => (
                CloseCode::Invalid,
                "Send each event as one JSON object with a type.",
            ),
            Flaw::Ambiguous => (CloseCode::Policy, "Send each member of an event once."),
        };
        Self::telling((INVALID, "invalid_value"), code, reason)
    }

    /// The client sent bytes instead of text.
    pub(super) fn of_binary() -> Self {
        Self::telling(
            (INVALID, "invalid_value"),
            CloseCode::Unsupported,
            "Send events as text frames.",
        )
    }

    /// The client sent audio faster than it is spoken for too long.
    pub(super) fn of_haste() -> Self {
        Self::telling(
            (INVALID, "rate_limit_exceeded"),
            CloseCode::Policy,
            "Send audio no faster than twice as fast as it is spoken, and fewer messages.",
        )
    }

    /// The client reads nothing.
    pub(super) fn of_slowness() -> Self {
        Self::new(CloseCode::Again, "too slow")
    }

    /// The client broke the protocol, or a bound. A client that is gone gets no message.
    pub(super) fn of_failure(error: &Error) -> Option<Self> {
        match error {
            Error::Capacity(_) => Some(Self::new(CloseCode::Size, "message is too large")),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Protocol(_) => Some(Self::new(CloseCode::Protocol, "")),
            Error::Utf8(_) => Some(Self::new(CloseCode::Invalid, "")),
            _ => None,
        }
    }

    /// Returns the messages that are sent.
    pub(super) fn messages(self) -> impl Iterator<Item = Message> {
        let event = self.event.map(|event| Message::Text(event.into()));
        event.into_iter().chain([Message::Close(self.close)])
    }
}

/// Returns the event that tells a client that its event was not passed on.
pub(super) fn refusal(refused: &Refusal) -> String {
    event(&json!({
        "type": INVALID,
        "code": refused.code,
        "message": refused.message,
        "param": refused.param,
        (refused.echo): refused.event_id,
    }))
}

fn event(error: &Value) -> String {
    let id = crate::domain::RequestId::random();
    json!({ "type": "error", "event_id": format!("event_{id}"), "error": error }).to_string()
}

/// Returns a close frame without anything that looks like a key.
fn redacted(frame: CloseFrame) -> CloseFrame {
    let text = frame.reason.as_str();
    let is_plain = text.len() <= MAX_REASON
        && !["sk-", "ek_", "Bearer"]
            .iter()
            .any(|key| text.contains(key));
    CloseFrame {
        reason: if is_plain { frame.reason } else { "".into() },
        ..frame
    }
}

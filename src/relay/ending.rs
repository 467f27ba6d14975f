//! The ways in which a relay ends, and the messages to each side.

use std::ops::ControlFlow;

use super::farewell::Farewell;
use crate::domain::EndReason;
use crate::websocket::{CloseCode, CloseFrame};

/// How a relay ends.
pub(super) struct Ending {
    pub(super) reason: EndReason,
    /// The last messages to the client; `None` when it has left by itself.
    pub(super) client: Option<Farewell>,
    /// How the provider's connection is closed.
    pub(super) upstream: Option<CloseFrame>,
    /// True when the model has to be stopped.
    pub(super) cancels: bool,
}

/// Whether a relay goes on.
pub(super) type Goes = ControlFlow<Ending>;

impl Ending {
    pub(super) fn new(reason: EndReason, client: Farewell) -> Goes {
        Goes::Break(Self {
            reason,
            client: Some(client),
            upstream: Some(closed(CloseCode::Normal)),
            cancels: true,
        })
    }

    /// The provider has left.
    pub(super) fn without_provider(client: Farewell) -> Goes {
        Goes::Break(Self {
            reason: EndReason::Provider,
            client: Some(client),
            upstream: None,
            cancels: false,
        })
    }

    /// The client has left.
    pub(super) fn left(upstream: Option<CloseFrame>) -> Goes {
        Goes::Break(Self {
            reason: EndReason::HungUp,
            client: None,
            upstream,
            cancels: true,
        })
    }
}

/// Returns a close frame with this code and without a reason.
pub(super) fn closed(code: CloseCode) -> CloseFrame {
    let reason = "".into();
    CloseFrame { code, reason }
}

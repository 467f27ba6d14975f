//! Behaviours of GPT-Live sessions that are not known, or that fail now and then.

use std::time::Duration;

/// Behaviours of GPT-Live sessions. The default is what was recorded.
#[derive(Clone, Debug, Default)]
pub struct LiveSwitches {
    /// When usage is reported.
    pub reports: Reports,
    /// Usage has the parts `active_seconds` and `paused_seconds`, also for models without standby.
    pub breakdown: bool,
    /// Seconds have a fraction.
    pub fractions: bool,
    /// The final usage is half a second below the last report.
    pub final_below_last: bool,
    /// How long a session that was asked to close goes on.
    pub drain: Drain,
    /// Most open sessions of one model. Further ones are refused with 429.
    pub max_sessions: Option<usize>,
    /// Where each new session is announced by a webhook.
    pub announce_to: Option<AnnounceTo>,
}

/// Where sessions are announced.
#[derive(Clone, Debug)]
pub struct AnnounceTo {
    /// The address.
    pub url: String,
    /// The secret that signs webhooks: `whsec_…`.
    pub secret: String,
}

/// When usage is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reports {
    /// Every minute.
    #[default]
    EveryMinute,
    /// Every minute in which somebody spoke.
    WhileSpoken,
    /// Never, but at the end.
    Never,
}

/// How long a session that was asked to close goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// So long.
    For(Duration),
    /// Until somebody hangs up, or it expires.
    Never,
}

impl Default for Drain {
    fn default() -> Self {
        Self::For(Duration::ZERO)
    }
}

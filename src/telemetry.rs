//! Owns where log lines go, and in which form.

use std::error::Error;
use std::fmt;
use std::io::{IsTerminal, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt as lines};

use crate::config::{Log, LogFormat};

/// The target of audit events: their lines are JSON already and are written as they are.
const AUDIT: &str = "audit";

/// Sends all log lines of this process to standard output: text on a terminal and JSON otherwise, unless the settings
/// say which.
pub fn start(settings: &Log) -> Result<(), TryInitError> {
    let text = match settings.format {
        LogFormat::Auto => std::io::stdout().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // What the operator asks for is about ordinary lines: audit events are written whatever the level.
    let asked = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let ordinary = filter_fn(|metadata| metadata.target() != AUDIT);
    let audit =
        filter_fn(|metadata| metadata.target() == AUDIT).with_max_level_hint(LevelFilter::INFO);
    let layer = if text {
        lines::layer().boxed()
    } else {
        lines::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(asked.and(ordinary)))
        .with(AuditLines.with_filter(audit))
        .try_init()
}

/// A failure and all that caused it, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Writes one audit line, whatever the form of the other lines.
pub fn audit_line(line: &str) {
    tracing::info!(target: AUDIT, line);
}

/// Writes audit lines out as they are.
struct AuditLines;

impl<S: Subscriber> Layer<S> for AuditLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Out);
    }
}

struct Out;

impl Visit for Out {
    fn record_str(&mut self, _: &Field, value: &str) {
        // A log that nobody takes is no reason to stop.
        let _ = writeln!(std::io::stdout().lock(), "{value}");
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

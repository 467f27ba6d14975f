//! Sends log lines to standard output: text on a terminal, JSON otherwise. Sends traces to a collector, if there is one.

mod export;
mod json;
mod queue;
mod traces;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::panic;
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt as lines;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::spans::TRACE;
pub use export::{Exporter, beside};
use json::{JsonFields, JsonLine};
use queue::Queue;

/// The target of audit events.
const AUDIT: &str = "audit";

/// The target of request spans.
pub const REQUEST: &str = "request";

/// Time during which lines are collected before they are written together. A write for each line costs more CPU than the
/// line itself, because each write wakes the log thread.
const GATHER: Duration = Duration::from_millis(5);

/// Upper bound on the wait for the reader of the log when the process ends.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Upper bound on the wait for the reader of the log after a panic.
const WRITE_AFTER_PANIC: Duration = Duration::from_millis(100);

/// Starts logging for this process, and collects spans for `traces`. Log calls never wait for the reader of standard output.
pub fn start(settings: &Log, traces: Option<&Exporter>) -> anyhow::Result<Running> {
    let terminal = io::stdout().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let queue = Queue::new(if terminal { Duration::ZERO } else { GATHER });
    subscribe((settings, text), &queue, traces)?;
    let writer = queue.clone();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.write_out(&mut io::stdout()))?;
    write_out_on_panic(queue.clone());
    Ok(Running(queue))
}

fn subscribe(
    (settings, text): (&Log, bool),
    queue: &Queue,
    traces: Option<&Exporter>,
) -> anyhow::Result<()> {
    // `log.filter` applies to system and access lines. Audit events are always written. Request spans are always open,
    // because a line of any level names its request.
    let always = filter_fn(|metadata| {
        metadata.target() == AUDIT || (metadata.is_span() && metadata.target() == REQUEST)
    });
    let always = always.with_max_level_hint(LevelFilter::INFO);
    let no_trace = filter_fn(|metadata| metadata.target() != TRACE);
    let no_trace = no_trace.with_max_level_hint(LevelFilter::TRACE);
    let filter = settings.filter.clone().or(always).and(no_trace);
    let layer = lines::layer().with_writer(queue.clone());
    let layer = if io::stdout().is_terminal() {
        layer
    } else {
        layer.with_ansi(false)
    };
    let layer = if text {
        layer.boxed()
    } else {
        layer.event_format(JsonLine).fmt_fields(JsonFields).boxed()
    };
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter));
    match traces {
        // A layer that may be absent would have every callsite ask it, again and again.
        None => registry.try_init()?,
        Some(traces) => registry.with(spans(traces)).try_init()?,
    }
    Ok(())
}

/// Returns the layer that collects spans for `traces`.
pub fn spans<S>(traces: &Exporter) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_shown = filter_fn(|metadata| [TRACE, REQUEST].contains(&metadata.target()));
    let is_shown = is_shown.with_max_level_hint(LevelFilter::INFO);
    traces.collecting().with_filter(is_shown)
}

/// Writes the lines that wait when a thread panics: the process may be about to abort.
fn write_out_on_panic(queue: Queue) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        queue.flush(WRITE_AFTER_PANIC);
    }));
}

/// Logging that runs. Dropping this value writes the lines that wait.
#[must_use]
pub struct Running(Queue);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.flush(LAST_WRITE);
    }
}

/// Returns the number of log lines that this process dropped because standard output was not read fast enough.
pub fn dropped_lines() -> u64 {
    queue::dropped()
}

/// Returns the message of `error` and of all its causes in one line.
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

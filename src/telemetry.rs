//! Owns where log lines go, and in which form.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt as lines};

use crate::config::{Log, LogFormat};

/// The target of audit events: their lines are JSON already and are written as they are.
const AUDIT: &str = "audit";

/// Most bytes that wait for whoever takes the log; what comes on top is left out, and counted.
const MOST_WAITING: usize = 8 * 1024 * 1024;

/// Longest time that the end waits for whoever takes the log.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sends all log lines of this process to standard output: text on a terminal and JSON otherwise, unless the settings
/// say which. Nobody waits for them to be taken: a log that is not read would otherwise stop everything.
pub fn start(settings: &Log) -> anyhow::Result<Running> {
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
    let (queue, waiting) = Queue::new();
    let (ours, audits) = (queue.clone(), AuditLines(queue.clone()));
    let layer = if text {
        lines::layer().with_writer(ours).boxed()
    } else {
        lines::layer()
            .with_writer(ours)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(asked.and(ordinary)))
        .with(audits.with_filter(audit))
        .try_init()?;
    let source = queue.clone();
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || source.write_out(&waiting))?;
    Ok(Running(queue))
}

/// Lines are written out. When this is dropped, those that wait are, too.
#[must_use]
pub struct Running(Queue);

impl Drop for Running {
    fn drop(&mut self) {
        let (done, is_done) = mpsc::sync_channel(1);
        if self.0.lines.send(Waiting::End(done)).is_ok() {
            // Whoever does not take the log does not hold up the end.
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

/// The way to the thread that writes.
#[derive(Clone)]
struct Queue {
    lines: Sender<Waiting>,
    /// Bytes that wait.
    size: Arc<AtomicUsize>,
    left_out: Arc<LeftOut>,
}

/// What is to be written.
enum Waiting {
    Line(Vec<u8>),
    /// Whoever sent this wants to know when all before it is written.
    End(mpsc::SyncSender<()>),
}

/// Lines that found no room, since that was last said.
#[derive(Default)]
struct LeftOut {
    lines: AtomicU64,
    /// Of these, audit events.
    audits: AtomicU64,
}

impl Queue {
    fn new() -> (Self, Receiver<Waiting>) {
        let (lines, waiting) = mpsc::channel();
        let queue = Self {
            lines,
            size: Arc::default(),
            left_out: Arc::default(),
        };
        (queue, waiting)
    }

    /// Puts a line, or some, behind the others, if there is room. Never waits.
    fn put(&self, line: Vec<u8>, is_audit: bool) {
        let length = line.len();
        if self.size.fetch_add(length, Ordering::Relaxed) + length <= MOST_WAITING {
            // Without a thread that writes there is no log.
            let _ = self.lines.send(Waiting::Line(line));
            return;
        }
        self.size.fetch_sub(length, Ordering::Relaxed);
        self.left_out.lines.fetch_add(1, Ordering::Relaxed);
        if is_audit {
            self.left_out.audits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, for as long as the process lives.
    fn write_out(&self, waiting: &Receiver<Waiting>) {
        while let Ok(next) = waiting.recv() {
            match next {
                Waiting::Line(line) => {
                    let mut out = io::stdout().lock();
                    // A log that nobody takes is no reason to stop.
                    let _ = out.write_all(&line).and_then(|()| out.flush());
                    drop(out);
                    self.size.fetch_sub(line.len(), Ordering::Relaxed);
                }
                Waiting::End(done) => {
                    // Whoever asked may have grown impatient.
                    let _ = done.try_send(());
                }
            }
            let lines = self.left_out.lines.swap(0, Ordering::Relaxed);
            if lines > 0 {
                let audit_events = self.left_out.audits.swap(0, Ordering::Relaxed);
                tracing::warn!(
                    lines,
                    audit_events,
                    "the log was not taken fast enough: these were left out"
                );
            }
        }
    }
}

/// One line on its way.
struct OneLine<'a>(&'a Queue);

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line.to_vec(), false);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self)
    }
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
struct AuditLines(Queue);

impl<S: Subscriber> Layer<S> for AuditLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Out(&self.0));
    }
}

struct Out<'a>(&'a Queue);

impl Visit for Out<'_> {
    fn record_str(&mut self, _: &Field, value: &str) {
        self.0.put(format!("{value}\n").into_bytes(), true);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_left_out_and_counted() {
        let (queue, waiting) = Queue::new();
        for _ in 0..10 {
            queue.put(vec![0; MOST_WAITING / 4], true);
        }
        queue.put(vec![0; 1], false);
        assert_eq!(waiting.try_iter().count(), 4);
        let left_out = &queue.left_out;
        assert_eq!(left_out.lines.load(Ordering::Relaxed), 7);
        assert_eq!(left_out.audits.load(Ordering::Relaxed), 6);
    }
}

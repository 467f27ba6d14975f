//! Collects log lines in memory, from where one thread writes them in batches.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::AUDIT;

/// Upper bound on the bytes that wait for the reader of the log. Lines beyond it are dropped and counted.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Capacity that an empty buffer keeps after a burst.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Lines dropped since the process began.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines dropped since the process began.
pub(super) fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// Lines on their way to the log thread.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    gather: Duration,
    state: Mutex<State>,
    /// Wakes the log thread: the first line has come, or somebody waits for `written`.
    filled: Condvar,
    /// Wakes callers of [`Queue::flush`].
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Bytes that the log thread is writing.
    in_flight: usize,
    /// True while the log thread waits for a first line. Nobody else has to wake it.
    idle: bool,
    /// Callers that wait for `written`.
    flushing: usize,
    dropped: Dropped,
}

/// Lines dropped since the last report.
#[derive(Default)]
struct Dropped {
    lines: u64,
    audit_events: u64,
}

impl Queue {
    /// A queue whose lines are collected for `gather` before they are written together.
    pub(super) fn new(gather: Duration) -> Self {
        Self(Arc::new(Shared {
            gather,
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
        }))
    }

    /// Appends a line, or drops it when there is no room. Never waits.
    fn put(&self, line: &[u8], is_audit: bool) {
        let mut state = self.0.state.lock();
        if state.lines.len() + state.in_flight + line.len() > MAX_BYTES {
            DROPPED.fetch_add(1, Relaxed);
            state.dropped.lines += 1;
            state.dropped.audit_events += u64::from(is_audit);
            return;
        }
        state.lines.extend_from_slice(line);
        if std::mem::take(&mut state.idle) {
            drop(state);
            self.0.filled.notify_one();
        }
    }

    /// Has all lines written without further gathering. Returns when that is done, or after `most`.
    pub(super) fn flush(&self, most: Duration) {
        // A panic inside of `put` would hold the lock.
        let Some(mut state) = self.0.state.try_lock_for(most) else {
            return;
        };
        state.flushing += 1;
        self.0.filled.notify_one();
        let unwritten = |state: &mut State| !state.lines.is_empty() || state.in_flight > 0;
        self.0.written.wait_while_for(&mut state, unwritten, most);
        state.flushing -= 1;
    }

    /// Writes lines to `out` for as long as the process lives. Write errors are ignored: a broken log stops nothing.
    pub(super) fn write_out(&self, out: &mut impl Write) {
        let mut batch = Vec::new();
        loop {
            let dropped = self.next(&mut batch);
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
            self.0.state.lock().in_flight = 0;
            self.0.written.notify_all();
            if dropped.lines > 0 {
                let Dropped {
                    lines,
                    audit_events,
                } = dropped;
                tracing::warn!(
                    lines,
                    audit_events,
                    "log lines were dropped: standard output is not read fast enough"
                );
            }
        }
    }

    /// Waits for lines, collects them for a moment, and swaps them into the empty `batch`.
    fn next(&self, batch: &mut Vec<u8>) -> Dropped {
        let mut state = self.0.state.lock();
        while state.lines.is_empty() && state.dropped.lines == 0 {
            state.idle = true;
            self.0.filled.wait(&mut state);
        }
        state.idle = false;
        let gathering = |state: &mut State| state.flushing == 0;
        self.0
            .filled
            .wait_while_for(&mut state, gathering, self.0.gather);
        std::mem::swap(&mut state.lines, batch);
        state.in_flight = batch.len();
        std::mem::take(&mut state.dropped)
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine(self, false)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> OneLine<'a> {
        OneLine(self, metadata.target() == AUDIT)
    }
}

/// Appends one formatted line, which is an audit event or not.
pub(super) struct OneLine<'a>(&'a Queue, bool);

impl Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line, self.1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Standard output whose reader decides when a write ends.
    struct Slow(mpsc::Sender<usize>, mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(bytes.len());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn running(gather: Duration) -> (Queue, mpsc::Receiver<usize>, mpsc::Sender<()>) {
        let queue = Queue::new(gather);
        let (started, writes) = mpsc::channel();
        let (allow, allowed) = mpsc::channel();
        let log = queue.clone();
        thread::spawn(move || log.write_out(&mut Slow(started, allowed)));
        (queue, writes, allow)
    }

    #[test]
    fn lines_beyond_the_bound_are_dropped_and_counted() {
        let queue = Queue::new(Duration::ZERO);
        let line = vec![b'x'; MAX_BYTES / 4];
        for _ in 0..10 {
            queue.put(&line, true);
        }
        queue.put(b"x", false);
        let state = queue.0.state.lock();
        assert_eq!(state.lines.len(), MAX_BYTES);
        assert_eq!((state.dropped.lines, state.dropped.audit_events), (7, 6));
    }

    #[test]
    fn bytes_that_are_being_written_count_against_the_bound() {
        let (queue, writes, _allow) = running(Duration::ZERO);
        queue.put(&vec![b'x'; MAX_BYTES], false);
        assert_eq!(writes.recv().unwrap(), MAX_BYTES);
        queue.put(b"x", false);
        assert_eq!(queue.0.state.lock().dropped.lines, 1);
    }

    #[test]
    fn a_flush_writes_the_lines_that_were_collected_in_one_write_without_waiting_for_more() {
        let (queue, writes, allow) = running(Duration::from_hours(1));
        for _ in 0..3 {
            queue.put(b"line\n", true);
        }
        allow.send(()).unwrap();
        queue.flush(Duration::from_secs(10));
        assert_eq!(writes.try_iter().collect::<Vec<_>>(), [15]);
    }

    #[test]
    fn a_flush_gives_up_when_nobody_reads() {
        let (queue, _writes, _allow) = running(Duration::ZERO);
        queue.put(b"line\n", true);
        queue.flush(Duration::from_millis(20));
        assert_eq!(queue.0.state.lock().in_flight, 5);
    }
}

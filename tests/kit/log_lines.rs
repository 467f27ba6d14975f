//! Lines that the code under test logs in this thread.

use std::sync::{LazyLock, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default};
use tracing_subscriber::fmt::MakeWriter;

/// With one listener in all, tracing asks only the thread that meets a line first whether anybody listens, and remembers the answer
/// for all threads. So there are always two.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Has tracing ask the listeners of all threads.
pub fn ask_all_threads() {
    LazyLock::force(&SECOND);
}

/// Lines of this thread, as long as this lasts.
pub struct Lines {
    text: &'static Mutex<Vec<u8>>,
    _listening: DefaultGuard,
}

impl Lines {
    /// Warnings and worse.
    pub fn listen() -> Self {
        ask_all_threads();
        let text: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(|| text.make_writer());
        Self {
            text,
            _listening: set_default(lines.finish()),
        }
    }

    /// What was said since the last time.
    pub fn take(&self) -> Vec<String> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&std::mem::take(&mut *text)).into_owned();
        said.lines().map(str::to_owned).collect()
    }
}

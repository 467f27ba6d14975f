//! Opens the spans that only traces show: of work that a request waits for, and of the end of a call.

use tracing::Span;
use tracing::field::Empty;

use crate::domain::{EndReason, Trace};

/// The target of spans and events that are for traces only. Without traces they cost next to nothing.
pub const TRACE: &str = "trace";

/// Does `work` in a span of its own. `code` names an error in a word.
///
/// The span is recorded below that of the request whose caller waits for it, and not at all outside of requests.
pub async fn spanned<T, E>(
    operation: &'static str,
    work: impl Future<Output = Result<T, E>>,
    code: impl FnOnce(&E) -> &'static str,
) -> Result<T, E> {
    let span = tracing::info_span!(target: TRACE, "work", operation, error = Empty);
    let done = work.await;
    if let Err(error) = &done {
        span.record("error", code(error));
    }
    done
}

/// Opens the span of the end of a call or a relay that the request at `opened` has opened. It begins a trace of its own, which
/// links to that request: a span from one end of a call to the other would show nothing until the call is over.
pub fn ending(opened: Option<Trace>) -> Span {
    opened.map_or_else(Span::none, |opened| {
        tracing::info_span!(
            target: TRACE,
            "end",
            operation = "end",
            link = %opened,
            reason = Empty,
            seconds = Empty,
            turns = Empty,
        )
    })
}

/// Notes in the current span of an end what the call was like.
pub fn note_end(reason: Option<EndReason>, seconds: u64, turns: u64) {
    let span = Span::current();
    span.record("reason", reason.map(EndReason::as_str));
    span.record("seconds", seconds);
    span.record("turns", turns);
}

//! Formats log lines as JSON: one object a line, with the fields of the request that it belongs to.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::AUDIT;

/// The format of a whole line.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\",\"target\":", metadata.level())?;
        write_text(&mut out, metadata.target())?;
        let mut members = Members {
            out: out.by_ref(),
            is_audit: metadata.target() == AUDIT,
            result: Ok(()),
        };
        event.record(&mut members);
        members.result?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                out.write_str(&fields.fields)?;
            }
        }
        out.write_str("}\n")
    }
}

/// The format of the fields of an event or a span: `,"name":value` for each of them, so that they follow one another.
pub(super) struct JsonFields;

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, out: Writer<'w>, fields: R) -> fmt::Result {
        let mut members = Members {
            out,
            is_audit: false,
            result: Ok(()),
        };
        fields.record(&mut members);
        members.result
    }

    fn add_fields(
        &self,
        current: &'w mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

struct Members<'w> {
    out: Writer<'w>,
    /// True for an audit event, whose `details` are JSON already.
    is_audit: bool,
    result: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        // Names are constants of the code.
        let out = &mut self.out;
        let written = [",\"", field.name(), "\":"]
            .into_iter()
            .try_for_each(|part| out.write_str(part));
        self.result = self.result.and(written).and_then(|()| value(out));
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let value = value.is_finite().then_some(value);
        self.member(field, |out| match value {
            Some(value) => write!(out, "{value}"),
            None => out.write_str("null"),
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |out| write_text(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let is_json = self.is_audit && field.name() == "details";
        self.member(field, |out| {
            if is_json {
                return write!(out, "{value:?}");
            }
            out.write_char('"')?;
            let written = write!(Escaped(out), "{value:?}");
            // Also behind a value that fails, because the fields of a span stay.
            out.write_char('"').and(written)
        });
    }
}

/// Writes the inside of a JSON string.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) {
            return self.0.write_str(text);
        }
        let escaped = serde_json::to_string(text).map_err(|_| fmt::Error)?;
        self.0.write_str(&escaped[1..escaped.len() - 1])
    }
}

/// Writes `text` as a JSON string.
fn write_text(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    Escaped(out).write_str(text)?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::Value;
    use tracing::subscriber::with_default;

    use super::*;

    /// Writes its text in pieces, as values of several parts do.
    struct InPieces(bool);

    const TEXT: &str = "a\"\\\né\u{1b}\"";

    impl fmt::Display for InPieces {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            for piece in ["a\"", "", "\\", "\né", "\u{1b}"] {
                formatter.write_str(piece)?;
            }
            formatter.write_char('"')?;
            if self.0 { Ok(()) } else { Err(fmt::Error) }
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(log: impl FnOnce()) -> Value {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(JsonLine)
            .fmt_fields(JsonFields)
            .with_writer(move || writer.clone())
            .finish();
        with_default(subscriber, log);
        let written = lines.0.lock();
        serde_json::from_slice(&written).unwrap()
    }

    #[test]
    fn a_text_that_is_written_in_pieces_is_one_json_string() {
        let line = line(|| {
            let span = tracing::info_span!("request", inside = %InPieces(true));
            let _entered = span.enter();
            tracing::info!(field = %InPieces(true), "{}", InPieces(true));
        });
        for name in ["inside", "field", "message"] {
            assert_eq!(line[name], TEXT, "{name}");
        }
    }

    #[test]
    fn a_value_that_fails_to_be_written_breaks_no_later_line_of_its_span() {
        let line = line(|| {
            let span = tracing::info_span!("request", inside = tracing::field::Empty);
            span.record("inside", tracing::field::display(InPieces(false)));
            let _entered = span.enter();
            tracing::info!("said");
        });
        assert_eq!(line["message"], "said");
    }
}

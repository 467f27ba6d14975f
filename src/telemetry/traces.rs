//! Collects the spans of traces: a layer of the log, which keeps each span until it ends, and a bounded queue of those that have.
//!
//! The span of a request ends with its answer, not when the last log line of the request is written: a relay's lines name the
//! request that opened it, hours later.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::{Clock, Tick};
use crate::domain::Trace;

/// Upper bound on the spans that wait to be sent. Further ones are dropped and counted.
const MOST: usize = 4096;
/// Spans that are sent together.
pub(super) const BATCH: usize = 512;

/// The kind of the span of a request, in the numbers of OTLP.
const SERVER: u8 = 2;
/// The kind of the span of work that others are asked to do.
const CLIENT: u8 = 3;
/// The kind of the span of an end.
const INTERNAL: u8 = 1;
/// The status of work that failed.
const ERROR: u8 = 2;

/// The fields of spans and events that traces show, and their names there. No other field leaves the process.
const SHOWN: [(&str, &str); 11] = [
    ("request_id", "broker.request_id"),
    ("identity", "broker.identity"),
    ("persona", "broker.persona"),
    ("route", "http.route"),
    ("method", "http.request.method"),
    ("status", "http.response.status_code"),
    ("code", "error.type"),
    ("error", "error.type"),
    ("reason", "broker.end_reason"),
    ("seconds", "broker.seconds"),
    ("turns", "broker.turns"),
];

/// A span, as OTLP has it. While it is open, its end is not set.
pub(super) struct Spanned {
    trace_id: String,
    span_id: String,
    parent_id: String,
    link: String,
    name: String,
    kind: u8,
    /// A moment on both clocks, which all spans of a trace share: the wall clock's in nanoseconds since the Unix epoch.
    anchor: (u64, Tick),
    start: Tick,
    end: Tick,
    attributes: Vec<(&'static str, Value)>,
    is_failure: bool,
}

impl Spanned {
    /// Returns a span without a place in a trace that starts now.
    fn new(clock: &dyn Clock) -> Self {
        let (wall, now) = (clock.now().as_millis() * 1_000_000, clock.tick());
        Self {
            trace_id: String::new(),
            span_id: String::new(),
            parent_id: String::new(),
            link: String::new(),
            name: String::new(),
            kind: CLIENT,
            anchor: (wall, now),
            start: now,
            end: now,
            attributes: Vec::new(),
            is_failure: false,
        }
    }

    /// Gives the span its place: that of a request, the first one of a trace that links to another one, or one below
    /// `parent`. Returns false when there is none.
    fn take_place(&mut self, parent: Option<&OpenSpan>) -> bool {
        if !self.trace_id.is_empty() {
            self.kind = SERVER;
        } else if !self.link.is_empty() {
            self.kind = INTERNAL;
            let begun = Trace::begin();
            (self.trace_id, self.span_id) = (begun.trace_id(), begun.span_id());
        } else if let Some(parent) = parent {
            self.trace_id.clone_from(&parent.trace_id);
            self.parent_id.clone_from(&parent.span_id);
            self.span_id = Trace::new_span_id();
            self.anchor = parent.anchor;
        }
        !self.trace_id.is_empty()
    }

    /// Returns where the work within this span belongs.
    fn opened(&self) -> OpenSpan {
        OpenSpan {
            trace_id: self.trace_id.clone(),
            span_id: self.span_id.clone(),
            anchor: self.anchor,
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(known, _)| *known == name)?;
        value["stringValue"].as_str()
    }

    /// Returns the span in OTLP's JSON.
    pub(super) fn as_json(&self) -> Value {
        let moment = |tick: Tick| {
            let (wall, anchor) = self.anchor;
            // Wide numbers are texts there.
            let since = tick.as_nanos().saturating_sub(anchor.as_nanos());
            (wall + since).to_string()
        };
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(key, value)| json!({ "key": key, "value": value }));
        let status = if self.is_failure {
            json!({ "code": ERROR })
        } else {
            json!({})
        };
        let mut span = json!({
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": moment(self.start),
            "endTimeUnixNano": moment(self.end),
            "attributes": attributes.collect::<Vec<_>>(),
            "status": status,
        });
        if !self.parent_id.is_empty() {
            span["parentSpanId"] = self.parent_id.as_str().into();
        }
        if let Some((trace, linked)) = self.link.split_once('-') {
            span["links"] = json!([{ "traceId": trace, "spanId": linked }]);
        }
        span
    }

    fn show(&mut self, field: &Field, value: Value) {
        let mut shown = SHOWN.iter();
        if let Some((_, name)) = shown.find(|(name, _)| *name == field.name()) {
            // A name may stand there once.
            self.attributes.retain(|(known, _)| known != name);
            self.attributes.push((*name, value));
        }
    }
}

impl Visit for Spanned {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            "trace_id" => text.clone_into(&mut self.trace_id),
            "span_id" => text.clone_into(&mut self.span_id),
            "parent_span_id" => text.clone_into(&mut self.parent_id),
            "link" => text.clone_into(&mut self.link),
            "operation" => text.clone_into(&mut self.name),
            // Nobody knows the path, which strangers make up.
            "route" if text == "-" => {}
            name => {
                self.is_failure |= name == "error";
                self.show(field, json!({ "stringValue": text }));
            }
        }
    }

    fn record_u64(&mut self, field: &Field, number: u64) {
        self.is_failure |= field.name() == "status" && number >= 500;
        self.show(field, json!({ "intValue": number.to_string() }));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// An open span, for the work within it.
struct OpenSpan {
    trace_id: String,
    span_id: String,
    anchor: (u64, Tick),
}

/// The spans that have ended and wait to be sent.
#[derive(Default)]
pub(super) struct Ended {
    waiting: Mutex<VecDeque<Spanned>>,
    dropped: AtomicU64,
    /// Notified when there are enough for a batch.
    pub(super) many: Notify,
}

impl Ended {
    /// Appends a span, or drops it when there is no room. Never waits.
    fn put(&self, span: Spanned) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        waiting.push_back(span);
        let is_full = waiting.len().is_multiple_of(BATCH);
        drop(waiting);
        if is_full {
            self.many.notify_one();
        }
    }

    /// Moves waiting spans into `batch` until it is full.
    pub(super) fn fill(&self, batch: &mut Vec<Spanned>) {
        let mut waiting = self.waiting.lock();
        let room = BATCH.saturating_sub(batch.len()).min(waiting.len());
        batch.extend(waiting.drain(..room));
    }

    /// Notes that spans were dropped.
    pub(super) fn drop_all(&self, batch: &mut Vec<Spanned>) {
        self.dropped.fetch_add(batch.len() as u64, Relaxed);
        batch.clear();
    }

    /// Returns how many spans were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }
}

/// The layer that collects spans.
pub(super) struct Collecting {
    pub(super) ended: Arc<Ended>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Collecting {
    fn end(&self, mut span: Spanned) {
        span.end = self.clock.tick();
        if span.kind == SERVER {
            let method = span.attribute("http.request.method").unwrap_or("-");
            let name = match span.attribute("http.route") {
                None => method.to_owned(),
                Some(route) => format!("{method} {route}"),
            };
            span.name = name;
        }
        self.ended.put(span);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collecting {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut spanned = Spanned::new(&*self.clock);
        attributes.record(&mut spanned);
        let around = span.scope().skip(1).find_map(|around| {
            let extensions = around.extensions();
            extensions.get::<Spanned>().map(Spanned::opened)
        });
        if spanned.take_place(around.as_ref()) {
            span.extensions_mut().insert(spanned);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(spanned) = span.extensions_mut().get_mut::<Spanned>()
        {
            values.record(spanned);
        }
    }

    /// An event for traces ends the request's span: its answer is there, or its caller has left.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let spanned = span.and_then(|span| span.extensions_mut().remove::<Spanned>());
        if let Some(mut spanned) = spanned {
            event.record(&mut spanned);
            self.end(spanned);
        }
    }

    /// A request without an answer that counts, like a probe, leaves no span.
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id);
        let spanned = span.and_then(|span| span.extensions_mut().remove::<Spanned>());
        if let Some(spanned) = spanned.filter(|spanned| spanned.kind != SERVER) {
            self.end(spanned);
        }
    }
}

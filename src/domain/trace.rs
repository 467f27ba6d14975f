//! Places a request in a trace: W3C Trace Context, level 1.

use std::fmt;

use super::random_bytes;

/// The place of one request in a trace that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    span: u64,
    parent: Option<u64>,
}

impl Trace {
    /// Returns the place of a request that continues the trace in `traceparent`, or begins one where that header is absent or
    /// malformed. `None` for a trace that is not recorded: because whoever began it says so, or because it is not among the
    /// `percent` of new traces that are.
    pub fn of(traceparent: Option<&str>, percent: u32) -> Option<Self> {
        let Some(parent) = traceparent.and_then(Parent::read) else {
            return (random_id() % 100 < u64::from(percent)).then(Self::begin);
        };
        parent.is_recorded.then(|| Self {
            id: parent.trace,
            span: random_id(),
            parent: Some(parent.span),
        })
    }

    /// Returns the first place of a new trace.
    pub fn begin() -> Self {
        Self {
            id: u128::from_ne_bytes(random_bytes()).max(1),
            span: random_id(),
            parent: None,
        }
    }

    /// Returns the id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// Returns the id of the request's span: 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hexadecimal(self.span)
    }

    /// Returns the id of the span that the request continues, if it continues one.
    pub fn parent_id(&self) -> Option<String> {
        self.parent.map(hexadecimal)
    }

    /// Returns the id of a new span.
    pub fn new_span_id() -> String {
        hexadecimal(random_id())
    }
}

/// The ids of the trace and of the span, with a hyphen between.
impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}-{:016x}", self.id, self.span)
    }
}

/// Returns a random id, which is never the invalid zero.
fn random_id() -> u64 {
    u64::from_ne_bytes(random_bytes()).max(1)
}

fn hexadecimal(id: u64) -> String {
    format!("{id:016x}")
}

/// The content of a `traceparent`.
struct Parent {
    trace: u128,
    span: u64,
    is_recorded: bool,
}

impl Parent {
    /// Reads `version-trace-span-flags`. A later version than 00 may have more behind that.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let mut next = |length| parts.next().and_then(|part| number(part, length));
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let is_whole = version != 0 || parts.next().is_none();
        let is_valid = is_whole && version != 0xff && trace != 0 && span != 0;
        is_valid.then_some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            is_recorded: flags & 1 == 1,
        })
    }
}

/// Parses a number of exactly `length` hexadecimal digits in lower case.
fn number(digits: &str, length: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_number = digits.len() == length && digits.bytes().all(is_digit);
    is_number.then(|| u128::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_good_header_is_continued_as_its_flag_says_whatever_the_share_of_new_traces() {
        for version in ["00", "cc"] {
            let continued = Trace::of(Some(&format!("{version}-{TRACE}-{SPAN}-01")), 0).unwrap();
            assert_eq!(continued.trace_id(), TRACE);
            assert_eq!(continued.parent_id().unwrap(), SPAN);
            assert_ne!(continued.span_id(), SPAN);
        }
        let later = format!("cc-{TRACE}-{SPAN}-03-more-of-it");
        assert_eq!(Trace::of(Some(&later), 0).unwrap().trace_id(), TRACE);
        assert_eq!(Trace::of(Some(&format!("00-{TRACE}-{SPAN}-00")), 100), None);
    }

    #[test]
    fn a_malformed_header_is_as_good_as_none() {
        for malformed in [
            String::new(),
            "00".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}é-{SPAN}-01"),
        ] {
            assert_eq!(Trace::of(Some(&malformed), 0), None, "{malformed}");
            let begun = Trace::of(Some(&malformed), 100).unwrap();
            assert_ne!(begun.trace_id(), TRACE, "{malformed}");
            assert_eq!(begun.parent_id(), None, "{malformed}");
        }
    }

    #[test]
    fn ids_have_their_full_length_and_differ() {
        let (one, two) = (Trace::begin(), Trace::begin());
        assert_ne!(one, two);
        assert_eq!((one.trace_id().len(), one.span_id().len()), (32, 16));
        assert_eq!(
            one.to_string(),
            format!("{}-{}", one.trace_id(), one.span_id())
        );
        assert_eq!(Trace::new_span_id().len(), 16);
    }

    #[test]
    fn about_as_many_new_traces_are_recorded_as_are_asked_for() {
        let recorded = (0..10_000).filter(|_| Trace::of(None, 25).is_some());
        let number = recorded.count();
        assert!((2_000..3_000).contains(&number), "{number}");
    }
}

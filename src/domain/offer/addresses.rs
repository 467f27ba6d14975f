//! Removes the page's addresses from offers.

use super::scan::{Media, attribute, content, end};

/// The port of a section whose address is not known yet (RFC 8840 §4.1.1).
const NO_PORT: &str = "9";
const NO_ADDRESS: &str = "IN IP4 0.0.0.0";

/// Returns the description without candidates. Lines that would name the page's address name none, as in an offer that was
/// made before the page knew its addresses.
pub(super) fn removed(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let name = attribute(line).unwrap_or_default();
        if ["candidate", "end-of-candidates", "remote-candidates"].contains(&name) {
            continue;
        }
        match replaced(content(line), name) {
            Some(line) => kept += &line,
            None => kept += content(line),
        }
        kept += end(line);
    }
    kept
}

/// Returns what replaces a line with an address or with the port of one.
fn replaced(line: &str, attribute: &str) -> Option<String> {
    if line.starts_with("c=") {
        return Some(format!("c={NO_ADDRESS}"));
    }
    if attribute == "rtcp" {
        return Some(format!("a=rtcp:{NO_PORT} {NO_ADDRESS}"));
    }
    if let Some(origin) = line.strip_prefix("o=") {
        let mut fields: Vec<_> = origin.split(' ').take(3).collect();
        fields.push(NO_ADDRESS);
        return Some(format!("o={}", fields.join(" ")));
    }
    let media = Media::of(line).filter(|media| media.port != "0")?;
    Some(format!("m={} {NO_PORT} {}", media.kind, media.rest))
}

//! Takes the data channel out of an offer, and puts its refusal into the answer.

use super::scan::{Media, attribute, content, end, has, parts, values};

/// The attributes of a transport, which sections in a BUNDLE share (RFC 8859, categories IDENTICAL and TRANSPORT).
const TRANSPORT: [&str; 8] = [
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "fingerprint",
    "setup",
    "tls-id",
    "candidate",
    "end-of-candidates",
];
const SHARES_TRANSPORT: &str = "bundle-only";

/// A data channel that was taken out of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedChannel {
    /// The place of its section in the offer.
    index: usize,
    /// Protocol and format of its section.
    format: Box<str>,
    mid: Option<Box<str>>,
    /// The sections that the answer must have.
    others: usize,
}

impl RemovedChannel {
    /// Returns the answer with the channel's section, refused, at the place where the offer had it (RFC 3264 §6 and
    /// RFC 8843 §7.3.3). Returns `None` when the answer does not answer the other sections.
    pub fn refused_in(&self, answer: &str) -> Option<String> {
        let (session, sections) = parts(answer);
        if sections.len() != self.others {
            return None;
        }
        let line_end =
            Some(end(session.split_inclusive('\n').next()?)).filter(|end| !end.is_empty())?;
        let mut text = session.to_owned();
        let (before, after) = sections.split_at_checked(self.index)?;
        text.extend(before.iter().copied());
        if !text.ends_with('\n') {
            text += line_end;
        }
        text.extend([
            format!("m=application 0 {}{line_end}", self.format),
            format!("c=IN IP4 0.0.0.0{line_end}"),
        ]);
        text.extend(self.mid.iter().map(|mid| format!("a=mid:{mid}{line_end}")));
        text.extend(after.iter().copied());
        Some(text)
    }
}

/// Returns the offer without its data channel, and the channel; `None` when the offer has no data channel.
pub(super) fn removed(offer: &str) -> Option<(String, RemovedChannel)> {
    let (session, mut sections) = parts(offer);
    let is_channel =
        |section: &&str| Media::of(section).is_some_and(|media| media.kind == "application");
    let index = sections.iter().position(is_channel)?;
    let section = sections.remove(index);
    let mid = values(section, "mid").next();
    let mut text = String::with_capacity(offer.len());
    for line in session.split_inclusive('\n') {
        text += &without_mid(line, mid);
    }
    let (first, others) = sections.split_first()?;
    if sections
        .iter()
        .all(|section| has(section, SHARES_TRANSPORT))
        || lacks_transport(session, first)
    {
        text += &with_transport(first, session, section);
    } else {
        text += first;
    }
    text.extend(others.iter().copied());
    let channel = RemovedChannel {
        index,
        format: Media::of(section)?.rest.into(),
        mid: mid.map(Into::into),
        others: sections.len(),
    };
    Some((text, channel))
}

/// Returns a line of the session without the section in a group; nothing when the group is empty then.
fn without_mid(line: &str, mid: Option<&str>) -> String {
    let (Some("group"), Some(mid)) = (attribute(line), mid) else {
        return line.to_owned();
    };
    let mut words = content(line).split(' ');
    let kind = words.next().unwrap_or_default();
    let mids: Vec<_> = words.filter(|&word| word != mid).collect();
    if mids.is_empty() {
        return String::new();
    }
    format!("{kind} {}{}", mids.join(" "), end(line))
}

fn lacks_transport(session: &str, section: &str) -> bool {
    !has(session, "ice-ufrag") && !has(section, "ice-ufrag")
}

/// Returns a section that used the transport of `removed` with a transport of its own, which is the same.
fn with_transport(section: &str, session: &str, removed: &str) -> String {
    let mut text = String::with_capacity(section.len() + removed.len());
    for line in section.split_inclusive('\n') {
        match Media::of(line) {
            Some(media) if media.port == "0" => {
                text.extend(["m=", media.kind, " 9 ", media.rest, end(line)]);
            }
            _ if attribute(line) == Some(SHARES_TRANSPORT) => {}
            _ => text += line,
        }
    }
    let line_end = end(session.split_inclusive('\n').next().unwrap_or_default());
    for line in removed.split_inclusive('\n') {
        let is_missing = attribute(line).is_some_and(|name| {
            TRANSPORT.contains(&name) && !has(section, name) && !has(session, name)
        });
        if is_missing {
            if !text.ends_with('\n') {
                text += line_end;
            }
            text += content(line);
            text += line_end;
        }
    }
    text
}

//! Scans session descriptions: lines, media sections and their attributes (RFC 8866).

use super::OfferError;

/// Most lines. An offer with audio, video and fifty candidates has some 300.
const MOST_LINES: usize = 1000;
/// Longest line in bytes, without its end. The longest in use are candidates and codec parameters of 300 bytes.
const LONGEST_LINE: usize = 4096;
/// Most media sections. A call has audio, a data channel and perhaps video.
const MOST_SECTIONS: usize = 8;
/// Longest `a=mid`. Browsers use numbers, or 36 bytes.
const LONGEST_MID: usize = 64;
/// The attributes without which no connection can be made (RFC 8829 §5.2.1).
const NEEDED: [&str; 3] = ["ice-ufrag", "ice-pwd", "fingerprint"];

/// The first line of a media section, `m=<kind> <port> <rest>`.
#[derive(Clone, Copy)]
pub(super) struct Media<'text> {
    /// `audio`, `video`, `application` or another word.
    pub(super) kind: &'text str,
    /// The port; 0 for a section that is refused or shares another's transport.
    pub(super) port: &'text str,
    /// Protocol and formats.
    pub(super) rest: &'text str,
}

impl<'text> Media<'text> {
    /// Reads the first line of a section.
    pub(super) fn of(section: &'text str) -> Option<Self> {
        let line = section.lines().next()?.strip_prefix("m=")?;
        let (kind, more) = line.split_once(' ')?;
        let (port, rest) = more.split_once(' ')?;
        let (protocol, formats) = rest.split_once(' ')?;
        let is_number = !port.starts_with('+') && port.parse::<u16>().is_ok();
        let is_whole = !protocol.is_empty() && formats.split(' ').all(|format| !format.is_empty());
        (is_number && is_whole).then_some(Self { kind, port, rest })
    }
}

/// Checks an offer. Returns true when it has a video section.
pub(super) fn check(text: &str) -> Result<bool, OfferError> {
    check_lines(text)?;
    let (_, sections) = parts(text);
    if sections.len() > MOST_SECTIONS {
        return Err(OfferError::TooMany);
    }
    let has_video = check_kinds(&sections)?;
    check_mids(&sections)?;
    let missing = NEEDED.into_iter().find(|name| !has(text, name));
    missing.map_or(Ok(has_video), |name| Err(OfferError::Missing(name)))
}

fn check_lines(text: &str) -> Result<(), OfferError> {
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let line = content(line);
        if index == 0 && line != "v=0" {
            return Err(OfferError::NotSdp);
        }
        if index == MOST_LINES {
            return Err(OfferError::TooMany);
        }
        // A second version would begin a second description.
        if !is_line(line) || (index > 0 && line.starts_with("v=")) {
            return Err(OfferError::Line(index + 1));
        }
    }
    // No line at all.
    (!text.is_empty()).then_some(()).ok_or(OfferError::NotSdp)
}

/// Returns true for a letter, an equals sign and text that no parser can take for several lines.
fn is_line(line: &str) -> bool {
    let [b'a'..=b'z', b'=', ..] = line.as_bytes() else {
        return false;
    };
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    line.len() <= LONGEST_LINE && !line.chars().any(breaks)
}

/// Checks the kinds of all sections. Returns true when there is video.
fn check_kinds(sections: &[&str]) -> Result<bool, OfferError> {
    let (mut audio, mut channels, mut video) = (0, 0, 0);
    for (section, number) in sections.iter().zip(1..) {
        let media = Media::of(section).ok_or(OfferError::Section(number))?;
        match media.kind {
            "audio" => audio += 1,
            "application" => channels += 1,
            "video" => video += 1,
            _ => return Err(OfferError::Section(number)),
        }
    }
    if audio != 1 {
        return Err(OfferError::Audio);
    }
    if channels > 1 {
        return Err(OfferError::Channels);
    }
    Ok(video > 0)
}

fn check_mids(sections: &[&str]) -> Result<(), OfferError> {
    let mut known: Vec<&str> = Vec::with_capacity(sections.len());
    for section in sections {
        let mut mids = values(section, "mid");
        let Some(mid) = mids.next() else { continue };
        let is_word = (1..=LONGEST_MID).contains(&mid.len())
            && mid.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_word || mids.next().is_some() || known.contains(&mid) {
            return Err(OfferError::Mid);
        }
        known.push(mid);
    }
    Ok(())
}

/// Splits a description into its session part and its media sections. Together they are the whole text.
pub(super) fn parts(text: &str) -> (&str, Vec<&str>) {
    let begins = text.match_indices("\nm=").map(|(at, _)| at + 1);
    let mut sections = Vec::new();
    let mut rest = text;
    for begin in begins.collect::<Vec<_>>().into_iter().rev() {
        let (before, section) = rest.split_at(begin);
        sections.push(section);
        rest = before;
    }
    sections.reverse();
    (rest, sections)
}

/// Returns the values of `a=<name>:<value>` lines.
pub(super) fn values<'text>(
    part: &'text str,
    name: &'text str,
) -> impl Iterator<Item = &'text str> {
    let lines = part
        .lines()
        .filter(move |line| attribute(line) == Some(name));
    lines.filter_map(|line| Some(line.split_once(':')?.1))
}

/// Returns true when the part has an attribute of this name.
pub(super) fn has(part: &str, name: &str) -> bool {
    part.lines().any(|line| attribute(line) == Some(name))
}

/// Returns the name of an attribute's line.
pub(super) fn attribute(line: &str) -> Option<&str> {
    let attribute = content(line).strip_prefix("a=")?;
    attribute.split(':').next()
}

/// Returns a line without its end.
pub(super) fn content(line: &str) -> &str {
    let line_end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
    line.strip_suffix(line_end).unwrap_or(line)
}

/// Returns the end of a line: CRLF, LF, or nothing for a last line without one.
pub(super) fn end(line: &str) -> &str {
    &line[content(line).len()..]
}

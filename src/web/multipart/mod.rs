//! Scans a form (RFC 7578) as its bytes come, and keeps no more of it than the head of a part.
//!
//! The form is read for its parts only, and written anew for the provider. So it does not matter whether the provider would
//! read the caller's bytes as they are read here.

use bytes::{Buf, Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Status};

/// Most bytes of the head of a part.
const MAX_HEAD: usize = 4 * 1024;
/// Most header fields of a part.
const MAX_FIELDS: usize = 8;
/// Most bytes of a boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// Error for bytes that are no form, or a form with a head that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no form")]
pub(super) struct NoForm;

/// The head of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) media_type: Option<String>,
}

/// What comes next in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes have to come.
    More,
    /// A part begins.
    Part(Head),
    /// Bytes of the part.
    Content(Bytes),
    /// The part has ended.
    End,
    /// The form has ended.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first delimiter comes, at the very beginning.
    Start,
    /// A delimiter has come: the head of a part follows, or the end.
    Delimited,
    Content,
    Done,
}

/// A form of which some bytes have come.
pub(super) struct Scanner {
    /// The line end before a delimiter, two dashes and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

impl Scanner {
    /// Returns a scanner for a body of this content type. `None` when that is no form, or names no boundary.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';')?;
        let is_form = essence.trim().eq_ignore_ascii_case("multipart/form-data");
        let boundary = parameter(parameters, "boundary").filter(|_| is_form)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let fits = (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(is_plain);
        // As if a line end came before the first delimiter.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        fits.then(|| Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            buffer,
            state: State::Start,
        })
    }

    /// Takes the next bytes in.
    pub(super) fn takes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns what comes next.
    pub(super) fn next(&mut self) -> Result<Step, NoForm> {
        match self.state {
            State::Start => {
                let length = self.delimiter.len();
                let come = self.buffer.len().min(length);
                if self.buffer[..come] != self.delimiter[..come] {
                    return Err(NoForm);
                }
                if come < length {
                    return Ok(Step::More);
                }
                self.buffer.advance(length);
                self.state = State::Delimited;
                self.head()
            }
            State::Delimited => self.head(),
            State::Content => Ok(self.content()),
            State::Done => Ok(Step::Done),
        }
    }

    /// Reads what follows a delimiter.
    fn head(&mut self) -> Result<Step, NoForm> {
        if self.buffer.starts_with(b"--") {
            self.state = State::Done;
            return Ok(Step::Done);
        }
        let come = self.buffer.len().min(2);
        if !b"\r\n".starts_with(&self.buffer[..come]) && self.buffer[..come] != b"-"[..] {
            return Err(NoForm);
        }
        let Some(lines) = self.buffer.get(2..) else {
            return Ok(Step::More);
        };
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(lines, &mut fields) {
            Ok(Status::Complete((length, fields))) if length <= MAX_HEAD => {
                let head = read(fields)?;
                self.buffer.advance(2 + length);
                self.state = State::Content;
                Ok(Step::Part(head))
            }
            Ok(Status::Partial) if lines.len() <= MAX_HEAD => Ok(Step::More),
            Ok(_) | Err(_) => Err(NoForm),
        }
    }

    /// Returns the bytes of the part that have come for certain, or its end.
    fn content(&mut self) -> Step {
        let length = self.delimiter.len();
        let mut from = 0;
        while let Some(at) = self.buffer[from..].iter().position(|byte| *byte == b'\r') {
            let rest = &self.buffer[from + at..];
            let come = rest.len().min(length);
            if rest[..come] == self.delimiter[..come] {
                let at = from + at;
                return self.before(at, come == length);
            }
            from += at + 1;
        }
        self.before(self.buffer.len(), false)
    }

    /// Returns the content before the place `at`, where a delimiter is, or may be.
    fn before(&mut self, at: usize, is_delimiter: bool) -> Step {
        if at > 0 {
            return Step::Content(self.buffer.split_to(at).freeze());
        }
        if is_delimiter {
            self.buffer.advance(self.delimiter.len());
            self.state = State::Delimited;
            return Step::End;
        }
        Step::More
    }
}

/// Reads the head of a part. Only plain encodings may be declared.
fn read(fields: &[httparse::Header<'_>]) -> Result<Head, NoForm> {
    let value = |name: &str| {
        let mut named = fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        match (named.next(), named.next()) {
            (Some(only), None) => std::str::from_utf8(only.value)
                .map(Some)
                .map_err(|_| NoForm),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(NoForm),
        }
    };
    let encoding = value("content-transfer-encoding")?.unwrap_or("binary");
    let is_plain = ["7bit", "8bit", "binary"]
        .iter()
        .any(|plain| encoding.eq_ignore_ascii_case(plain));
    let disposition = value("content-disposition")?.filter(|_| is_plain);
    let (kind, parameters) = disposition
        .and_then(|text| text.split_once(';'))
        .ok_or(NoForm)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(NoForm);
    }
    Ok(Head {
        name: parameter(parameters, "name").ok_or(NoForm)?,
        filename: parameter(parameters, "filename"),
        media_type: value("content-type")?.map(str::to_owned),
    })
}

/// Returns the value of a parameter in `; a=b; c="d"`, without its quotes. A backslash quotes the next character.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (found, after) = rest.split_once('=')?;
        let mut value = String::new();
        let after = if let Some(quoted) = after.strip_prefix('"') {
            let mut letters = quoted.char_indices();
            loop {
                match letters.next()? {
                    (at, '"') => break &quoted[at + 1..],
                    (_, '\\') => value.push(letters.next()?.1),
                    (_, letter) => value.push(letter),
                }
            }
        } else {
            let end = after.find(';').unwrap_or(after.len());
            after[..end].trim_end().clone_into(&mut value);
            &after[end..]
        };
        if found
            .trim_start_matches([';', ' ', '\t'])
            .trim()
            .eq_ignore_ascii_case(name)
        {
            return Some(value);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests;

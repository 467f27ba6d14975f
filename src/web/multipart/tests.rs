//! Forms as clients write them, as attackers do, and as chance does.

use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=XX";

/// A part with its content.
type Read = (Head, Vec<u8>);

/// Reads a form that comes in pieces of these sizes, over and over. `None` for a form without its end.
fn scan(content_type: &str, form: &[u8], sizes: &[usize]) -> Result<Option<Vec<Read>>, NoForm> {
    let mut scanner = Scanner::of(content_type).ok_or(NoForm)?;
    let (mut rest, mut sizes) = (form, sizes.iter().cycle());
    let (mut parts, mut is_open) = (Vec::<Read>::new(), false);
    loop {
        match scanner.next()? {
            Step::More if rest.is_empty() => return Ok(None),
            Step::More => {
                let size = (*sizes.next().unwrap()).clamp(1, rest.len());
                scanner.takes(&rest[..size]);
                rest = &rest[size..];
                assert!(scanner.buffer.len() <= size + MAX_HEAD + scanner.delimiter.len() + 2);
            }
            Step::Part(head) => {
                assert!(!std::mem::replace(&mut is_open, true));
                parts.push((head, Vec::new()));
            }
            Step::Content(bytes) => {
                assert!(is_open && !bytes.is_empty());
                parts.last_mut().unwrap().1.extend_from_slice(&bytes);
            }
            Step::End => assert!(std::mem::replace(&mut is_open, false)),
            Step::Done => return Ok(Some(parts)),
        }
    }
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (head, content) in parts {
        form.extend_from_slice(format!("--XX\r\n{head}\r\n\r\n").as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--XX--\r\n");
    form
}

#[test]
fn a_form_is_read_as_browsers_and_sdks_write_it_however_it_is_cut() {
    let form = form(&[
        (
            "Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".webm\"\r\nContent-Type: audio/webm;codecs=opus",
            b"\r\n--X\r\r\n--XY--\r\n--",
        ),
        ("content-disposition: form-data; name=model", b"whisper-1"),
        ("Content-Disposition: form-data; name=\"prompt\"", b""),
    ]);
    for sizes in [&[1][..], &[2], &[3, 1], &[7], &[64], &[10_000]] {
        let parts = scan(TYPE, &form, sizes).unwrap().unwrap();
        let file = Head {
            name: "file".into(),
            filename: Some("a \"b\".webm".into()),
            media_type: Some("audio/webm;codecs=opus".into()),
        };
        assert_eq!(
            parts[0],
            (file, b"\r\n--X\r\r\n--XY--\r\n--".to_vec()),
            "{sizes:?}"
        );
        assert_eq!(
            (&*parts[1].0.name, &*parts[1].1),
            ("model", &b"whisper-1"[..])
        );
        assert_eq!(
            (&*parts[2].0.name, parts[2].1.len(), parts.len()),
            ("prompt", 0, 3)
        );
    }
}

#[test]
fn a_boundary_is_read_with_and_without_quotes_and_must_be_one() {
    for (content_type, is_form) in [
        ("multipart/form-data; boundary=XX", true),
        ("Multipart/Form-Data; charset=utf-8; Boundary=\"XX\"", true),
        ("multipart/form-data", false),
        ("multipart/form-data; boundary=", false),
        ("multipart/form-data; boundary=\"X", false),
        ("multipart/form-data; boundary=X\u{e9}", false),
        ("multipart/mixed; boundary=XX", false),
        ("application/json; boundary=XX", false),
    ] {
        let found = scan(content_type, &form(&[]), &[64]);
        assert_eq!(found.is_ok(), is_form, "{content_type}: {found:?}");
    }
    let long = format!(
        "multipart/form-data; boundary={}",
        "X".repeat(MAX_BOUNDARY + 1)
    );
    assert!(Scanner::of(&long).is_none());
}

#[test]
fn what_is_no_form_is_refused_and_what_is_cut_has_no_end() {
    let head = "--XX\r\nContent-Disposition: form-data; name=\"a\"";
    for (body, expected) in [
        ("preamble\r\n--XX--\r\n".to_owned(), Err(NoForm)),
        ("--XY\r\n".to_owned(), Err(NoForm)),
        ("--XX \r\n".to_owned(), Err(NoForm)),
        ("--XX\r\n\r\ncontent".to_owned(), Err(NoForm)),
        (
            "--XX\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n".to_owned(),
            Err(NoForm),
        ),
        (
            "--XX\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\n".to_owned(),
            Err(NoForm),
        ),
        (
            format!("{head}\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n"),
            Err(NoForm),
        ),
        (
            format!("{head}\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
            Err(NoForm),
        ),
        (
            format!("{head}\r\nX: {}", "a".repeat(MAX_HEAD)),
            Err(NoForm),
        ),
        (
            format!("{head}{}\r\n\r\n", "\r\nX: a".repeat(MAX_FIELDS)),
            Err(NoForm),
        ),
        (format!("{head}\r\n\r\ncontent\r\n--X"), Ok(None)),
        (format!("{head}\r\n\r\ncontent\r\n--XX"), Ok(None)),
        (format!("{head}\r\n\r\ncontent\r\n--XX-"), Ok(None)),
        (String::new(), Ok(None)),
    ] {
        assert_eq!(scan(TYPE, body.as_bytes(), &[5]), expected, "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_content_is_read_as_it_was_written(
        contents in prop::collection::vec(
            prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), any::<u8>()], 0..60),
            0..5,
        ),
        sizes in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let parts: Vec<_> = contents.iter().map(|content| ("Content-Disposition: form-data; name=\"a\"", &**content)).collect();
        let has_delimiter = |content: &Vec<u8>| [b"\r\n", &content[..]].concat().windows(6).any(|part| part == b"\r\n--XX");
        prop_assume!(!contents.iter().any(has_delimiter));
        let read = scan(TYPE, &form(&parts), &sizes).unwrap().unwrap();
        let read: Vec<_> = read.into_iter().map(|(_, content)| content).collect();
        prop_assert_eq!(read, contents);
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_scanned_and_the_cut_changes_nothing(
        bytes in prop::collection::vec(
            prop_oneof![Just(b"--XX".to_vec()), Just(b"\r\n".to_vec()), Just(b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..20)],
            0..12,
        ),
        sizes in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let bytes = bytes.concat();
        prop_assert_eq!(scan(TYPE, &bytes, &sizes), scan(TYPE, &bytes, &[bytes.len().max(1)]));
    }
}

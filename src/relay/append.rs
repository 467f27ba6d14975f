//! Recognizes plain audio appends, which are most of what clients send and need no decision.

/// How an append begins as most clients write it. The rest is audio.
const APPEND: &str = r#"{"type":"input_audio_buffer.append","audio":""#;

/// True for an append without an escape or a second member: nothing else can follow the audio.
pub(super) fn is_plain_append(text: &str) -> bool {
    let audio = text
        .strip_prefix(APPEND)
        .and_then(|rest| rest.strip_suffix("\"}"));
    audio.is_some_and(|audio| is_base64(audio.as_bytes()))
}

/// True for letters of base64, of either alphabet. Has no branches, so that the compiler can check many letters at once.
fn is_base64(letters: &[u8]) -> bool {
    let is_odd = |letter: u8| {
        let is_letter = (letter | 0x20).wrapping_sub(b'a') < 26;
        let is_digit = letter.wrapping_sub(b'0') < 10;
        let is_sign = |sign| letter == sign;
        let is_plus = is_sign(b'+') | is_sign(b'-');
        let is_slash = is_sign(b'/') | is_sign(b'_');
        !(is_letter | is_digit | is_plus | is_slash | is_sign(b'='))
    };
    let add = |odd, letter: &u8| odd | u8::from(is_odd(*letter));
    letters.iter().fold(0, add) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_base64_is_one_and_no_other_byte_is() {
        for byte in 0..=u8::MAX {
            let is_one = byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
            for place in [0, 1, 40, 63] {
                let mut letters = [b'A'; 64];
                letters[place] = byte;
                assert_eq!(is_base64(&letters), is_one, "{byte} at {place}");
            }
        }
        assert!(is_base64(b""));
    }
}

//! Turns what the model says into sound: a chord of four notes, one note for each word.

use std::collections::VecDeque;

use crate::simulator::calls::conversation::MS_PER_CHARACTER;

/// Milliseconds of one packet.
pub(super) const MS_PER_PACKET: u64 = 20;
/// Packets that a character takes.
const PACKETS_PER_CHARACTER: usize = (MS_PER_CHARACTER / MS_PER_PACKET) as usize;

/// An Opus packet of silence.
const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];
/// Opus packets of 300, 400, 500 and 600 Hz. Each note has a whole number of waves in 20 ms, so that one packet, repeated, is
/// the note. Chromium's encoder made them of sine waves.
const NOTES: [&[u8; 50]; 4] = [
    &[
        0xf8, 0xc0, 0xf6, 0x19, 0x6d, 0x94, 0x6b, 0x79, 0x8d, 0xbe, 0x63, 0xb2, 0x3c, 0x3b, 0x62,
        0x4b, 0xbf, 0x1b, 0xe2, 0xfa, 0x69, 0x0c, 0xab, 0x9a, 0x6c, 0x54, 0x7b, 0x98, 0x0b, 0xb9,
        0x67, 0xe9, 0x53, 0xf4, 0x76, 0x7c, 0xaa, 0x8a, 0x85, 0xa3, 0xe1, 0x5e, 0x3c, 0x6f, 0x02,
        0x9d, 0x11, 0x41, 0xe3, 0x21,
    ],
    &[
        0xf8, 0xad, 0x80, 0x75, 0xd3, 0xe6, 0xa5, 0xc6, 0x76, 0xd6, 0x7b, 0x3c, 0x47, 0xc4, 0x79,
        0xf7, 0x0a, 0x6d, 0xca, 0xc4, 0x88, 0x44, 0x28, 0xa4, 0x97, 0x61, 0x08, 0x0d, 0x7e, 0xba,
        0xa1, 0x85, 0x40, 0x6e, 0x5f, 0x01, 0x0e, 0x37, 0xa7, 0x46, 0x43, 0x73, 0xf0, 0x90, 0x1a,
        0x9d, 0x48, 0x9f, 0x35, 0xb9,
    ],
    &[
        0xf8, 0xad, 0x7e, 0xf1, 0x76, 0x3a, 0x20, 0xa7, 0x0b, 0x6a, 0x4d, 0x43, 0xb8, 0x76, 0xd5,
        0xfc, 0xfb, 0xa7, 0xd9, 0x51, 0x69, 0x22, 0xc5, 0xfe, 0x5a, 0x42, 0x75, 0xfa, 0x35, 0x28,
        0x07, 0xd3, 0xc0, 0x9e, 0x35, 0x41, 0xfd, 0xbd, 0x90, 0xd6, 0xe8, 0x5c, 0x0f, 0xa9, 0xee,
        0xcf, 0xce, 0x40, 0x17, 0xa1,
    ],
    &[
        0xf8, 0xad, 0x7e, 0x2f, 0x04, 0x38, 0xcd, 0x1e, 0x12, 0x49, 0xf5, 0x75, 0x68, 0x32, 0x34,
        0x85, 0xe4, 0x40, 0xf8, 0xcf, 0x8a, 0xf2, 0x57, 0x5d, 0x2d, 0x7d, 0x3d, 0x40, 0x2c, 0x23,
        0x9c, 0x95, 0x36, 0x72, 0x43, 0xa4, 0xa9, 0x95, 0x0f, 0xd6, 0xc5, 0x2c, 0xd0, 0x9d, 0xa0,
        0x51, 0x24, 0xfe, 0x47, 0x4c,
    ],
];

/// The sound of one response.
struct Speech {
    response: String,
    /// The packet of each character.
    packets: Vec<&'static [u8]>,
    /// False for a response that goes on: its sound begins anew at its end.
    is_complete: bool,
}

/// What is to be heard, in order.
#[derive(Default)]
pub(super) struct Voice {
    queue: VecDeque<Speech>,
    /// Packets of the first speech that were played.
    played: usize,
}

impl Voice {
    /// Appends the sound of a response that goes on.
    pub(super) fn speak(&mut self, response: String, text: &str) {
        let words = text.split_inclusive(' ').zip(NOTES.iter().cycle());
        let packets = words.flat_map(|(word, note)| {
            let sound = |letter: char| if letter == ' ' { SILENCE } else { *note };
            word.chars().map(sound)
        });
        self.queue.push_back(Speech {
            response,
            packets: packets.collect(),
            is_complete: false,
        });
    }

    /// Lets the sound of a response end where its text does.
    pub(super) fn finish(&mut self, response: &str) {
        for speech in &mut self.queue {
            speech.is_complete |= speech.response == response;
        }
    }

    /// Throws away what was not played yet.
    pub(super) fn hush(&mut self) {
        self.queue.clear();
        self.played = 0;
    }

    /// Returns the next packet, and the response that ends with it.
    pub(super) fn next(&mut self) -> (&'static [u8], Option<String>) {
        let Some(speech) = self.queue.front() else {
            return (SILENCE, None);
        };
        let packet = speech.packets.get(self.played / PACKETS_PER_CHARACTER);
        let packet = packet.copied().unwrap_or(SILENCE);
        self.played += 1;
        let mut ended = None;
        if self.played >= speech.packets.len() * PACKETS_PER_CHARACTER {
            self.played = 0;
            if speech.is_complete {
                ended = self.queue.pop_front().map(|speech| speech.response);
            }
        }
        (packet, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(voice: &mut Voice, count: usize) -> Vec<(&'static [u8], Option<String>)> {
        (0..count).map(|_| voice.next()).collect()
    }

    #[test]
    fn each_word_is_a_note_and_the_last_packet_ends_the_response() {
        let mut voice = Voice::default();
        voice.speak("resp_1".to_owned(), "a b");
        voice.finish("resp_1");
        let heard = packets(&mut voice, 13);
        for (at, (packet, ended)) in heard.iter().enumerate() {
            let expected: &[u8] = match at / PACKETS_PER_CHARACTER {
                0 => NOTES[0],
                2 => NOTES[1],
                _ => SILENCE,
            };
            assert_eq!(*packet, expected, "{at}");
            assert_eq!(ended.is_some(), at == 11, "{at}");
        }
    }

    #[test]
    fn a_response_that_goes_on_is_heard_until_somebody_hushes_it() {
        let mut voice = Voice::default();
        voice.speak("resp_1".to_owned(), "a");
        let heard = packets(&mut voice, 100);
        assert!(
            heard
                .iter()
                .all(|(packet, ended)| packet == NOTES[0] && ended.is_none())
        );
        voice.hush();
        assert_eq!(voice.next(), (SILENCE, None));
    }
}

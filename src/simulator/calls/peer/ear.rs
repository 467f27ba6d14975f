//! Detects speech in the packets of a browser by the sound level that each of them declares.

use super::voice::MS_PER_PACKET;

/// The level from which on a packet is loud, in decibels below the loudest.
const LOUD: i8 = -45;
/// Loud packets in a row that are speech.
const SPEECH: u64 = 3;

/// A change that the ear noticed, with the milliseconds since the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody began to speak.
    Started(u64),
    /// Somebody stopped speaking, after the silence that ends speech.
    Stopped(u64),
}

/// Listens to the packets of one browser.
#[derive(Default)]
pub(super) struct Ear {
    packets: u64,
    /// Packets in a row that contradict `is_speech`.
    contrary: u64,
    is_speech: bool,
}

impl Ear {
    /// Listens to a packet of this level. Silence of `silence_ms` ends speech.
    pub(super) fn listen(&mut self, level: i8, silence_ms: u64) -> Option<Heard> {
        self.packets += 1;
        if (level >= LOUD) == self.is_speech {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let needed = if self.is_speech {
            silence_ms.div_ceil(MS_PER_PACKET)
        } else {
            SPEECH
        };
        if self.contrary < needed {
            return None;
        }
        let since = (self.packets - self.contrary) * MS_PER_PACKET;
        self.contrary = 0;
        self.is_speech = !self.is_speech;
        Some(if self.is_speech {
            Heard::Started(since)
        } else {
            Heard::Stopped(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_begins_with_three_loud_packets_and_ends_with_silence() {
        let mut ear = Ear::default();
        let mut heard = |level, count: usize| {
            let all = (0..count).filter_map(|_| ear.listen(level, 200));
            all.collect::<Vec<_>>()
        };
        assert_eq!(heard(-127, 10), []);
        assert_eq!(heard(-20, 2), []);
        assert_eq!(heard(-127, 10), []);
        assert_eq!(heard(-20, 50), [Heard::Started(440)]);
        assert_eq!(heard(-60, 9), []);
        assert_eq!(heard(-20, 1), []);
        assert_eq!(heard(-60, 30), [Heard::Stopped(1640)]);
    }
}

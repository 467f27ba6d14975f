//! Keeps the timed blocks: who is blocked, until when, and how often before.

use std::cmp::Reverse;
use std::time::Duration;

use super::Block;
use super::bounded::Bounded;
use crate::clock::Tick;
use crate::domain::Party;

/// Pause after a look at a full table in which no block has ended.
const LOOK: Duration = Duration::from_secs(1);

/// The last block of a party.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ends: Tick,
    repetition: u32,
}

/// Blocks in force, and ended ones that decide how long a repetition lasts.
#[derive(Debug)]
pub(super) struct Blocks {
    of: Bounded<Party, Entry>,
    first: Duration,
    longest: Duration,
}

impl Blocks {
    /// Returns an empty table for `capacity` blocks. The first block of a party lasts `first`, each
    /// further one twice as long, none longer than `longest`.
    pub(super) fn new(capacity: usize, first: Duration, longest: Duration) -> Self {
        Self {
            of: Bounded::new(capacity),
            first,
            longest,
        }
    }

    /// Returns how long `party` is still blocked.
    pub(super) fn left(&self, party: Party, now: Tick) -> Option<Duration> {
        let entry = self.of.entries.get(&party)?;
        (entry.ends > now).then(|| entry.ends.since(now))
    }

    /// Blocks `party`, which is not blocked. Returns `None` when the table is full of blocks in force:
    /// a flood of newcomers must not free anybody.
    pub(super) fn add(&mut self, party: Party, now: Tick) -> Option<Block> {
        let last = self.of.entries.get(&party);
        let last = last.filter(|last| last.ends.plus(self.longest) > now);
        let repetition = last.map_or(0, |last| last.repetition.saturating_add(1));
        let doubled = 1_u32.checked_shl(repetition).unwrap_or(u32::MAX);
        let lasts = self.first.saturating_mul(doubled).min(self.longest);
        let ends = now.plus(lasts);
        let block = Block {
            party,
            lasts,
            repetition,
        };
        self.insert(party, Entry { ends, repetition }, now)
            .then_some(block)
    }

    /// Blocks `party` until `ends`, as another replica has decided. Returns false when there is no
    /// room.
    pub(super) fn adopt(&mut self, party: Party, ends: Tick, now: Tick) -> bool {
        let last = self.of.entries.get(&party);
        let repetition = last.map_or(0, |last| last.repetition);
        self.insert(party, Entry { ends, repetition }, now)
    }

    /// Ends the block of `party` and forgets the ones before it. Returns whether it was blocked.
    pub(super) fn lift(&mut self, party: Party, now: Tick) -> bool {
        let was_blocked = self.left(party, now).is_some();
        self.of.entries.remove(&party);
        was_blocked
    }

    /// Returns at most `most` blocks in force, the longest first, with the time that each has left.
    pub(super) fn in_force(&self, most: usize, now: Tick) -> Vec<Block> {
        let entries = self.of.entries.iter();
        let lasting = entries.filter(|(_, entry)| entry.ends > now);
        let block = |(party, entry): (&Party, &Entry)| Block {
            party: *party,
            lasts: entry.ends.since(now),
            repetition: entry.repetition,
        };
        let mut blocks: Vec<Block> = lasting.map(block).collect();
        blocks.sort_unstable_by_key(|block| Reverse(block.lasts));
        blocks.truncate(most);
        blocks
    }

    /// Forgets blocks that ended long enough ago: the party's next block has the length of a first block again.
    pub(super) fn sweep(&mut self, now: Tick) {
        let longest = self.longest;
        self.of.sweep(|entry| entry.ends.plus(longest) <= now);
    }

    fn insert(&mut self, party: Party, entry: Entry, now: Tick) -> bool {
        let has_room = self.of.entries.contains_key(&party)
            || self.of.makes_room((now, LOOK), |entry| entry.ends);
        if has_room {
            self.of.entries.insert(party, entry);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Network;

    const MINUTE: Duration = Duration::from_mins(1);

    fn party(host: u32) -> Party {
        Party::Network(Network::of(std::net::Ipv4Addr::from_bits(host).into()))
    }

    fn lasting(blocks: &Blocks, minutes: u32) -> usize {
        blocks.in_force(usize::MAX, at(minutes)).len()
    }

    fn at(minutes: u32) -> Tick {
        Tick::from_duration(MINUTE * minutes)
    }

    fn lasts(blocks: &mut Blocks, host: u32, now: Tick) -> Option<u64> {
        let block = blocks.add(party(host), now)?;
        Some(block.lasts.as_secs() / 60)
    }

    #[test]
    fn repetitions_double_up_to_the_longest_and_are_forgotten_that_long_after_the_end() {
        let mut blocks = Blocks::new(10, MINUTE * 15, MINUTE * 100);
        let mut now = 0;
        for (repetition, minutes) in [15, 30, 60, 100, 100].into_iter().enumerate() {
            let block = blocks.add(party(1), at(now)).unwrap();
            assert_eq!(block.repetition as usize, repetition);
            assert_eq!(block.lasts, MINUTE * minutes);
            now += minutes;
            assert_eq!(blocks.left(party(1), at(now - 1)), Some(MINUTE));
            assert_eq!(blocks.left(party(1), at(now)), None);
        }
        assert_eq!(lasts(&mut blocks, 1, at(now + 99)), Some(100));
        assert_eq!(lasts(&mut blocks, 1, at(now + 99 + 100 + 100)), Some(15));
    }

    #[test]
    fn a_full_table_frees_nobody_for_newcomers_and_keeps_those_that_last_longest() {
        let mut blocks = Blocks::new(3, MINUTE * 15, MINUTE * 100);
        let held = |blocks: &Blocks, host, now| blocks.left(party(host), at(now)).is_some();
        for host in 1..=3 {
            assert_eq!(lasts(&mut blocks, host, at(host)), Some(15));
        }
        for newcomer in 4..1000 {
            assert_eq!(lasts(&mut blocks, newcomer, at(5)), None);
        }
        assert!((1..=3).all(|host| held(&blocks, host, 5)));

        assert_eq!(
            lasts(&mut blocks, 1, at(16)),
            Some(30),
            "a repetition lasts longer"
        );
        assert_eq!(
            lasts(&mut blocks, 4, at(17)),
            Some(15),
            "the second one has ended"
        );
        assert!([1, 3, 4].iter().all(|host| held(&blocks, *host, 17)) && !held(&blocks, 2, 17));
        assert_eq!((lasting(&blocks, 17), lasting(&blocks, 18)), (3, 2));
        blocks.sweep(at(1000));
        assert!(blocks.of.entries.is_empty());
    }

    #[test]
    fn in_a_full_table_the_block_that_ended_first_is_forgotten_and_no_other_repetition() {
        let mut blocks = Blocks::new(3, MINUTE * 15, MINUTE * 100);
        for host in 1..=3 {
            assert_eq!(lasts(&mut blocks, host, at(host)), Some(15));
        }
        assert_eq!(lasts(&mut blocks, 4, at(30)), Some(15));
        assert_eq!(lasts(&mut blocks, 3, at(30)), Some(30), "the second of it");
        assert_eq!(lasts(&mut blocks, 5, at(30)), Some(15), "at once");
        assert_eq!(lasts(&mut blocks, 6, at(30)), None);
    }

    #[test]
    fn a_block_from_elsewhere_counts_like_one_of_our_own_and_takes_no_room_that_there_is_not() {
        let mut blocks = Blocks::new(1, MINUTE * 15, MINUTE * 100);
        assert!(blocks.adopt(party(1), at(20), at(0)));
        assert!(blocks.adopt(party(1), at(30), at(5)), "told again");
        assert_eq!(blocks.left(party(1), at(20)), Some(MINUTE * 10));
        assert!(!blocks.adopt(party(2), at(30), at(20)));
        assert_eq!(blocks.left(party(2), at(20)), None);
        assert_eq!(lasts(&mut blocks, 1, at(30)), Some(30), "the second of it");
    }

    #[test]
    fn a_repetition_displaces_a_first_block_when_there_is_no_other_room() {
        let mut blocks = Blocks::new(2, MINUTE * 15, MINUTE * 100);
        assert_eq!(lasts(&mut blocks, 1, at(0)), Some(15));
        assert_eq!(lasts(&mut blocks, 2, at(14)), Some(15));
        assert_eq!(lasts(&mut blocks, 1, at(15)), Some(30));
        assert_eq!(lasts(&mut blocks, 3, at(16)), None);
        assert_eq!(lasting(&blocks, 16), 2);
    }
}

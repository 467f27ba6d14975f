//! Owns the blocks: who is refused until when, and how often before.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::Block;
use crate::clock::Tick;
use crate::domain::Network;

/// The last block of a network.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ends: Tick,
    repetition: u32,
}

/// Blocks that last, and ended ones that a repetition would be measured by.
#[derive(Debug)]
pub(super) struct Blocks {
    entries: HashMap<Network, Entry>,
    /// The same, in the order in which they end: ended ones are the first to make room.
    order: BTreeSet<(Tick, Network)>,
    capacity: usize,
    first: Duration,
    longest: Duration,
}

impl Blocks {
    /// No blocks, of which `capacity` will be remembered; the first of a network lasts `first`, none more than
    /// `longest`.
    pub(super) fn new(capacity: usize, first: Duration, longest: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeSet::new(),
            capacity,
            first,
            longest,
        }
    }

    /// How long `network` is still blocked.
    pub(super) fn left(&self, network: Network, now: Tick) -> Option<Duration> {
        let entry = self.entries.get(&network)?;
        (entry.ends > now).then(|| entry.ends.since(now))
    }

    /// Blocks `network`, which is not blocked. `None` when the table is full of blocks that last and were earned no less
    /// often: a flood of newcomers must not free anybody.
    pub(super) fn add(&mut self, network: Network, now: Tick) -> Option<Block> {
        self.sweep(now);
        let repetition = self
            .entries
            .get(&network)
            .map_or(0, |last| last.repetition.saturating_add(1));
        let doubled = 1_u32.checked_shl(repetition).unwrap_or(u32::MAX);
        let lasts = self.first.saturating_mul(doubled).min(self.longest);
        let ends = now.plus(lasts);
        self.remove(network);
        if !self.makes_room(repetition, now) {
            return None;
        }
        self.entries.insert(network, Entry { ends, repetition });
        self.order.insert((ends, network));
        Some(Block {
            network,
            lasts,
            repetition,
        })
    }

    /// Blocks `network` until `ends`, as somebody else has decided. False when there is no room.
    pub(super) fn adopt(&mut self, network: Network, ends: Tick, now: Tick) -> bool {
        let last = self.entries.get(&network);
        let repetition = last.map_or(0, |last| last.repetition);
        self.remove(network);
        let has_room = self.makes_room(repetition, now);
        if has_room {
            self.entries.insert(network, Entry { ends, repetition });
            self.order.insert((ends, network));
        }
        has_room
    }

    /// Forgets blocks that ended so long ago that another would be a first one again.
    pub(super) fn sweep(&mut self, now: Tick) {
        while let Some(&(ends, network)) = self.order.first() {
            if ends.plus(self.longest) > now {
                break;
            }
            self.remove(network);
        }
    }

    /// Blocks that last.
    #[cfg(test)]
    pub(super) fn lasting(&self, now: Tick) -> usize {
        let lasting = self.order.iter().rev().take_while(|(ends, _)| *ends > now);
        lasting.count()
    }

    fn makes_room(&mut self, repetition: u32, now: Tick) -> bool {
        if self.entries.len() < self.capacity {
            return true;
        }
        let Some(&(ends, soonest)) = self.order.first() else {
            return false;
        };
        let earned = self
            .entries
            .get(&soonest)
            .map_or(0, |entry| entry.repetition);
        let gives_way = ends <= now || earned < repetition;
        if gives_way {
            self.remove(soonest);
        }
        gives_way
    }

    fn remove(&mut self, network: Network) {
        if let Some(entry) = self.entries.remove(&network) {
            self.order.remove(&(entry.ends, network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn network(host: u32) -> Network {
        Network::of(std::net::Ipv4Addr::from_bits(host).into())
    }

    fn at(minutes: u32) -> Tick {
        Tick::from_duration(MINUTE * minutes)
    }

    fn lasts(blocks: &mut Blocks, host: u32, now: Tick) -> Option<u64> {
        let block = blocks.add(network(host), now)?;
        Some(block.lasts.as_secs() / 60)
    }

    #[test]
    fn repetitions_double_up_to_the_longest_and_are_forgotten_that_long_after_the_end() {
        let mut blocks = Blocks::new(10, MINUTE * 15, MINUTE * 100);
        let mut now = 0;
        for (repetition, minutes) in [15, 30, 60, 100, 100].into_iter().enumerate() {
            let block = blocks.add(network(1), at(now)).unwrap();
            assert_eq!(block.repetition as usize, repetition);
            assert_eq!(block.lasts, MINUTE * minutes);
            now += minutes;
            assert_eq!(blocks.left(network(1), at(now - 1)), Some(MINUTE));
            assert_eq!(blocks.left(network(1), at(now)), None);
        }
        assert_eq!(lasts(&mut blocks, 1, at(now + 99)), Some(100));
        assert_eq!(lasts(&mut blocks, 1, at(now + 99 + 100 + 100)), Some(15));
    }

    #[test]
    fn a_full_table_frees_nobody_for_newcomers_and_keeps_those_that_last_longest() {
        let mut blocks = Blocks::new(3, MINUTE * 15, MINUTE * 100);
        let held = |blocks: &Blocks, host, now| blocks.left(network(host), at(now)).is_some();
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
        assert_eq!((blocks.lasting(at(17)), blocks.lasting(at(18))), (3, 2));
        blocks.sweep(at(1000));
        assert!(blocks.entries.is_empty() && blocks.order.is_empty());
    }

    #[test]
    fn a_block_from_elsewhere_counts_like_one_of_our_own_and_takes_no_room_that_there_is_not() {
        let mut blocks = Blocks::new(1, MINUTE * 15, MINUTE * 100);
        assert!(blocks.adopt(network(1), at(20), at(0)));
        assert!(blocks.adopt(network(1), at(30), at(5)), "told again");
        assert_eq!(blocks.left(network(1), at(20)), Some(MINUTE * 10));
        assert!(!blocks.adopt(network(2), at(30), at(20)));
        assert_eq!(blocks.left(network(2), at(20)), None);
        assert_eq!(lasts(&mut blocks, 1, at(30)), Some(30), "the second of it");
    }

    #[test]
    fn a_repetition_displaces_a_first_block_when_there_is_no_other_room() {
        let mut blocks = Blocks::new(2, MINUTE * 15, MINUTE * 100);
        assert_eq!(lasts(&mut blocks, 1, at(0)), Some(15));
        assert_eq!(lasts(&mut blocks, 2, at(14)), Some(15));
        assert_eq!(lasts(&mut blocks, 1, at(15)), Some(30));
        assert_eq!(lasts(&mut blocks, 3, at(16)), None);
        assert_eq!(blocks.lasting(at(16)), 2);
    }
}

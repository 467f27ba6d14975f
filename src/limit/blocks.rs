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

    /// Blocks `network`, which is not blocked. `None` when the table is full of blocks that end no sooner.
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
        if !self.makes_room(ends) {
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
    pub(super) fn lasting(&self, now: Tick) -> usize {
        let lasting = self.order.iter().rev().take_while(|(ends, _)| *ends > now);
        lasting.count()
    }

    fn makes_room(&mut self, ends: Tick) -> bool {
        if self.entries.len() < self.capacity {
            return true;
        }
        let soonest = self.order.first().copied();
        let Some((_, displaced)) = soonest.filter(|(soonest, _)| *soonest < ends) else {
            return false;
        };
        self.remove(displaced);
        true
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
    fn a_full_table_keeps_the_blocks_that_last_longest() {
        let mut blocks = Blocks::new(3, MINUTE * 15, MINUTE * 100);
        for host in 1..=3 {
            assert_eq!(lasts(&mut blocks, host, at(host)), Some(15));
        }
        assert_eq!(lasts(&mut blocks, 4, at(0)), None, "it would end first");
        assert_eq!(lasts(&mut blocks, 5, at(1)), None, "it would end first too");
        assert_eq!(lasts(&mut blocks, 6, at(5)), Some(15));
        let held = |blocks: &Blocks, host| blocks.left(network(host), at(5)).is_some();
        assert!(!held(&blocks, 1));
        for host in [2, 3, 6] {
            assert!(held(&blocks, host), "{host}");
        }
        assert_eq!(blocks.lasting(at(5)), 3);
        assert_eq!(blocks.lasting(at(17)), 2);
        assert_eq!(lasts(&mut blocks, 7, at(19)), Some(15));
        assert!(blocks.left(network(6), at(19)).is_some());
        blocks.sweep(at(1000));
        assert!(blocks.entries.is_empty() && blocks.order.is_empty());
    }
}

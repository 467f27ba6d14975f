//! Owns what a replica has done alone, and the server is still to be told.

use std::collections::HashMap;

use crate::clock::Tick;
use crate::domain::{Party, SessionKey};
use crate::store::redis::Over;

/// Most sessions that wait for the server; further ones are unknown to it when it is back.
const MOST_SESSIONS: usize = 100_000;
/// Most ends that wait for it.
const MOST_ENDS: usize = 10_000;

/// Sessions to be sent and ends to be said.
#[derive(Default)]
pub(super) struct Backlog {
    sessions: HashMap<SessionKey, Over>,
    ends: HashMap<Party, Tick>,
    overflowed: bool,
}

impl Backlog {
    /// The session is to be sent. When there is no more room, those make some that are no longer known; where that is little, it
    /// is not tried again for each that follows.
    pub(super) fn send(
        &mut self,
        (key, over): (SessionKey, Over),
        is_known: impl Fn(&SessionKey) -> bool,
    ) {
        if self.sessions.len() >= MOST_SESSIONS && !self.overflowed {
            self.sessions.retain(|key, _| is_known(key));
            if self.sessions.len() > MOST_SESSIONS - MOST_SESSIONS / 10 {
                self.overflow();
            }
        }
        if self.sessions.len() < MOST_SESSIONS || self.sessions.contains_key(&key) {
            self.sessions.entry(key).or_insert(over);
        } else {
            self.overflow();
        }
    }

    /// That the party's sessions ended at `moment` is to be said.
    pub(super) fn say(&mut self, party: Party, moment: Tick) {
        if self.ends.len() < MOST_ENDS || self.ends.contains_key(&party) {
            self.ends.insert(party, moment);
        } else {
            self.overflow();
        }
    }

    /// All sessions that wait.
    pub(super) fn sessions(&self) -> Vec<SessionKey> {
        self.sessions.keys().copied().collect()
    }

    /// True while an end waits.
    pub(super) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// All ends that wait.
    pub(super) fn ends(&self) -> Vec<(Party, Tick)> {
        self.ends
            .iter()
            .map(|(party, moment)| (*party, *moment))
            .collect()
    }

    /// Over what the session may be sent, if it waits.
    pub(super) fn over(&self, key: SessionKey) -> Option<Over> {
        self.sessions.get(&key).copied()
    }

    /// The session has been sent.
    pub(super) fn sent(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
        self.overflowed &= !self.sessions.is_empty();
    }

    /// What was to be said of the party, as of `moment`, has been said.
    pub(super) fn said(&mut self, party: Party, moment: Tick) {
        if self.ends.get(&party) == Some(&moment) {
            self.ends.remove(&party);
        }
        self.overflowed &= !(self.ends.is_empty() && self.sessions.is_empty());
    }

    fn overflow(&mut self) {
        if !self.overflowed {
            self.overflowed = true;
            tracing::warn!(
                sessions = self.sessions.len(),
                ends = self.ends.len(),
                "no more can wait for Redis: further sessions will be unknown when it is back, and further ends must be said again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Network, SessionId, SessionSeal};

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let (mut backlog, seal) = (Backlog::default(), SessionSeal::random());
        let first = seal.key(&SessionId::random());
        backlog.send((first, Over::AnyOlder), |_| true);
        for _ in 0..MOST_SESSIONS + 10 {
            backlog.send((seal.key(&SessionId::random()), Over::Older), |_| true);
        }
        backlog.send((first, Over::Older), |_| true);
        assert_eq!(backlog.sessions().len(), MOST_SESSIONS);
        assert_eq!(
            backlog.over(first),
            Some(Over::AnyOlder),
            "it was opened here"
        );
        assert!(backlog.overflowed);
        for host in 0..20_000 {
            let network = Network::of(std::net::Ipv4Addr::from_bits(host).into());
            backlog.say(Party::Network(network), Tick::from_nanos(host.into()));
        }
        assert_eq!(backlog.ends().len(), MOST_ENDS);
        let (party, moment) = backlog.ends()[0];
        backlog.say(party, moment.plus(std::time::Duration::from_secs(1)));
        backlog.said(party, moment);
        assert_eq!(backlog.ends().len(), MOST_ENDS, "it ended again meanwhile");
        for key in backlog.sessions() {
            backlog.sent(key);
        }
        assert!(!backlog.overflowed);
    }

    #[test]
    fn what_is_no_longer_known_makes_room() {
        let (mut backlog, seal) = (Backlog::default(), SessionSeal::random());
        for _ in 0..MOST_SESSIONS {
            backlog.send((seal.key(&SessionId::random()), Over::Older), |_| true);
        }
        let last = seal.key(&SessionId::random());
        backlog.send((last, Over::Older), |_| false);
        assert_eq!(backlog.sessions(), [last]);
        assert!(!backlog.overflowed);
    }

    #[test]
    fn a_crowd_that_is_all_known_is_looked_through_once_and_not_for_each_that_follows() {
        let (mut backlog, seal) = (Backlog::default(), SessionSeal::random());
        let looks = std::cell::Cell::new(0);
        for _ in 0..MOST_SESSIONS + 100 {
            backlog.send((seal.key(&SessionId::random()), Over::Older), |_| {
                looks.set(looks.get() + 1);
                // One of them gave way to a newer one.
                looks.get() != 1
            });
        }
        assert_eq!(looks.get(), MOST_SESSIONS);
        assert_eq!(backlog.sessions().len(), MOST_SESSIONS);
    }
}

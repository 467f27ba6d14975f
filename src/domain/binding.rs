//! Bindings: how firmly sessions are tied to networks.

use super::Party;

/// How firmly a session is tied to the networks that it is used from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// At most this many networks over the session's life.
    AtMost(usize),
    /// Every network is allowed, and a new one is recorded.
    Soft,
    /// Networks are ignored.
    Off,
}

/// The binding of each kind of session.
#[derive(Clone, Copy, Debug)]
pub struct Bindings {
    /// Sessions of callers without identity: only the network tells their owner from a stranger.
    pub anonymous: Binding,
    /// Sessions of identities, whose phones change networks.
    pub identified: Binding,
}

impl Bindings {
    /// Returns the binding of sessions of `owner`.
    pub(super) const fn of(self, owner: Party) -> Binding {
        match owner {
            Party::Network(_) => self.anonymous,
            Party::Identity(_) => self.identified,
        }
    }
}

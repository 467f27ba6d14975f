//! Owns what is written down of a session so that it survives the process.

use super::{Party, SessionKey};
use crate::clock::Timestamp;

/// A session between two runs, in wall-clock time: ticks end with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// Its place: a keyed hash of its id.
    pub key: SessionKey,
    /// Whom it belongs to.
    pub owner: Party,
    /// What else it is, in the words of the store.
    pub what: Box<str>,
    /// Grows with every change.
    pub revision: u64,
    /// How often it was refreshed.
    pub refreshes: u32,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it last minted.
    pub minted: Timestamp,
}

//! Owns the Redis kinds: what replicas share on one server, each decision one script in one round trip.
//!
//! All keys begin with one hash tag, so that a cluster keeps them together and accepts scripts over several of them. Time
//! is the server's: replicas' clocks may differ. Memory is bounded by times to live and by the server's own `maxmemory`,
//! whose policy must be `noeviction`: an evicted window would be a second allowance.

mod sessions;

use std::time::Duration;

pub(super) use sessions::Over;
pub use sessions::RedisStore;

/// What all keys begin with.
const PREFIX: &str = "{broker}:";

/// In whole microseconds, as scripts count.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// In whole milliseconds, as times to live are given.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

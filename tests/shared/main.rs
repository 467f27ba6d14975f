//! What replicas share: contracts over every kind of limits and sessions, and a Redis server that fails.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests fail by panicking, spawn callers that nothing waits for, and measure"
)]

mod emptied;
mod faults;
mod flood;
mod hesitation;
mod limits;
mod offences;
mod outage;
mod server;
mod stage;
mod tls;
mod weight;

//! The ledger: one contract over every kind, and what happens when disks, servers and processes fail under it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests fail by panicking, spawn callers that nothing waits for, and look at the clock on the wall"
)]

mod child;
mod contract;
mod cut;
mod disk;
mod kinds;
mod lines;
mod lock;
mod migration;
mod outage;
mod quota;
mod reports;
mod schema;
mod server;
mod session_bounds;
mod sessions;
mod sqlite_file;
mod tls;

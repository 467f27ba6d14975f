//! The doors against what stands behind them: contracts over every kind, real servers that fail, the real client against
//! the simulated provider, and the simulated provider against the published schema.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests fail by panicking, spawn callers that nothing waits for, and look at the clock on the wall"
)]

#[expect(dead_code, reason = "other test crates use the rest of the kit")]
#[path = "../kit/mod.rs"]
mod kit;

mod auth;
mod records;
mod simulator;
mod upstream;
mod windows;

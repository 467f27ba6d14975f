//! The doors against what stands behind them: contracts over every kind, the real client against the simulated
//! upstream.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests fail by panicking, and spawn callers that nothing waits for"
)]

mod auth;
mod faults;
mod harness;
mod key;
mod openai;
mod outage;
mod streams;

//! The doors against what stands behind them: contracts over every kind, the real client against the simulated
//! upstream.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

mod faults;
mod harness;
mod openai;
mod outage;
mod session_store;

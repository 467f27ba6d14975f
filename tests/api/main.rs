//! The service as callers meet it: the router in-process, a scripted minter, a clock turned by hand.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    unreachable_pub,
    reason = "tests fail by panicking, and are read rather than documented"
)]

mod audit;
mod compat;
mod cors;
mod failures;
mod guards;
mod hang_up;
mod harness;
mod headers;
mod health;
mod input;
mod rate_limit;
mod refresh;
mod secrecy;
mod token;

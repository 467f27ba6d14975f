//! The service as callers meet it: the router in-process, a scripted minter, a clock turned by hand.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests fail by panicking, spawn callers that nothing waits for, and print figures"
)]

#[expect(dead_code, reason = "other test crates use the rest of the kit")]
#[path = "../kit/mod.rs"]
mod kit;

mod agreement;
mod alerts;
mod audit;
mod calls;
mod compat;
mod cors;
mod dashboard;
mod demo;
mod failures;
mod fragile;
mod gate;
mod guards;
mod hang_up;
mod headers;
mod health;
mod honest_requests;
mod identity;
mod input;
mod listener;
mod look_up;
mod metrics;
mod ops;
mod persona;
mod quota;
mod rate_limit;
mod records;
mod refresh;
mod runbook;
mod secrecy;
mod service_keys;
mod shared_address;
mod token;
mod traces;
mod transcribe;

//! The real executable over real sockets: start, signals, raw requests, nginx in front, other people's clients.
//!
//! What these tests need beside Rust is installed by `scripts/test-tools.sh`; what is missing fails and says so.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests fail by panicking, and other processes live in real time"
)]

#[expect(dead_code, reason = "other test crates use the rest of the kit")]
#[path = "../kit/mod.rs"]
mod kit;

mod alerts;
mod ambiguous;
mod ambiguous_table;
mod calls;
mod check;
mod command_line;
mod connection_limits;
mod contract;
mod deployment_files;
mod dev_desk;
mod disk;
mod drain;
mod exact_over_replicas;
mod gate;
mod haproxy;
mod heavy;
mod hosts;
mod identity;
mod init;
mod kill;
mod ledger;
mod ledger_file;
mod log;
mod lost_commits;
mod metrics;
mod million;
mod nginx;
mod nginx_errors;
mod nginx_front;
mod nginx_slow;
mod ops_load;
mod other_hosts;
mod outages;
mod persist;
mod pid_one;
mod pooler;
mod postgres;
mod quota;
mod reconcile;
mod refused_bodies;
mod relay;
mod reload;
mod replicas;
mod rolling;
mod round_trips;
mod sdk;
mod secrecy;
mod secrecy_records;
mod secrets_again;
mod share;
mod signals;
mod size_limits;
mod slow_clients;
mod start;
mod sync_order;
mod tls;
mod traces;
mod transcribe;
mod unread_log;
mod usage;
mod way_out;

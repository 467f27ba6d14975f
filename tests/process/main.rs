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

mod ambiguous;
mod ambiguous_table;
mod books;
mod caps;
mod check;
mod command_line;
mod cuts;
mod dawdlers;
mod disk;
mod drain;
mod fleet;
mod gate;
mod given;
mod haproxy;
mod harness;
mod heavy;
mod hosts;
mod http;
mod identity;
mod kill;
mod ledger;
mod log;
mod moments;
mod nginx;
mod nginx_errors;
mod nginx_front;
mod nginx_slow;
mod outages;
mod people;
mod persist;
mod pid_one;
mod postgres;
#[expect(
    dead_code,
    clippy::disallowed_methods,
    reason = "the ledger's own tests use more of it, and it serves in the background"
)]
#[path = "../records/cut.rs"]
mod postgres_cut;
#[expect(
    dead_code,
    clippy::disallowed_methods,
    reason = "the ledger's own tests use more of it, and programs are looked for where PATH says"
)]
#[path = "../records/server.rs"]
mod postgres_server;
mod quota;
#[expect(dead_code, reason = "the tests of what replicas share use more of it")]
#[path = "../shared/server.rs"]
mod redis_server;
mod replicas;
mod rolling;
mod round_trips;
mod sdk;
mod secrecy;
mod secrecy_records;
mod signals;
mod sink;
mod sizes;
mod start;
mod sync_order;
mod tls;
mod tools;
mod unread;
mod usage;
mod wire;

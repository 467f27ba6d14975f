//! What every test crate uses: the broker in process and as an executable, fake peers, issuers, databases, one way to wait.
//!
//! Each test crate compiles the kit as a module and uses the part that it needs. A library would have to depend on the broker
//! while the broker's tests depend on the library, so that every change of the broker built three crates one after another.

pub mod answer;
pub mod calls;
pub mod connect_proxy;
pub mod executable;
pub mod host;
pub mod http;
pub mod in_process;
pub mod issuer;
pub mod load;
pub mod log_lines;
pub mod memory;
pub mod minter;
pub mod pgbouncer;
pub mod postgres;
pub mod programs;
pub mod provider;
pub mod proxy;
pub mod receiver;
pub mod recordings;
pub mod redis;
pub mod scratch;
pub mod tls_front;
pub mod waiting;
pub mod wire;

/// The page that may call in every test.
pub const PAGE: &str = "https://app.example.com";

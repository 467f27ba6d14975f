//! Windows: contracts over every kind, and what replicas that share a Redis server do while it fails.

mod emptied_server;
mod faults;
mod flood;
mod limits;
mod memory;
mod offences;
mod outage;
mod slow_server;
mod stage;
mod tls;

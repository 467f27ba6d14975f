//! Windows: contracts over every kind, and what replicas that share a Redis server do while it fails.

mod emptied;
mod faults;
mod flood;
mod hesitation;
mod limits;
mod offences;
mod outage;
mod stage;
mod tls;
mod weight;

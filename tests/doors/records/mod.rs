//! The records: one contract over every kind, and what happens when disks, servers and processes fail under them.

mod alerts;
mod announcements;
mod budgets;
mod call_answers;
mod call_claims;
mod call_uses;
mod calls;
mod child_process;
mod contract;
mod disk;
mod kinds;
mod lock;
mod migration;
mod outage;
mod quota;
mod reports;
mod round_trips;
mod schema;
mod session_bounds;
mod sessions;
mod sqlite_file;
mod tickets;
mod tls;
mod transcriptions;
mod views;

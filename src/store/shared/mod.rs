//! Owns what becomes of shared limits and sessions while the server that shares them is gone: each replica goes by its
//! share of the limits and by the sessions it knows.

mod backlog;
mod sessions;

pub use sessions::SharedStore;

//! Owns what becomes of shared limits and sessions while the server that shares them is gone: each replica goes by its
//! share of the limits and by the sessions it knows.

mod ends;
mod limits;
mod sessions;

pub use limits::{OnFailure, SharedLimits};
pub use sessions::SharedStore;

//! The routes: one file per question.

pub mod call_events;
pub mod calls;
pub mod compat;
pub mod demo;
pub mod granted;
pub mod health;
pub mod live;
pub mod refresh;
pub mod relay;
pub mod token;
pub mod transcribe;
pub mod tricks;
mod wanted;
pub mod webhook;

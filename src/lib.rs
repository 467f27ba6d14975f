//! A broker of client secrets for OpenAI's Realtime API.

pub mod clock;
pub mod domain;

pub mod simulator;

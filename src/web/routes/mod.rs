//! Owns the routes: one file per question.

pub mod compat;
pub mod demo;
pub mod granted;
pub mod health;
pub mod refresh;
pub mod token;

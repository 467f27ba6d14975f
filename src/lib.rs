//! A broker of client secrets for OpenAI's Realtime API: the small server between web pages and the provider, so that
//! the operator's API key never reaches a browser.
//!
//! The modules stand on floors and import only downwards; `docs/architecture.md` is the map. A request's way:
//!
//! ```text
//! browser ─▶ layers ─▶ guards (paid routes) ─▶ handler ─▶ Broker ─▶ records, upstream, audit
//! ```

pub mod clock;
pub mod domain;
pub mod provider;

pub mod http_client;
pub mod limit;
pub mod metrics;
pub mod spans;
pub mod tls;
pub mod websocket;

pub mod config;

pub mod audit;
pub mod auth;
pub mod gate;
pub mod records;
pub mod telemetry;
pub mod upstream;
pub mod webhook;

pub mod broker;

pub mod relay;

pub mod web;

pub mod app;
pub mod simulator;

pub mod cli;

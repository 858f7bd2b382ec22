//! Hearth: a self-hosted realtime coordination server with team chat on top. ARCHITECTURE.md has the map.

pub mod actors;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod domain;
pub mod inference;
pub mod limits;
pub mod protocol;
pub mod storage;
pub mod telemetry;
pub mod transport;

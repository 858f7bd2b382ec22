//! Hearth: a self-hosted realtime coordination server with team chat on top. ARCHITECTURE.md has the map.

pub mod domain;
pub mod storage;

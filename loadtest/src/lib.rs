//! Honest clients of Hearth, a checker that trusts nothing, and the loads built from both.
//!
//! Everything here speaks the public protocol (PROTOCOL.md) and links nothing of the server, so what it finds
//! is what any client would find. The integration tests use it as a library, operators as the `loadtest` binary.

pub mod baseline;
pub mod check;
pub mod client;
pub mod confidential;
pub mod faults;
pub mod history;
pub mod lean;
pub mod machine;
pub mod pin;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod server;
pub mod socket;
pub mod stats;
pub mod trial;
pub mod upstream;
pub mod wire;
pub mod words;
pub mod world;

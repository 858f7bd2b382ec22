//! What travels: frames, their JSON, error and close codes. No sockets, no SQL. PROTOCOL.md is the contract.

pub mod action;
pub mod badge;
pub mod client_frame;
pub mod close;
pub mod cursor;
pub mod encode;
pub mod error;
pub mod json;
pub mod outgoing;
pub mod payload;
pub mod trace;
pub mod view;
pub mod webhook;
pub mod websocket;

pub use client_frame::{ClientFrame, Level, Request, RequestId, Resume};
pub use close::CloseCode;
pub use trace::TraceId;

/// The one WebSocket subprotocol there is.
pub const SUBPROTOCOL: &str = "hearth.v1.json";

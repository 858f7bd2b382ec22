//! How bytes arrive: WebSockets, the REST API, the operators' pages and the web client.

pub mod assets;
pub mod http;
pub mod ops;
pub mod ws;

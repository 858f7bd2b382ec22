//! How bytes arrive: WebSockets, the REST API, the operators' pages and the web client.

mod address;
pub mod assets;
mod headers;
pub mod http;
pub mod ops;
pub mod qr;
pub mod ws;

pub use address::client_address;

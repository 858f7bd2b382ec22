//! WebSocket: the handshake, then the socket is taken over from the HTTP dispatcher and its buffers are freed.

mod entry;
mod reader;
mod upgrade;

pub use upgrade::Upgrade;

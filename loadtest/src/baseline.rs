//! What the server is compared with: a bare epoll loop that hands frames on. No HTTP, no identity, no actors, no store.
//!
//! It runs as a process of its own, so that its CPU time can be read like the server's, takes its options as a line of JSON
//! on standard input, says where it listens on standard output, and ends when standard input does.

mod broadcaster;
mod member;
mod process;
mod wire;

use serde::{Deserialize, Serialize};

pub use broadcaster::serve;
pub use process::{Baseline, BaselineError, Launcher};
pub use wire::{FIRST_SEQ, TAG, post};

/// When it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each message at once.
    Plain,
    /// What was readable in one turn of the loop, in one write per receiver.
    Coalescing,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Plain => "plain",
            Mode::Coalescing => "coalescing",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub mode: Mode,
    /// Bytes of the payload of a frame it hands out: what the server's event has.
    pub frame_bytes: usize,
}

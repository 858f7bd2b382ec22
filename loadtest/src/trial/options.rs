//! The size of a trial.

use serde::{Deserialize, Serialize};

use super::fault::FaultKind;
use crate::check::Promises;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub seed: u64,
    /// Devices that act.
    pub clients: usize,
    /// Devices that mostly listen; the first few are second devices of acting users.
    pub listeners: usize,
    /// Rooms at the beginning.
    pub rooms: usize,
    /// Actions over all clients; a post in a burst counts as one.
    pub actions: usize,
    /// Are all actions posts?
    pub posts_only: bool,
    /// A socket sends up to so many posts before it waits for their acks.
    pub burst: usize,
    /// A client waits up to so long between actions.
    pub pause_ms: u64,
    /// A listener drops its connection after about so many events.
    pub drop_after: usize,
    pub faults: usize,
    /// What the faults are drawn from.
    pub kinds: Vec<FaultKind>,
    /// Is the server's outbox so small that signals may give way to events? Then a client ends indicators by its own clock.
    pub tight: bool,
    /// The server's replay window, in events.
    pub window: u64,
    /// The same in bytes.
    pub window_bytes: u64,
    /// After the last action everybody has so long to hear the rest.
    pub catch_up_ms: u64,
    /// The whole run has to be over by then.
    pub deadline_ms: u64,
}

impl Default for Options {
    /// A random plan that takes a few seconds.
    fn default() -> Options {
        Options {
            seed: 1,
            clients: 8,
            listeners: 5,
            rooms: 6,
            actions: 400,
            posts_only: false,
            burst: 3,
            pause_ms: 25,
            drop_after: 120,
            faults: 4,
            kinds: FaultKind::PROCESS.to_vec(),
            tight: false,
            window: 1_000,
            window_bytes: 256 * 1024,
            catch_up_ms: 20_000,
            deadline_ms: 120_000,
        }
    }
}

impl Options {
    /// What the checker holds the server to.
    pub(super) fn promises(&self) -> Promises {
        Promises { window: self.window, window_bytes: self.window_bytes }
    }

    /// Nothing but posts and kills, and many of them.
    pub fn kills() -> Options {
        Options {
            clients: 20,
            listeners: 6,
            rooms: 10,
            actions: 5_000,
            posts_only: true,
            burst: 5,
            pause_ms: 20,
            drop_after: 400,
            faults: 5,
            kinds: vec![FaultKind::Kill],
            catch_up_ms: 30_000,
            deadline_ms: 300_000,
            ..Options::default()
        }
    }
}

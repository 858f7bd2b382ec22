//! The checker: compares what the clients recorded with what the store tells, and believes neither.

mod deeds;
mod feeds;
mod gone;
mod listeners;
mod membership;
mod order;
mod posts;
mod signals;
mod store;
#[cfg(test)]
mod tests;
mod unread;
mod violation;

use crate::history::History;

pub use store::{RoomView, Search, StoreView};
pub use violation::Violation;

/// What was promised in numbers.
#[derive(Debug, Clone, Copy)]
pub struct Promises {
    /// Events the server replays; fewer are never a gap.
    pub window: u64,
    /// Bytes it replays in one reply.
    pub window_bytes: u64,
}

/// Everything that breaks a promise of PROTOCOL.md. Empty is good.
pub fn check(history: &History, store: &StoreView, promises: &Promises) -> Vec<Violation> {
    let mut found = Vec::new();
    store.check(&mut found);
    posts::check(history, store, &mut found);
    deeds::check(history, store, &mut found);
    order::check(history, &mut found);
    gone::check(history, store, &mut found);
    for listener in &history.listeners {
        listeners::check(listener, store, promises, &mut found);
        membership::check(listener, history, store, &mut found);
        signals::check(listener, &mut found);
    }
    signals::check_endings(history, &mut found);
    for feed in &history.feeds {
        feeds::check(feed, history, store, &mut found);
    }
    unread::check(history, store, &mut found);
    found
}

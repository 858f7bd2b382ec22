//! The checker: compares what the clients recorded with what the store tells, and believes neither.

mod feeds;
mod listeners;
mod posts;
mod store;
#[cfg(test)]
mod tests;
mod violation;

use crate::history::History;

pub use store::{RoomView, StoreView};
pub use violation::Violation;

/// Everything that breaks a promise of PROTOCOL.md section 1. Empty is good.
pub fn check(history: &History, store: &StoreView) -> Vec<Violation> {
    let mut found = Vec::new();
    store.check(&mut found);
    posts::check(history, store, &mut found);
    posts::check_real_time(history, &mut found);
    for listener in &history.listeners {
        listeners::check(listener, store, &mut found);
    }
    for feed in &history.feeds {
        feeds::check(feed, store, &mut found);
    }
    found
}

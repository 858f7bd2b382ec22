//! Which sockets of a user can be asked, and which of them was used last. Kept by the hubs, read by the actor that asks.
//!
//! A hub enters a socket and then looks whether its user is asked for something; the actor notes that and then looks for a socket:
//! whoever is second sees the other.

use crate::actors::hub::ConnId;
use crate::domain::UserId;
use dashmap::{DashMap, DashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// When a socket was last used: by the client of itself, not by its heartbeat.
#[derive(Debug, Clone, Default)]
pub struct Used(Arc<AtomicU64>);

#[derive(Debug)]
struct Line {
    conn: ConnId,
    used: Used,
}

/// See the module. One entry per socket, and one per user who is asked for something.
#[derive(Debug)]
pub(super) struct Lines {
    origin: Instant,
    of: DashMap<UserId, Vec<Line>>,
    asked: DashSet<UserId>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), of: DashMap::new(), asked: DashSet::new() }
    }

    /// The socket is used.
    pub(super) fn touch(&self, used: &Used, now: Instant) {
        let at = now.saturating_duration_since(self.origin).as_micros();
        used.0.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A socket can be asked; whether something waits for its user.
    pub(super) fn enter(&self, user: UserId, conn: ConnId, used: &Used) -> bool {
        self.touch(used, Instant::now());
        self.of.entry(user).or_default().push(Line { conn, used: used.clone() });
        self.asked.contains(&user)
    }

    /// A socket is gone; whether something was asked of its user.
    pub(super) fn leave(&self, user: UserId, conn: ConnId) -> bool {
        if let Some(mut lines) = self.of.get_mut(&user) {
            lines.retain(|line| line.conn != conn);
        }
        self.of.remove_if(&user, |_, lines| lines.is_empty());
        self.asked.contains(&user)
    }

    /// Whether the user is asked for something from here on.
    pub(super) fn ask(&self, user: UserId, asked: bool) {
        if asked {
            self.asked.insert(user);
        } else {
            self.asked.remove(&user);
        }
    }

    /// Whether anybody can be asked.
    pub(super) fn is_anybody(&self) -> bool {
        !self.of.is_empty()
    }

    /// The user's socket that was used last.
    pub(super) fn last_used(&self, user: UserId) -> Option<ConnId> {
        let lines = self.of.get(&user)?;
        lines.iter().max_by_key(|line| line.used.0.load(Ordering::Relaxed)).map(|line| line.conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_last_used_is_found_and_nothing_is_left() {
        let lines = Lines::new();
        let (ann, now) = (UserId::new(1), Instant::now());
        let [one, two] = [1, 2].map(|serial| ConnId { hub: 0, serial });
        let (first, second) = (Used::default(), Used::default());
        assert_eq!(lines.last_used(ann), None);
        assert!(!lines.is_anybody());
        assert!(!lines.enter(ann, one, &first) && !lines.enter(ann, two, &second));
        lines.touch(&first, now + Duration::from_secs(2));
        assert_eq!(lines.last_used(ann), Some(one));
        lines.touch(&second, now + Duration::from_secs(3));
        assert_eq!(lines.last_used(ann), Some(two));
        lines.ask(ann, true);
        assert!(lines.leave(ann, two), "something was asked");
        assert!(lines.is_anybody());
        assert_eq!(lines.last_used(ann), Some(one));
        lines.ask(ann, false);
        assert!(!lines.leave(ann, one));
        assert!(lines.of.is_empty() && lines.asked.is_empty());
    }
}

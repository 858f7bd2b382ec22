//! Where in the log something stands.

use super::ids::{EventId, Seq};
use super::time::Timestamp;
use std::fmt;
use uuid::Uuid;

/// Names one log. A restored backup is another log that happens to share a beginning: the numbers after it may
/// stand for other events, so a cursor is only comparable within its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub Uuid);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The place the commit gave an event: in the whole log, in its room, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub id: EventId,
    pub seq: Seq,
    pub at: Timestamp,
}

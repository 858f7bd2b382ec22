//! What is only true for a moment. A signal has no id and no seq, and no place in the store by type.

use super::ids::UserId;
use std::sync::Arc;

/// Whether a user has a live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceState {
    Online,
    Offline,
}

impl PresenceState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// An ephemeral notice in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Somebody began or stopped typing (TYPE-01).
    Typing { user: UserId, name: Arc<str>, typing: bool },
    /// Who came and went since the last tick, one entry per user.
    Presence { users: Vec<(UserId, PresenceState)> },
}

impl Signal {
    /// The `type` on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Typing { .. } => "typing",
            Self::Presence { .. } => "presence",
        }
    }
}

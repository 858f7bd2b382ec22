//! What is only true for a moment. A signal has no id and no seq, and no place in the store by type.

use super::ids::{MessageId, RunId, UserId};
use std::sync::Arc;

/// Whether a user is there, and if not, how they went (PRES-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceState {
    /// Somebody looks at one of their sockets.
    Online,
    /// All of their sockets are hidden or idle.
    Away,
    /// The last socket was lost, and the grace is over.
    Offline,
    /// The last socket ended with its session.
    SignedOut,
}

impl PresenceState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
            Self::SignedOut => "signed_out",
        }
    }

    /// Whether the user has a live connection.
    pub const fn is_here(self) -> bool {
        matches!(self, Self::Online | Self::Away)
    }
}

/// Who has a room open, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attendance {
    /// What changed since the last time.
    Changed { joined: Vec<(UserId, Arc<str>)>, left: Vec<UserId>, count: usize },
    /// Everybody: the room had too many to name, and has no more.
    Everybody { present: Vec<(UserId, Arc<str>)> },
    /// Too many to name.
    Count(usize),
}

/// An ephemeral notice in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Somebody began or stopped typing (TYPE-01).
    Typing { user: UserId, name: Arc<str>, typing: bool },
    /// Who came and went since the last tick, one entry per user.
    Presence { users: Vec<(UserId, PresenceState)> },
    /// Who has the room open (CONN-04).
    RoomPresence(Attendance),
    /// An assistant's answer is worked at.
    AnswerBegun { run: RunId, message: MessageId },
    /// What it says from byte `offset` of its text on (AI-07).
    AnswerSaid { run: RunId, message: MessageId, offset: usize, text: Arc<str> },
}

impl Signal {
    /// The `type` on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Typing { .. } => "typing",
            Self::Presence { .. } => "presence",
            Self::RoomPresence(_) => "room.presence",
            Self::AnswerBegun { .. } => "ai.state",
            Self::AnswerSaid { .. } => "ai.delta",
        }
    }

    /// Whether who misses it has to subscribe again. Typing ends by itself; a change that is missed is missed for good.
    pub const fn is_vital(&self) -> bool {
        match self {
            Self::Presence { .. } | Self::RoomPresence(_) | Self::AnswerSaid { .. } => true,
            // The first piece of text says as much.
            Self::Typing { .. } | Self::AnswerBegun { .. } => false,
        }
    }
}

//! Action requests: what somebody's client is asked to do, and what came of it (CORR-01).

use super::ids::{RoomId, RunId, UserId};
use super::person::Person;
use super::principal::Principal;
use super::rejection::{Rejection, RejectionCode};
use super::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Names one request; the client answers with it.
pub type ActionId = Uuid;

/// The most bytes of arguments, and of a result, as JSON text.
pub const ACTION_BYTES: usize = 4 * 1024;

/// How far a request is: pending, running once a client has it, then one of the ends. Without a client it is pending again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionState {
    /// No client has it.
    Pending,
    /// A client has it.
    Running,
    Done,
    /// The client couldn't, or its user wouldn't.
    Failed,
    /// Nobody answered in time.
    Expired,
}

impl ActionState {
    /// All of them, the closed set of the protocol.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Expired];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it is waited for.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// What kind of action it is, such as `dice.roll`. Which there are only the clients know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionKind(Arc<str>);

impl ActionKind {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Reads a name: lower-case letters, digits, dots, underscores and hyphens.
    pub fn parse(name: &str) -> Result<Self, Rejection> {
        let is_known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > Self::MAX_BYTES || !name.bytes().all(is_known) {
            return Err(Rejection::invalid("kind", "is not 1 to 64 of a-z, 0-9, dot, underscore, hyphen"));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request somebody makes of a user's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// A bot, an assistant or an admin.
    pub by: Principal,
    pub user: UserId,
    /// The room they share; only admins may do without.
    pub room: Option<RoomId>,
    /// The run whose tool call it is.
    pub run: Option<RunId>,
    pub kind: ActionKind,
    /// A JSON object, as text; at most [`ACTION_BYTES`].
    pub arguments: Arc<str>,
    /// How long it is waited for.
    pub timeout: Duration,
}

/// A request, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRequest {
    pub id: ActionId,
    pub requester: Person,
    pub user: UserId,
    pub room: Option<RoomId>,
    pub run: Option<RunId>,
    pub kind: Arc<str>,
    pub arguments: Arc<str>,
    pub state: ActionState,
    /// JSON, as text; of one that was answered.
    pub result: Option<Arc<str>>,
    pub created_at: Timestamp,
    /// From this moment on no result is taken.
    pub deadline: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl ActionRequest {
    /// How far it is at `now`, whether it was noted yet that its time is over or not.
    pub fn state_at(&self, now: Timestamp) -> ActionState {
        if self.state.is_open() && self.deadline <= now { ActionState::Expired } else { self.state }
    }
}

/// A client's word on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResult {
    pub id: ActionId,
    /// Who says so: only the user it was asked of may.
    pub user: UserId,
    /// Whether it was done; otherwise it failed.
    pub done: bool,
    /// JSON, as text; at most [`ACTION_BYTES`].
    pub result: Arc<str>,
}

impl ActionResult {
    /// What the request comes to by it.
    pub const fn state(&self) -> ActionState {
        if self.done { ActionState::Done } else { ActionState::Failed }
    }
}

/// How a request ended that was answered in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Done or failed.
    pub state: ActionState,
    /// JSON, as text.
    pub result: Arc<str>,
}

impl Rejection {
    /// Nobody answered in time.
    pub fn request_timeout() -> Self {
        Self::new(RejectionCode::RequestTimeout, "nobody answered in time")
    }

    /// The answer came too late, and changes nothing.
    pub fn expired() -> Self {
        Self::new(RejectionCode::Expired, "the time of this request is over")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_plain_names() {
        for name in ["dice.roll", "choose", "a-b_c.9"] {
            assert_eq!(ActionKind::parse(name).expect("a kind").as_str(), name);
        }
        for name in ["", "Dice", "dice roll", "würfel", &"x".repeat(65)] {
            assert_eq!(
                ActionKind::parse(name).expect_err("refused").field.as_deref(),
                Some("kind"),
                "{name}"
            );
        }
    }

    #[test]
    fn names_are_read_back() {
        for state in ActionState::ALL {
            assert_eq!(ActionState::parse(state.as_str()), Some(state));
        }
    }
}

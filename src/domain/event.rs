//! What happened. An event is past tense, durable, and the same for everybody.

use super::ids::{EventId, MessageId, RoomId, Seq, SessionId, UserId};
use super::person::Person;
use super::position::Position;
use super::room::{RoomCard, RoomKind};
use super::run::{RunEnded, RunStart};
use super::session::Session;
use super::time::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub room: RoomId,
    pub seq: Seq,
    pub at: Timestamp,
    /// Who caused it; none for the system.
    pub actor: Option<UserId>,
    pub body: EventBody,
}

impl Event {
    /// Where the event stands.
    pub const fn position(&self) -> Position {
        Position { id: self.id, seq: self.seq, at: self.at }
    }
}

/// What happened, by kind; PROTOCOL.md section 2.2 has the counterparts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventBody {
    /// With a run it is an assistant's, and its text comes with the run's end.
    MessagePosted {
        author: Person,
        client_message_id: Uuid,
        body: Arc<str>,
        run: Option<RunStart>,
    },
    MessageEdited {
        message: MessageId,
        body: Arc<str>,
        version: i32,
        editor: UserId,
    },
    MessageDeleted {
        message: MessageId,
        deleted_by: UserId,
    },
    AnswerEnded {
        run: Box<RunEnded>,
    },
    RoomCreated {
        kind: RoomKind,
        name: Option<Arc<str>>,
        created_by: Option<UserId>,
    },
    RoomUpdated {
        name: Arc<str>,
        updated_by: UserId,
    },
    RoomDeleted {
        deleted_by: UserId,
    },
    MemberAdded {
        user: Person,
        added_by: UserId,
    },
    MemberRemoved {
        user: UserId,
        removed_by: UserId,
    },
    MembershipGranted {
        room: Arc<RoomCard>,
    },
    MembershipRevoked {
        room: RoomId,
    },
    ReadMarked {
        room: RoomId,
        read: Seq,
    },
    SettingsSynced {
        version: i64,
        settings: Arc<str>,
    },
    SessionBegun {
        session: Arc<Session>,
    },
    SessionEnded {
        session: SessionId,
    },
    RoomListed {
        room: Arc<RoomCard>,
    },
    RoomUnlisted {
        room: RoomId,
    },
    UserJoined {
        user: Person,
    },
    UserUpdated {
        user: Person,
    },
    UserLeft {
        user: UserId,
    },
    AccountUpdated {
        name: Arc<str>,
    },
}

impl EventBody {
    /// The `type` on the wire and the `kind` in the store.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MessagePosted { .. } => "message.posted",
            Self::MessageEdited { .. } => "message.edited",
            Self::MessageDeleted { .. } => "message.deleted",
            Self::AnswerEnded { .. } => "ai.ended",
            Self::RoomCreated { .. } => "room.created",
            Self::RoomUpdated { .. } => "room.updated",
            Self::RoomDeleted { .. } => "room.deleted",
            Self::MemberAdded { .. } => "member.added",
            Self::MemberRemoved { .. } => "member.removed",
            Self::MembershipGranted { .. } => "membership.granted",
            Self::MembershipRevoked { .. } => "membership.revoked",
            Self::ReadMarked { .. } => "read.marked",
            Self::SettingsSynced { .. } => "settings.synced",
            Self::SessionBegun { .. } => "session.begun",
            Self::SessionEnded { .. } => "session.ended",
            Self::RoomListed { .. } => "room.listed",
            Self::RoomUnlisted { .. } => "room.unlisted",
            Self::UserJoined { .. } => "user.joined",
            Self::UserUpdated { .. } => "user.updated",
            Self::UserLeft { .. } => "user.left",
            Self::AccountUpdated { .. } => "account.updated",
        }
    }
}

//! A room's truth as far as decisions need it: kind, head, members.

use super::event::{Event, EventBody};
use super::ids::{RoomId, Seq, UserId};
use super::person::{Person, Role};
use super::policy::{Action, Place, Target, may};
use super::rejection::Rejection;
use super::time::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;

/// What a room is for. `Inbox` (one per user) and `Commons` (one, everybody) carry what isn't said in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomKind {
    /// Everybody but guests is a member, new users too.
    Open,
    /// Members by name.
    Closed,
    /// One per exact set of people; has no name.
    Direct,
    /// What concerns one user only.
    Inbox,
    /// What concerns everybody: people and rooms that come and go.
    Commons,
}

impl RoomKind {
    /// Every kind, the closed set of the protocol.
    pub const ALL: [Self; 5] = [Self::Open, Self::Closed, Self::Direct, Self::Inbox, Self::Commons];

    /// The name on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Direct => "direct",
            Self::Inbox => "inbox",
            Self::Commons => "commons",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Rooms of the system's own: nobody posts, renames or deletes there.
    pub const fn is_system(self) -> bool {
        matches!(self, Self::Inbox | Self::Commons)
    }

    /// Whether membership follows from being a user, without a row.
    pub const fn is_for_all(self) -> bool {
        matches!(self, Self::Open | Self::Commons)
    }
}

/// What a room shows of itself, with the members of a direct room (nobody could tell two of them apart otherwise).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomCard {
    pub id: RoomId,
    pub kind: RoomKind,
    pub name: Option<Arc<str>>,
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub members: Vec<Person>,
}

/// Who was added by name. In a transaction only those are loaded whom the decision is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members(pub HashSet<UserId>);

/// The state decisions are taken on; the actor keeps one in memory, the transaction makes one from rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub id: RoomId,
    pub kind: RoomKind,
    pub name: Option<Arc<str>>,
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub deleted: bool,
    pub head: Seq,
    pub members: Members,
}

/// An event didn't follow the one before: the memory that met it is wrong and has to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub head: Seq,
    pub got: Seq,
}

impl Room {
    /// Whether `person` belongs here.
    pub fn is_member(&self, person: &Person) -> bool {
        (self.kind.is_for_all() && person.role != Role::Guest) || self.members.0.contains(&person.id)
    }

    /// The room from where `person` stands, for the policy.
    pub fn seen_by(&self, person: &Person) -> Place {
        Place {
            kind: self.kind,
            deleted: self.deleted,
            is_member: self.is_member(person),
            created_by: self.created_by,
        }
    }

    /// Whether `person` may do `action` to the room as such.
    pub fn allows(&self, person: &Person, action: Action) -> Result<(), Rejection> {
        may(person, action, Target::Room(self.seen_by(person)))
    }

    /// Takes over the next event. Events at or below the head are known already and change nothing.
    pub fn apply(&mut self, event: &Event) -> Result<bool, Gap> {
        if event.seq <= self.head {
            return Ok(false);
        }
        if event.seq != self.head.next() {
            return Err(Gap { head: self.head, got: event.seq });
        }
        self.head = event.seq;
        match &event.body {
            EventBody::RoomUpdated { name, .. } => self.name = Some(Arc::clone(name)),
            EventBody::RoomDeleted { .. } => self.deleted = true,
            EventBody::MemberAdded { user, .. } => {
                self.members.0.insert(user.id);
            }
            EventBody::MemberRemoved { user, .. } => {
                self.members.0.remove(user);
            }
            _ => {}
        }
        Ok(true)
    }
}

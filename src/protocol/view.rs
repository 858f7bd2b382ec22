//! The JSON counterparts of domain types, shared by socket and REST.

use crate::domain::{Person, RoomCard, Usage};
use serde::Serialize;

/// `{id, name, role}`.
#[derive(Debug, Serialize)]
pub struct PersonView<'a> {
    pub id: i64,
    pub name: &'a str,
    pub role: &'static str,
}

impl<'a> From<&'a Person> for PersonView<'a> {
    fn from(person: &'a Person) -> Self {
        Self { id: person.id.get(), name: &person.name, role: person.role.as_str() }
    }
}

/// `{id, kind, name, members?}`: what a room shows of itself in events.
#[derive(Debug, Serialize)]
pub struct RoomCardView<'a> {
    pub id: i64,
    pub kind: &'static str,
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PersonView<'a>>,
}

impl<'a> From<&'a RoomCard> for RoomCardView<'a> {
    fn from(room: &'a RoomCard) -> Self {
        Self {
            id: room.id.get(),
            kind: room.kind.as_str(),
            name: room.name.as_deref(),
            members: room.members.iter().map(PersonView::from).collect(),
        }
    }
}

/// A room with the reader's place in it: `GET /rooms` and the snapshot of a subscription.
#[derive(Debug, Serialize)]
pub struct RoomView<'a> {
    #[serde(flatten)]
    pub card: RoomCardView<'a>,
    pub created_by: Option<i64>,
    pub created_at: String,
    pub head: i64,
    pub read: i64,
    pub unread: i64,
}

impl<'a> RoomView<'a> {
    /// Puts together a card and the reader's place.
    pub fn new(room: &'a RoomCard, head: i64, read: i64, unread: i64) -> Self {
        Self {
            card: room.into(),
            created_by: room.created_by.map(|user| user.get()),
            created_at: room.created_at.to_string(),
            head,
            read,
            unread,
        }
    }
}

/// What a run used: tokens, and what they cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct UsageView {
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    pub cost_micros: i64,
    /// Counted by us: the engine didn't say.
    pub estimated: bool,
}

impl UsageView {
    /// Puts together what was used and what it cost.
    pub const fn new(usage: Usage, cost_micros: i64) -> Self {
        Self {
            prompt_tokens: usage.prompt,
            completion_tokens: usage.completion,
            cost_micros,
            estimated: usage.estimated,
        }
    }
}

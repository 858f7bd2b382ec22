//! What REST answers with, as far as a client needs it; unknown fields are ignored.

use serde::Deserialize;

use crate::wire::Event;

#[derive(Debug, Clone, Deserialize)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub role: String,
}

#[derive(Deserialize)]
pub(super) struct OfUser {
    pub(super) user: User,
}

#[derive(Debug, Clone, Deserialize)]
pub struct SetUp {
    pub user: User,
    pub room: Room,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    pub name: String,
    /// Shown to admins.
    pub join_code: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Room {
    pub id: u64,
    pub kind: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub head: u64,
    #[serde(default)]
    pub read: u64,
    #[serde(default)]
    pub unread: u64,
    /// Of closed and direct rooms, when one asks for the room itself.
    #[serde(default)]
    pub members: Vec<User>,
}

/// A user as the list of users shows them.
#[derive(Debug, Clone, Deserialize)]
pub struct Visible {
    pub id: u64,
    pub name: String,
    #[serde(default)]
    pub presence: String,
}

#[derive(Deserialize)]
pub(super) struct UserPage {
    pub(super) users: Vec<Visible>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) messages: Vec<Message>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RoomList {
    pub rooms: Vec<Room>,
    pub next: Option<String>,
}

/// The answer to a post.
#[derive(Debug, Clone, Deserialize)]
pub struct Posted {
    pub id: u64,
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    pub id: u64,
    pub room_id: u64,
    pub seq: u64,
    /// Absent for messages posted over REST without one, should the server not make one up.
    pub client_message_id: Option<uuid::Uuid>,
    pub body: String,
    #[serde(default)]
    pub version: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Bot {
    pub id: u64,
    pub name: String,
    /// Shown once.
    pub key: String,
}

/// One answer of `GET /events`.
#[derive(Debug, Clone, Deserialize)]
pub struct Feed {
    pub events: Vec<Event>,
    /// The id to go on from.
    pub next: u64,
    pub epoch: String,
    pub recovery: String,
    #[serde(default)]
    pub reason: Option<String>,
}

/// A page of messages: of a room, or what a search found.
#[derive(Debug, Clone, Deserialize)]
pub struct MessagePage {
    pub messages: Vec<Message>,
    pub next: Option<String>,
    /// Of the room; a search has none.
    #[serde(default)]
    pub head: u64,
}

#[derive(Deserialize)]
pub(super) struct EventPage {
    pub(super) events: Vec<Event>,
    pub(super) next: Option<String>,
    pub(super) head: u64,
    pub(super) epoch: String,
}

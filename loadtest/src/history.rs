//! What the clients did and heard, written down by the clients; the checker's one side of the story.

mod recorder;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::wire::{Ack, Event};

pub use recorder::{DeedId, FeedId, ListenerId, Recorder};

/// Everything recorded in one run. Times are since its start.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub posts: HashMap<Uuid, Post>,
    /// Every other command.
    pub deeds: Vec<Deed>,
    pub rooms: HashMap<u64, Origin>,
    pub listeners: Vec<Listener>,
    pub feeds: Vec<Feed>,
    /// Devices that listen to the end: each owes an ending.
    pub expected: Vec<String>,
    pub endings: Vec<Ending>,
    pub readings: Vec<Reading>,
}

/// How a room of the run began.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub closed: bool,
    /// Members from the first moment; of a closed room.
    pub members: HashSet<u64>,
}

/// One message as its author knows it.
#[derive(Debug, Clone)]
pub struct Post {
    pub by: u64,
    pub room_id: u64,
    pub body: String,
    /// When the first attempt was sent.
    pub sent_at: Duration,
    pub acks: Vec<Ack>,
    /// Attempts before the first ack whose outcome is unknown.
    pub unknown: usize,
    /// When the first ack arrived.
    pub acked_at: Option<Duration>,
    /// Codes of the refusals that promise nothing was stored.
    pub refusals: Vec<String>,
    /// The refusal that made the client give up.
    pub denied: Option<String>,
    /// Attempts so far; those neither acked nor refused have an unknown outcome.
    pub attempts: usize,
}

/// A command that is no honest post.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A used `client_message_id` with another body.
    Reuse {
        post: Uuid,
        room_id: u64,
    },
    Edit {
        room_id: u64,
        message: u64,
        version: u64,
        body: String,
    },
    Delete {
        room_id: u64,
        message: u64,
    },
    Add {
        room_id: u64,
        user: u64,
    },
    Remove {
        room_id: u64,
        user: u64,
    },
    Create {
        name: String,
    },
    Rename {
        room_id: u64,
        name: String,
    },
    DeleteRoom {
        room_id: u64,
    },
    Mark {
        room_id: u64,
        seq: u64,
    },
}

#[derive(Debug, Clone)]
pub struct Deed {
    pub by: u64,
    pub what: What,
    pub sent_at: Duration,
    pub attempts: usize,
    /// Refusals that promise nothing was stored, the final one included.
    pub refusals: Vec<String>,
    /// The reply's data and when it came.
    pub done: Option<(Duration, Value)>,
}

impl Deed {
    /// A number of the reply.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.done.as_ref()?.1.get(field)?.as_u64()
    }

    /// Did every attempt end in a promise that nothing was stored?
    pub fn is_refused(&self) -> bool {
        self.attempts > 0 && self.done.is_none() && self.refusals.len() == self.attempts
    }
}

/// What one device heard of one room, over all its connections.
#[derive(Debug, Clone)]
pub struct Listener {
    pub name: String,
    pub user: u64,
    pub room_id: u64,
    pub heard: Vec<Heard>,
    /// Was it told to stay until it had the last event?
    pub until_head: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A subscription was confirmed: what was missed up to `head` follows, and then what comes.
    From {
        after: u64,
        head: u64,
    },
    /// Who typed and who was present then; presence when the room tells it.
    Snapshot {
        typing: Vec<u64>,
        present: Vec<u64>,
    },
    /// The server could not replay, and said so.
    Gap {
        reason: String,
        after: u64,
        head: u64,
        /// Bytes of the whole reply, which may have been for many rooms.
        reply: usize,
    },
    Event(Event),
    Typing {
        user: u64,
        typing: bool,
        at_seq: u64,
    },
    /// Who came and who went.
    Moved {
        joined: Vec<u64>,
        left: Vec<u64>,
    },
    /// Events from `from` on were not sent; the subscription is over.
    Resync {
        from: u64,
    },
    /// The connection is over.
    Lost,
}

/// What one reader of the long poll `GET /events` got.
#[derive(Debug, Clone)]
pub struct Feed {
    pub name: String,
    /// It asked for events above this id.
    pub after: u64,
    pub events: Vec<Event>,
    /// Reasons of answers that were a gap.
    pub gaps: Vec<String>,
    pub until_head: bool,
}

/// What one device believed when all was quiet, beside what REST says.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    pub device: String,
    pub user: u64,
    /// Rooms it should have ended up in and never heard of.
    pub missing: Vec<u64>,
    /// Rooms it had not caught up with when its time was over.
    pub late: Vec<Late>,
    /// Indicators that stuck: room and typist.
    pub typing: Vec<(u64, u64)>,
    /// People of whom it believed something else than REST says: who, what it believed, what REST says.
    pub presence: Vec<(u64, String, String)>,
}

/// Where a device was in a room that it had not caught up with in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    pub room_id: u64,
    /// The last event it heard; none before any subscription.
    pub heard: Option<u64>,
    pub head: u64,
    /// Was its subscription confirmed?
    pub live: bool,
}

/// A user's numbers of one room, from one of the doors, when all was quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub source: &'static str,
    pub user: u64,
    pub room_id: u64,
    pub head: u64,
    pub read: u64,
    pub unread: u64,
}

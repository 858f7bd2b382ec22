//! The ways a server can break its word, each with what it takes to find the place.

use uuid::Uuid;

use crate::wire::Ack;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("lost: {post} was acked in room {room_id} as id {} seq {}, and is not in its history", ack.id, ack.seq)]
    Lost { post: Uuid, room_id: u64, ack: Ack },
    #[error("doubled: {post} is in room {room_id} as the messages {ids:?}")]
    Doubled { post: Uuid, room_id: u64, ids: Vec<u64> },
    #[error("moved: {post} was acked as id {} seq {} and is stored as id {id} seq {seq}", ack.id, ack.seq)]
    Moved { post: Uuid, ack: Ack, id: u64, seq: u64 },
    #[error("two answers: {post} was acked as id {} seq {}, and later as id {} seq {}", first.id, first.seq, later.id, later.seq)]
    TwoAnswers { post: Uuid, first: Ack, later: Ack },
    #[error("false duplicate: {post} was sent once and answered as a duplicate, id {}", ack.id)]
    FalseDuplicate { post: Uuid, ack: Ack },
    #[error("changed body: {post} was sent as {sent:?} and is stored as {stored:?}")]
    ChangedBody { post: Uuid, sent: String, stored: String },
    #[error("wrong room: {post} was sent to room {sent} and is stored in room {stored}")]
    WrongRoom { post: Uuid, sent: u64, stored: u64 },
    #[error("stored though refused: {post} was only ever answered {codes:?}, and is message {id}")]
    StoredThoughRefused { post: Uuid, codes: Vec<String>, id: u64 },
    #[error("from nowhere: message {id} (seq {seq}) of room {room_id} was sent by nobody here")]
    FromNowhere { room_id: u64, id: u64, seq: u64 },
    #[error(
        "overtaken: {later} was sent after {earlier} was acked as {earlier_id}, and got the lower id {later_id}"
    )]
    Overtaken { earlier: Uuid, earlier_id: u64, later: Uuid, later_id: u64 },

    #[error("seq gap: in room {room_id} comes {found} where {expected} was due")]
    SeqGap { room_id: u64, expected: u64, found: u64 },
    #[error("id order: in room {room_id} seq {seq} has id {id}, after the id {previous}")]
    IdOrder { room_id: u64, seq: u64, id: u64, previous: u64 },
    #[error("one id twice: event {id} is in room {first} and in room {second}")]
    IdTwice { id: u64, first: u64, second: u64 },
    #[error("head: room {room_id} says its head is {head}, and its last event is {last}")]
    Head { room_id: u64, head: u64, last: u64 },
    #[error("foreign in the log: the log of room {room_id} holds event {id} of room {of}")]
    ForeignInLog { room_id: u64, id: u64, of: u64 },
    #[error("history order: in room {room_id} message {id} comes after {previous}")]
    HistoryOrder { room_id: u64, id: u64, previous: u64 },
    #[error("history and log differ: message {id} (seq {seq}) of room {room_id} is {what}")]
    HistoryNotLog { room_id: u64, id: u64, seq: u64, what: &'static str },

    #[error("missed: {listener} in room {room_id} heard {found} where {expected} was due")]
    Missed { listener: String, room_id: u64, expected: u64, found: u64 },
    #[error("heard again: {listener} in room {room_id} heard {found} where {expected} was due")]
    HeardAgain { listener: String, room_id: u64, expected: u64, found: u64 },
    #[error(
        "not in the store: {listener} heard event {id} seq {seq} of room {room_id}, which the store has not"
    )]
    NotInStore { listener: String, room_id: u64, id: u64, seq: u64 },
    #[error(
        "another event: {listener} heard as seq {seq} of room {room_id}\n    {heard}\n  and the store has\n    {stored}"
    )]
    AnotherEvent { listener: String, room_id: u64, seq: u64, heard: String, stored: String },
    #[error("unasked: {listener} heard event {id} of room {of} on its subscription to room {room_id}")]
    Unasked { listener: String, room_id: u64, id: u64, of: u64 },
    #[error("behind: {listener} stayed to the end of room {room_id}, heard {heard}, and the head is {head}")]
    Behind { listener: String, room_id: u64, heard: u64, head: u64 },
    #[error("false gap: {listener} in room {room_id} was told {reason}, which did not happen")]
    FalseGap { listener: String, room_id: u64, reason: String },
    #[error("unconfirmed: {listener} heard seq {seq} of room {room_id} before a subscription was confirmed")]
    Unconfirmed { listener: String, room_id: u64, seq: u64 },

    #[error("feed order: {reader} got id {id} after {previous}")]
    FeedOrder { reader: String, id: u64, previous: u64 },
    #[error("feed missed: {reader} did not get event {id} (room {room_id}, seq {seq})")]
    FeedMissed { reader: String, id: u64, room_id: u64, seq: u64 },
    #[error("feed gap: {reader} was told {reason}, which did not happen")]
    FeedGap { reader: String, reason: String },
}

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
    #[error("false duplicate: {post} was answered as a duplicate, id {}, and all before was refused", ack.id)]
    FalseDuplicate { post: Uuid, ack: Ack },
    #[error("changed body: {post} was sent as {sent:?} and is stored as {stored:?}")]
    ChangedBody { post: Uuid, sent: String, stored: String },
    #[error("wrong room: {post} was sent to room {sent} and is stored in room {stored}")]
    WrongRoom { post: Uuid, sent: u64, stored: u64 },
    #[error("stored though refused: {post} was only ever answered {codes:?}, and is message {id}")]
    StoredThoughRefused { post: Uuid, codes: Vec<String>, id: u64 },
    #[error("from nowhere: message {id} (seq {seq}) of room {room_id} was sent by nobody here")]
    FromNowhere { room_id: u64, id: u64, seq: u64 },
    #[error("overtaken: what was sent after event {earlier} was acknowledged got the lower id {later}")]
    Overtaken { earlier: u64, later: u64 },
    #[error("no duplicate: {post} was acked again as id {} without being called a duplicate", ack.id)]
    NoDuplicate { post: Uuid, ack: Ack },
    #[error("denied: {what} was refused with {code}, for which there was no reason")]
    Denied { what: String, code: String },

    #[error("lost update: two edits of version {version} of message {message} were acknowledged: {bodies:?}")]
    LostUpdate { message: u64, version: u64, bodies: [String; 2] },
    #[error("lost: {what} was acknowledged as id {id} seq {seq}, and the log has something else there")]
    DeedLost { what: String, id: u64, seq: u64 },
    #[error("done though refused: {what} was answered as a repetition, and all before was {codes:?}")]
    DoneThoughRefused { what: String, codes: Vec<String> },
    #[error("not deleted: message {id} was, says the ack")]
    NotDeleted { id: u64 },
    #[error("found though deleted: searching {word:?} finds message {id}")]
    FoundThoughDeleted { id: u64, word: String },
    #[error("not found: searching {word:?} doesn't find message {id}")]
    NotFound { id: u64, word: String },
    #[error("conflict missed: {post} was sent again with another body and answered {answer}")]
    ConflictMissed { post: Uuid, answer: String },
    #[error("unwanted: {kind} {id} of room {room_id} was refused to all who asked for it: {asked:?}")]
    Unwanted { kind: String, id: u64, room_id: u64, asked: Vec<String> },
    #[error(
        "version gap: in room {room_id} message {message} went to version {found} where {expected} was due"
    )]
    VersionGap { room_id: u64, message: u64, expected: u64, found: u64 },
    #[error("edit of nothing: seq {seq} of room {room_id} edits message {message}, which isn't there then")]
    EditOfNothing { room_id: u64, message: u64, seq: u64 },
    #[error("deleted twice, or never posted: message {message} of room {room_id}")]
    DeletedTwice { room_id: u64, message: u64 },
    #[error("after the end: room {room_id} was deleted and went on to seq {seq}")]
    AfterTheEnd { room_id: u64, seq: u64 },

    #[error("heard outside: {listener} heard seq {seq} of the closed room {room_id} while not in it")]
    HeardOutside { listener: String, room_id: u64, seq: u64 },
    #[error("never saw: {listener} is in room {room_id} in the end and never heard of it")]
    NeverSaw { listener: String, room_id: u64 },
    #[error(
        "never caught up: {listener} was in room {room_id} at {heard:?} of {head}, subscribed: {live}, when its time was over"
    )]
    NeverCaughtUp { listener: String, room_id: u64, heard: Option<u64>, head: u64, live: bool },
    #[error("never ended: {listener} was still busy when all others had been done for long")]
    NeverEnded { listener: String },
    #[error("own typing: {listener} was told in room {room_id} that it types itself")]
    OwnTyping { listener: String, room_id: u64 },
    #[error(
        "stale typing: {listener} heard in room {room_id} that {user} types as of seq {at_seq}, after their message {said}"
    )]
    StaleTyping { listener: String, room_id: u64, user: u64, at_seq: u64, said: u64 },
    #[error("stuck typing: {listener} believes for good that {user} types in room {room_id}")]
    StuckTyping { listener: String, room_id: u64, user: u64 },
    #[error(
        "spoke after leaving: {listener} was told that {user} left room {room_id}, and then heard their message {seq}"
    )]
    SpokeAfterLeaving { listener: String, room_id: u64, user: u64, seq: u64 },
    #[error(
        "presence differs: {listener} believes for good that user {user} is {believed}, and REST says {told}"
    )]
    PresenceDiffers { listener: String, user: u64, believed: String, told: String },
    #[error(
        "unread: {door} tells user {user} {unread} unread in room {room_id} after {read}, and the log has {expected}"
    )]
    Unread { door: &'static str, user: u64, room_id: u64, read: u64, unread: u64, expected: u64 },
    #[error(
        "unmarked: {door} tells user {user} that they read room {room_id} up to {read}, and {marked} was acknowledged"
    )]
    Unmarked { door: &'static str, user: u64, room_id: u64, read: u64, marked: u64 },
    #[error("two numbers: user {user} has read room {room_id} up to {one} and, by the other door, {other}")]
    TwoNumbers { user: u64, room_id: u64, one: u64, other: u64 },
    #[error(
        "incomplete: {listener} was confirmed in room {room_id} at {head}, and what it missed ends at {reached}"
    )]
    Incomplete { listener: String, room_id: u64, reached: u64, head: u64 },

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
    #[error(
        "false gap: {listener} in room {room_id} was told {reason} from {after} to {head} in a reply of {reply} bytes"
    )]
    FalseGap { listener: String, room_id: u64, reason: String, after: u64, head: u64, reply: usize },
    #[error("unconfirmed: {listener} heard seq {seq} of room {room_id} before a subscription was confirmed")]
    Unconfirmed { listener: String, room_id: u64, seq: u64 },

    #[error("feed order: {reader} got id {id} after {previous}")]
    FeedOrder { reader: String, id: u64, previous: u64 },
    #[error("feed missed: {reader} did not get event {id} (room {room_id}, seq {seq})")]
    FeedMissed { reader: String, id: u64, room_id: u64, seq: u64 },
    #[error("feed gap: {reader} was told {reason}, which did not happen")]
    FeedGap { reader: String, reason: String },
}

//! What the server sends, as JSON text. Events are put together around their stored `data`, so that a replayed event
//! is the same bytes as the live one.

use super::error::ErrorObject;
use super::trace::TraceId;
use super::view::{PersonView, RoomCardView, RoomView};
use crate::domain::{
    Ack, Attendance, EventId, MessageId, Position, Recorded, Rejection, Room, RoomId, RunId, RunState, Seq,
    Signal, Summoned, Timestamp, UserId,
};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// An event frame. `kind` and `payload` come from the log and are JSON-safe by construction.
pub fn event(kind: &str, id: EventId, seq: Seq, room: RoomId, at: Timestamp, payload: &str) -> String {
    format!(r#"{{"type":"{kind}","id":{id},"seq":{seq},"room_id":{room},"at":"{at}","data":{payload}}}"#)
}

/// The frame of a committed event.
pub fn recorded(recorded: &Recorded) -> String {
    let Recorded { event: happened, payload } = recorded;
    event(happened.body.kind(), happened.id, happened.seq, happened.room, happened.at, payload)
}

/// The frame of a signal, made when the room's head was `at_seq`.
pub fn signal(room: RoomId, at_seq: Seq, signal: &Signal) -> String {
    let data = match signal {
        Signal::Typing { user, name, typing } => {
            json!({ "user": { "id": user.get(), "name": &**name }, "typing": typing })
        }
        Signal::Presence { users } => {
            let users: Vec<_> = users
                .iter()
                .map(|(user, state)| json!({ "id": user.get(), "state": state.as_str() }))
                .collect();
            json!({ "users": users })
        }
        Signal::RoomPresence(Attendance::Changed { joined, left, count }) => {
            let left: Vec<i64> = left.iter().map(|user| user.get()).collect();
            json!({ "joined": named(joined), "left": left, "count": count })
        }
        Signal::RoomPresence(Attendance::Everybody { present }) => {
            json!({ "present": named(present), "count": present.len() })
        }
        Signal::RoomPresence(Attendance::Count(count)) => json!({ "count": count }),
        Signal::AnswerBegun { run, message } => json!({
            "run_id": run.get(),
            "message_id": message.get(),
            "state": RunState::Running.as_str(),
        }),
        Signal::AnswerSaid { run, message, offset, text } => json!({
            "run_id": run.get(),
            "message_id": message.get(),
            "offset": offset,
            "text": &**text,
        }),
    };
    format!(r#"{{"type":"{}","room_id":{room},"at_seq":{at_seq},"data":{data}}}"#, signal.kind())
}

#[derive(Serialize)]
struct Named<'a> {
    id: i64,
    name: &'a str,
}

/// People by id and name.
fn named(people: &[(UserId, Arc<str>)]) -> Vec<Named<'_>> {
    people.iter().map(|(user, name)| Named { id: user.get(), name }).collect()
}

/// Structs, strings, numbers and vectors of them: there is nothing in here that JSON can't hold.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// `room.resync`: events from `from` on were not sent, the subscription is over.
pub fn resync(room: RoomId, from: Seq) -> String {
    format!(r#"{{"type":"room.resync","room_id":{room},"from":{from}}}"#)
}

/// The server's heartbeat and the answer to the client's.
pub const PING: &str = r#"{"type":"ping"}"#;
/// See [`PING`].
pub const PONG: &str = r#"{"type":"pong"}"#;

/// A reply around `data`, JSON text made by this module.
pub fn reply(request_id: Option<&str>, data: &str, trace: TraceId) -> String {
    answer("reply", request_id, "data", data, trace)
}

/// An error that answers a frame.
pub fn error(request_id: Option<&str>, rejection: &Rejection, trace: TraceId) -> String {
    answer("error", request_id, "error", &error_object(rejection), trace)
}

fn answer(kind: &str, request_id: Option<&str>, key: &str, value: &str, trace: TraceId) -> String {
    let id = request_id.map_or_else(String::new, |id| format!(r#""request_id":{},"#, string(id)));
    format!(r#"{{"type":"{kind}",{id}"{key}":{value},"trace_id":"{trace}"}}"#)
}

/// Text as a JSON string, quotes on.
fn string(text: &str) -> String {
    json(&text)
}

/// What a subscription begins with: a room as it is at `head`, and who types in it.
#[derive(Debug)]
pub struct Snapshot<'a> {
    pub room: &'a Room,
    pub typing: &'a [(UserId, Arc<str>)],
    /// Of [`here`]; none in an inbox.
    pub here: Option<&'a str>,
    /// What assistants are saying.
    pub streams: &'a [Stream],
}

/// An answer in the making, with what was told of it.
#[derive(Debug, Serialize)]
pub struct Stream {
    run_id: i64,
    message_id: i64,
    state: &'static str,
    pub text: String,
}

impl Stream {
    /// One that is worked at.
    pub fn new(run: RunId, message: MessageId, text: String) -> Self {
        let state = RunState::Running.as_str();
        Self { run_id: run.get(), message_id: message.get(), state, text }
    }
}

/// Who is there, by the kind of room.
#[derive(Debug)]
pub enum Here<'a> {
    /// In the commons: everybody who isn't offline. Who is away is among those online.
    All { online: &'a [UserId], away: &'a [UserId], signed_out: &'a [UserId] },
    /// Elsewhere: who has the room open, unless they are too many to name.
    Room { present: Option<&'a [(UserId, Arc<str>)]>, count: usize },
}

/// The fields of a snapshot that tell who is there, without braces.
pub fn here(here: &Here<'_>) -> String {
    match here {
        Here::All { online, away, signed_out } => {
            let ids = |users: &[UserId]| json(&users.iter().map(|user| user.get()).collect::<Vec<_>>());
            format!(r#""online":{},"away":{},"signed_out":{}"#, ids(online), ids(away), ids(signed_out))
        }
        Here::Room { present: Some(present), count } => {
            format!(r#""present":{},"present_count":{count}"#, json(&named(present)))
        }
        Here::Room { present: None, count } => format!(r#""present_count":{count}"#),
    }
}

#[derive(Serialize)]
struct RoomSnapshot<'a> {
    id: i64,
    kind: &'static str,
    name: Option<&'a str>,
    created_by: Option<i64>,
    created_at: String,
    head: i64,
    typing: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "<[Stream]>::is_empty")]
    streams: &'a [Stream],
}

/// The `room` of a subscription's reply.
pub fn snapshot(snapshot: &Snapshot<'_>) -> String {
    let Snapshot { room, typing, here, streams } = snapshot;
    let mut text = json(&RoomSnapshot {
        id: room.id.get(),
        kind: room.kind.as_str(),
        name: room.name.as_deref(),
        created_by: room.created_by.map(UserId::get),
        created_at: room.created_at.to_string(),
        head: room.head.get(),
        typing: named(typing),
        streams,
    });
    if let Some(here) = here {
        // Before the brace at the end.
        text.truncate(text.len().saturating_sub(1));
        text.push(',');
        text.push_str(here);
        text.push('}');
    }
    text
}

/// One room's part of a subscription's reply: everything that was missed.
pub fn recovered(snapshot: &str, head: Seq, events: &[bytes::Bytes]) -> String {
    let mut out = format!(r#"{{"room":{snapshot},"head":{head},"recovery":"complete","events":["#);
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(std::str::from_utf8(event).unwrap_or("null"));
    }
    out.push_str("]}");
    out
}

/// One room's part of a subscription's reply: something is missing, and `page` leads to it.
pub fn gap(snapshot: &str, head: Seq, reason: GapReason, page: &str) -> String {
    format!(
        r#"{{"room":{snapshot},"head":{head},"recovery":"gap","reason":"{}","page":{}}}"#,
        reason.as_str(),
        string(page)
    )
}

/// One room's part of a subscription's reply: refused.
pub fn refused(room: RoomId, rejection: &Rejection) -> String {
    format!(r#"{{"room_id":{room},"error":{}}}"#, error_object(rejection))
}

/// Why what was missed isn't sent along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    WindowExceeded,
    EpochChanged,
    AheadOfHead,
}

impl GapReason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WindowExceeded => "window_exceeded",
            Self::EpochChanged => "epoch_changed",
            Self::AheadOfHead => "ahead_of_head",
        }
    }
}

/// The error object alone, for one room of several.
pub fn error_object(rejection: &Rejection) -> String {
    json(&ErrorObject::from(rejection))
}

/// The `data` of the reply to a command; what an acknowledgement lacks is left out.
#[derive(Serialize, Default)]
struct AckData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_message_id: Option<&'a Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<AckRoom<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<PersonView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<SummonedView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// What came of mentioning an assistant.
#[derive(Debug, Serialize)]
pub struct SummonedView<'a> {
    assistant_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject<'a>>,
}

impl<'a> From<&'a Summoned> for SummonedView<'a> {
    fn from(summoned: &'a Summoned) -> Self {
        let started = summoned.outcome.as_ref().ok();
        Self {
            assistant_id: summoned.assistant.get(),
            run_id: started.map(|started| started.run.get()),
            message_id: started.map(|started| started.message.get()),
            error: summoned.outcome.as_ref().err().map(ErrorObject::from),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum AckRoom<'a> {
    New(RoomView<'a>),
    Known(RoomCardView<'a>),
}

/// The `data` of the reply to a command.
pub fn ack(ack: &Ack) -> String {
    json(&AckData::from(ack))
}

impl<'a> From<&'a Position> for AckData<'a> {
    fn from(position: &Position) -> Self {
        let (id, seq, at) = (position.id.get(), position.seq.get(), position.at.to_string());
        Self { id: Some(id), seq: Some(seq), at: Some(at), ..Self::default() }
    }
}

impl<'a> From<&'a Ack> for AckData<'a> {
    fn from(ack: &'a Ack) -> Self {
        match ack {
            Ack::Recorded(position) => position.into(),
            Ack::Unchanged => Self { duplicate: true, ..Self::default() },
            Ack::Posted { position, client_message_id, duplicate, runs } => Self {
                client_message_id: Some(client_message_id),
                duplicate: *duplicate,
                runs: runs.iter().map(SummonedView::from).collect(),
                ..Self::from(position)
            },
            Ack::Asked(started) => Self {
                run_id: Some(started.run.get()),
                message_id: Some(started.message.get()),
                duplicate: started.duplicate,
                ..Self::default()
            },
            Ack::Summarising { run, duplicate } => {
                Self { run_id: Some(run.get()), duplicate: *duplicate, ..Self::default() }
            }
            Ack::RunStopping { run, .. } => Self { run_id: Some(run.get()), ..Self::default() },
            Ack::Edited { position, message, version, duplicate } => Self {
                message_id: Some(message.get()),
                version: Some(i64::from(*version)),
                duplicate: *duplicate,
                ..Self::from(position)
            },
            Ack::Deleted { position, message } => Self {
                message_id: Some(message.get()),
                duplicate: position.is_none(),
                ..position.as_ref().map_or_else(Self::default, Self::from)
            },
            Ack::RoomCreated { room, duplicate: false } => {
                Self { room: Some(AckRoom::New(RoomView::new(room, 1, 0, 0))), ..Self::default() }
            }
            Ack::RoomCreated { room, duplicate: true } => {
                let room = AckRoom::Known(room.as_ref().into());
                Self { room: Some(room), duplicate: true, ..Self::default() }
            }
            Ack::Read { room, read, unread } => Self {
                room_id: Some(room.get()),
                read: Some(read.get()),
                unread: Some(*unread),
                ..Self::default()
            },
            Ack::Settings { version, duplicate } => {
                Self { version: Some(*version), duplicate: *duplicate, ..Self::default() }
            }
            Ack::ActionAnswered { id, state, duplicate } => Self {
                request_id: Some(*id),
                state: Some(state.as_str()),
                duplicate: *duplicate,
                ..Self::default()
            },
            // Only REST makes and changes these.
            Ack::Invited { .. }
            | Ack::SessionBegun(_)
            | Ack::Refreshed { .. }
            | Ack::TokenReused
            | Ack::SessionsEnded(_)
            | Ack::TransferCreated { .. } => Self::default(),
            Ack::Enrolled { person, .. } => Self { user: Some(person.into()), ..Self::default() },
            Ack::Replayed(original) => Self { duplicate: true, ..Self::from(original.as_ref()) },
        }
    }
}

/// One room of `welcome.rooms`.
#[derive(Debug, Serialize)]
pub struct WelcomeRoom<'a> {
    pub room_id: i64,
    pub kind: &'static str,
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PersonView<'a>>,
    pub head: i64,
    pub read: i64,
    pub unread: i64,
}

/// The limits a client needs to know.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WelcomeLimits {
    pub frame_bytes: usize,
    pub body_bytes: usize,
    pub subscriptions: usize,
}

/// The first frame of a connection.
#[derive(Debug, Serialize)]
pub struct Welcome<'a> {
    pub connection_id: String,
    pub user: PersonView<'a>,
    pub epoch: Uuid,
    pub last_id: i64,
    pub heartbeat_ms: u64,
    pub limits: WelcomeLimits,
    pub flags: Flags,
    pub rooms: Vec<WelcomeRoom<'a>>,
    /// There are more rooms than are listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_rooms: bool,
}

/// Flags have a version from the start, so that a client can hold one.
#[derive(Debug, Default, Serialize)]
pub struct Flags {
    version: u32,
    values: BTreeMap<&'static str, bool>,
}

/// `welcome`.
pub fn welcome(welcome: &Welcome<'_>) -> String {
    format!(r#"{{"type":"welcome","data":{}}}"#, json(welcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Person, PresenceState, Role};

    #[test]
    fn frames_look_like_the_document() {
        let (room, seq) = (RoomId::new(12), Seq::new(88));
        let at = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!(
            event("message.posted", EventId::new(1240), seq, room, at, r#"{"body":"hi"}"#),
            r#"{"type":"message.posted","id":1240,"seq":88,"room_id":12,"at":"2026-01-01T00:00:00.000Z","data":{"body":"hi"}}"#
        );
        let typing = Signal::Typing { user: UserId::new(3), name: "B\"ob".into(), typing: true };
        assert_eq!(
            signal(room, seq, &typing),
            r#"{"type":"typing","room_id":12,"at_seq":88,"data":{"typing":true,"user":{"id":3,"name":"B\"ob"}}}"#
        );
        let presence = Signal::Presence { users: vec![(UserId::new(3), PresenceState::Offline)] };
        assert_eq!(
            signal(room, seq, &presence),
            r#"{"type":"presence","room_id":12,"at_seq":88,"data":{"users":[{"id":3,"state":"offline"}]}}"#
        );
        assert_eq!(resync(room, seq), r#"{"type":"room.resync","room_id":12,"from":88}"#);
    }

    #[test]
    fn answers_echo_the_request_and_carry_the_trace() {
        let trace = TraceId::random();
        let text = reply(Some("c\"1"), r#"{"a":1}"#, trace);
        assert_eq!(
            text,
            format!(r#"{{"type":"reply","request_id":"c\"1","data":{{"a":1}},"trace_id":"{trace}"}}"#)
        );
        let text = error(None, &Rejection::invalid("body", "is blank"), trace);
        assert_eq!(
            text,
            format!(
                r#"{{"type":"error","error":{{"code":"invalid_payload","message":"body is blank","retryable":false,"field":"body"}},"trace_id":"{trace}"}}"#
            )
        );
    }

    #[test]
    fn the_welcome_begins_with_its_type() {
        let person = Person { id: UserId::new(1), name: "Ann".into(), role: Role::Admin };
        let text = welcome(&Welcome {
            connection_id: "0-1".to_owned(),
            user: (&person).into(),
            epoch: Uuid::nil(),
            last_id: 7,
            heartbeat_ms: 25_000,
            limits: WelcomeLimits { frame_bytes: 1, body_bytes: 2, subscriptions: 3 },
            flags: Flags::default(),
            rooms: Vec::new(),
            more_rooms: false,
        });
        assert!(text.starts_with(r#"{"type":"welcome","data":{"#), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut fields: Vec<_> = json["data"].as_object().expect("an object").keys().cloned().collect();
        fields.sort();
        assert_eq!(
            fields,
            ["connection_id", "epoch", "flags", "heartbeat_ms", "last_id", "limits", "rooms", "user"]
        );
    }
}

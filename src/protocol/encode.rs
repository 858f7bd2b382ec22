//! What the server sends, as JSON text. Events are put together around their stored `data`, so that a replayed event
//! is the same bytes as the live one.

use super::error::ErrorObject;
use super::trace::TraceId;
use super::view::PersonView;
use crate::domain::{
    Ack, Attendance, Epoch, EventId, Recorded, Rejection, Room, RoomId, Seq, Signal, Timestamp, UserId,
};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;

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
    };
    format!(r#"{{"type":"{}","room_id":{room},"at_seq":{at_seq},"data":{data}}}"#, signal.kind())
}

/// People by id and name.
fn named(people: &[(UserId, Arc<str>)]) -> Vec<serde_json::Value> {
    people.iter().map(|(user, name)| json!({ "id": user.get(), "name": &**name })).collect()
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
    serde_json::Value::from(text).to_string()
}

/// What a subscription begins with: a room as it is at `head`, and who types in it.
#[derive(Debug)]
pub struct Snapshot<'a> {
    pub room: &'a Room,
    pub typing: &'a [(UserId, Arc<str>)],
    /// None in an inbox.
    pub here: Option<Here<'a>>,
}

/// Who is there, by the kind of room.
#[derive(Debug)]
pub enum Here<'a> {
    /// In the commons: everybody who isn't offline. Who is away is among those online.
    All { online: &'a [UserId], away: &'a [UserId], signed_out: &'a [UserId] },
    /// Elsewhere: who has the room open, unless they are too many to name.
    Room { present: Option<&'a [(UserId, Arc<str>)]>, count: usize },
}

/// The `room` of a subscription's reply.
pub fn snapshot(snapshot: &Snapshot<'_>) -> String {
    let Snapshot { room, typing, here } = snapshot;
    let typing = named(typing);
    let mut value = json!({
        "id": room.id.get(),
        "kind": room.kind.as_str(),
        "name": room.name.as_deref(),
        "created_by": room.created_by.map(UserId::get),
        "created_at": room.created_at.to_string(),
        "head": room.head.get(),
        "typing": typing,
    });
    let ids = |users: &[UserId]| users.iter().map(|user| user.get()).collect::<serde_json::Value>();
    let fields = match here {
        Some(Here::All { online, away, signed_out }) => {
            vec![("online", ids(online)), ("away", ids(away)), ("signed_out", ids(signed_out))]
        }
        Some(Here::Room { present: Some(present), count }) => {
            vec![("present", json!(named(present))), ("present_count", json!(count))]
        }
        Some(Here::Room { present: None, count }) => vec![("present_count", json!(count))],
        None => Vec::new(),
    };
    if let Some(object) = value.as_object_mut() {
        object.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    value.to_string()
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
    serde_json::to_string(&ErrorObject::from(rejection)).unwrap_or_default()
}

/// The `data` of the reply to a command.
pub fn ack(ack: &Ack) -> String {
    ack_value(ack).to_string()
}

fn ack_value(ack: &Ack) -> serde_json::Value {
    match ack {
        Ack::Recorded(position) => {
            json!({ "id": position.id.get(), "seq": position.seq.get(), "at": position.at.to_string() })
        }
        Ack::Unchanged => json!({ "duplicate": true }),
        Ack::Posted { position, client_message_id, duplicate } => {
            let mut data = json!({
                "id": position.id.get(),
                "seq": position.seq.get(),
                "at": position.at.to_string(),
                "client_message_id": client_message_id,
            });
            if *duplicate {
                mark_duplicate(&mut data);
            }
            data
        }
        Ack::Edited { position, message, version, duplicate } => {
            let mut data = json!({
                "id": position.id.get(),
                "seq": position.seq.get(),
                "at": position.at.to_string(),
                "message_id": message.get(),
                "version": version,
            });
            if *duplicate {
                mark_duplicate(&mut data);
            }
            data
        }
        Ack::Deleted { position: Some(position), message } => json!({
            "id": position.id.get(),
            "seq": position.seq.get(),
            "at": position.at.to_string(),
            "message_id": message.get(),
        }),
        Ack::Deleted { position: None, message } => json!({ "message_id": message.get(), "duplicate": true }),
        Ack::RoomCreated { room, duplicate } => {
            let head = i64::from(!*duplicate);
            let mut data = json!({ "room": super::view::RoomView::new(room, head, 0, 0) });
            if *duplicate {
                data = json!({ "room": super::view::RoomCardView::from(room.as_ref()) });
                mark_duplicate(&mut data);
            }
            data
        }
        Ack::Read { room, read, unread } => {
            json!({ "room_id": room.get(), "read": read.get(), "unread": unread })
        }
        Ack::Enrolled { person, .. } => json!({ "user": PersonView::from(person) }),
        Ack::Replayed(original) => {
            let mut data = ack_value(original);
            mark_duplicate(&mut data);
            data
        }
    }
}

fn mark_duplicate(data: &mut serde_json::Value) {
    if let Some(object) = data.as_object_mut() {
        object.insert("duplicate".to_owned(), true.into());
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
#[derive(Debug)]
pub struct Welcome<'a> {
    pub connection_id: String,
    pub user: PersonView<'a>,
    pub epoch: Epoch,
    pub last_id: EventId,
    pub heartbeat_ms: u64,
    pub limits: WelcomeLimits,
    pub rooms: Vec<WelcomeRoom<'a>>,
    /// There are more rooms than are listed.
    pub more_rooms: bool,
}

/// `welcome`. Flags have a version from the start, so that a client can hold one.
pub fn welcome(welcome: &Welcome<'_>) -> String {
    let mut data = json!({
        "connection_id": welcome.connection_id,
        "user": welcome.user,
        "epoch": welcome.epoch.to_string(),
        "last_id": welcome.last_id.get(),
        "heartbeat_ms": welcome.heartbeat_ms,
        "limits": welcome.limits,
        "flags": { "version": 0, "values": {} },
        "rooms": welcome.rooms,
    });
    if let (true, Some(object)) = (welcome.more_rooms, data.as_object_mut()) {
        object.insert("more_rooms".to_owned(), true.into());
    }
    format!(r#"{{"type":"welcome","data":{data}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Person, PresenceState, Role};
    use uuid::Uuid;

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
            epoch: Epoch(Uuid::nil()),
            last_id: EventId::new(7),
            heartbeat_ms: 25_000,
            limits: WelcomeLimits { frame_bytes: 1, body_bytes: 2, subscriptions: 3 },
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

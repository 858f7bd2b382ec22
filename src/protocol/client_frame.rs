//! What clients send: the closed set of request frames and how they become commands (PROTOCOL.md section 2.1).

use super::action::{Answered, SyncSettings};
use super::json::{self, Object};
use crate::domain::{
    Action, Command, IdempotencyKey, MessageBody, MessageId, Name, NewRoomKind, Rejection, RoomId, RunId,
    Seq, UserId,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use uuid::Uuid;

/// The client's own name for a request, echoed by its reply; at most 64 bytes.
pub type RequestId = Arc<str>;

/// The longest [`RequestId`], in bytes.
pub const REQUEST_ID_BYTES: usize = 64;

/// One frame, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFrame {
    pub request_id: Option<RequestId>,
    pub request: Request,
}

/// What a frame asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Command(Command),
    /// `batch` tells the two forms of `room.subscribe` apart: their replies differ.
    Subscribe {
        rooms: Vec<Resume>,
        epoch: Option<Uuid>,
        batch: bool,
    },
    Unsubscribe {
        room: RoomId,
    },
    Typing {
        room: RoomId,
        change: TypingChange,
    },
    /// Whether somebody looks at this socket.
    Presence {
        away: bool,
    },
    /// What came of an action request. Whose word it is the socket knows.
    ActionResult(Answered),
    Ping,
    Pong,
}

/// What the client says of its user's typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypingChange {
    /// `after` is the seq of the last message of their own that the client had when it said so.
    Start {
        after: Option<Seq>,
    },
    Stop,
}

/// Where a subscriber goes on: after the last seq it has, or at the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    pub room: RoomId,
    pub after: Option<Seq>,
    pub level: Level,
}

/// How much of a room a subscriber hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Every event and signal.
    #[default]
    Full,
    /// How far it has come and how much of it is unread, at most once per second.
    Badge,
}

/// A frame that could not be understood; the request id is kept when it was readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    pub request_id: Option<RequestId>,
    pub rejection: Rejection,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OneRoom {
    room_id: i64,
}

#[derive(Deserialize)]
struct TypingStart {
    room_id: i64,
    after: Option<i64>,
}

#[derive(Deserialize)]
struct PresenceSet {
    #[serde(deserialize_with = "away")]
    state: bool,
}

/// Read as text first, like the kind of a room.
fn away<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "active" => Ok(false),
        "away" => Ok(true),
        _ => Err(D::Error::custom("one of active, away")),
    }
}

#[derive(Deserialize)]
struct Subscribe {
    room_id: Option<i64>,
    after: Option<i64>,
    #[serde(default, deserialize_with = "level")]
    level: Level,
    rooms: Option<Vec<Object<SubscribeOne>>>,
    epoch: Option<Uuid>,
}

#[derive(Deserialize)]
struct SubscribeOne {
    room_id: i64,
    after: Option<i64>,
    #[serde(default, deserialize_with = "level")]
    level: Level,
}

#[derive(Deserialize)]
struct Post {
    room_id: i64,
    client_message_id: Uuid,
    body: String,
    settings_version: Option<i64>,
}

#[derive(Deserialize)]
struct Ask {
    room_id: i64,
    message_id: i64,
    assistant_id: i64,
    regenerates: Option<i64>,
    settings_version: Option<i64>,
}

#[derive(Deserialize)]
struct Stop {
    room_id: i64,
    run_id: i64,
}

#[derive(Deserialize)]
struct Edit {
    room_id: i64,
    message_id: i64,
    version: i32,
    body: String,
}

#[derive(Deserialize)]
struct Delete {
    room_id: i64,
    message_id: i64,
}

#[derive(Deserialize)]
struct Member {
    room_id: i64,
    user_id: i64,
}

#[derive(Deserialize)]
struct Read {
    room_id: i64,
    seq: i64,
}

/// The body of `room.create` and of `POST /rooms`.
#[derive(Debug, Deserialize)]
pub struct CreateRoom {
    #[serde(deserialize_with = "new_room_kind")]
    pub kind: NewRoomKind,
    pub name: Option<String>,
    #[serde(default)]
    pub members: Vec<i64>,
    pub idempotency_key: Option<String>,
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "full" => Ok(Level::Full),
        "badge" => Ok(Level::Badge),
        _ => Err(D::Error::custom("one of full, badge")),
    }
}

/// Read as text first: for an enum serde_json calls a number there bad syntax, which it isn't.
fn new_room_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NewRoomKind, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "open" => Ok(NewRoomKind::Open),
        "closed" => Ok(NewRoomKind::Closed),
        "direct" => Ok(NewRoomKind::Direct),
        _ => Err(D::Error::custom("one of open, closed, direct")),
    }
}

impl CreateRoom {
    /// The most people a room can start with.
    pub const MAX_MEMBERS: usize = 100;

    /// The command, with its fields checked.
    pub fn into_command(self) -> Result<Command, Rejection> {
        let kind = self.kind;
        let name = match (kind, self.name) {
            (NewRoomKind::Direct, None) => None,
            (NewRoomKind::Direct, Some(_)) => {
                return Err(Rejection::invalid("name", "has no place in a direct room"));
            }
            (NewRoomKind::Open | NewRoomKind::Closed, name) => {
                Some(Name::parse("name", name.as_deref().unwrap_or_default())?)
            }
        };
        if self.members.len() > Self::MAX_MEMBERS {
            return Err(Rejection::invalid("members", "are more than 100"));
        }
        let key =
            self.idempotency_key.map(|key| IdempotencyKey::parse("idempotency_key", &key)).transpose()?;
        let members = self.members.into_iter().map(UserId::new).collect();
        Ok(Command::CreateRoom { kind, name, members, key })
    }
}

impl ClientFrame {
    /// Understands one text message.
    pub fn parse(text: &str) -> Result<Self, BadFrame> {
        let nameless = |rejection| BadFrame { request_id: None, rejection };
        if !text.trim_start().starts_with('{') {
            return Err(nameless(Rejection::invalid("frame", "is not a JSON object")));
        }
        let envelope: Envelope<'_> =
            serde_json::from_str(text).map_err(|error| nameless(envelope_error(&error)))?;
        let request_id = match envelope.request_id {
            Some(id) if id.len() > REQUEST_ID_BYTES => {
                return Err(nameless(Rejection::invalid("request_id", "is longer than 64 bytes")));
            }
            Some(id) => Some(RequestId::from(id.as_ref())),
            None => None,
        };
        let data = envelope.data.map_or("{}", RawValue::get);
        match Request::parse(&envelope.kind, data) {
            Ok(request) => Ok(Self { request_id, request }),
            Err(rejection) => Err(BadFrame { request_id, rejection }),
        }
    }
}

fn envelope_error(error: &serde_json::Error) -> Rejection {
    if !error.is_data() {
        return Rejection::invalid("frame", "is not valid JSON");
    }
    let text = error.to_string();
    let field = if text.contains("missing field `type`") {
        "type"
    } else {
        // The envelope has three fields and serde doesn't say which was wrong: `data` takes anything.
        "type or request_id"
    };
    if text.starts_with("missing field") {
        Rejection::invalid(field, "is missing")
    } else {
        Rejection::invalid(field, "is not a string")
    }
}

impl Request {
    /// Every `type` a client may send, the closed set of the protocol.
    pub const TYPES: [&'static str; 18] = [
        "room.subscribe",
        "room.unsubscribe",
        "room.create",
        "member.add",
        "member.remove",
        "message.post",
        "message.edit",
        "message.delete",
        "read.mark",
        "ai.ask",
        "ai.stop",
        "settings.sync",
        "action.result",
        "typing.start",
        "typing.stop",
        "presence.set",
        "ping",
        "pong",
    ];

    /// The `type` on the wire, for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Command(command) => command.kind(),
            Self::Subscribe { .. } => "room.subscribe",
            Self::Unsubscribe { .. } => "room.unsubscribe",
            Self::Typing { change: TypingChange::Start { .. }, .. } => "typing.start",
            Self::Typing { change: TypingChange::Stop, .. } => "typing.stop",
            Self::Presence { .. } => "presence.set",
            Self::ActionResult(_) => "action.result",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    /// What whoever sends it has to be allowed.
    pub const fn action(&self) -> Action {
        match self {
            Self::Command(command) => command.action(),
            Self::Subscribe { .. } | Self::Unsubscribe { .. } => Action::Subscribe,
            Self::Typing { .. } => Action::Type,
            Self::Presence { .. } => Action::SetPresence,
            Self::ActionResult(_) => Action::AnswerAction,
            Self::Ping | Self::Pong => Action::Connect,
        }
    }

    /// The room it is about, when it is about one.
    pub fn room(&self) -> Option<RoomId> {
        match self {
            Self::Command(command) => command.room(),
            Self::Unsubscribe { room } | Self::Typing { room, .. } => Some(*room),
            Self::Subscribe { rooms, .. } => match rooms.as_slice() {
                [one] => Some(one.room),
                _ => None,
            },
            Self::Presence { .. } | Self::ActionResult(_) | Self::Ping | Self::Pong => None,
        }
    }

    fn parse(kind: &str, data: &str) -> Result<Self, Rejection> {
        fn read<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, Rejection> {
            Ok(json::read(data.as_bytes(), "data")?)
        }
        Ok(match kind {
            "message.post" => {
                let Post { room_id, client_message_id, body, settings_version } = read(data)?;
                Self::Command(Command::PostMessage {
                    room: RoomId::new(room_id),
                    client_message_id,
                    body: MessageBody::parse(&body)?,
                    settings: settings_version,
                })
            }
            "message.edit" => {
                let Edit { room_id, message_id, version, body } = read(data)?;
                Self::Command(Command::EditMessage {
                    room: RoomId::new(room_id),
                    message: MessageId::new(message_id),
                    version,
                    body: MessageBody::parse(&body)?,
                })
            }
            "message.delete" => {
                let Delete { room_id, message_id } = read(data)?;
                Self::Command(Command::DeleteMessage {
                    room: RoomId::new(room_id),
                    message: MessageId::new(message_id),
                })
            }
            "room.create" => Self::Command(read::<CreateRoom>(data)?.into_command()?),
            "member.add" => {
                let Member { room_id, user_id } = read(data)?;
                Self::Command(Command::AddMember { room: RoomId::new(room_id), user: UserId::new(user_id) })
            }
            "member.remove" => {
                let Member { room_id, user_id } = read(data)?;
                Self::Command(Command::RemoveMember {
                    room: RoomId::new(room_id),
                    user: UserId::new(user_id),
                })
            }
            "read.mark" => {
                let Read { room_id, seq } = read(data)?;
                Self::Command(Command::MarkRead { room: RoomId::new(room_id), seq: Seq::new(seq) })
            }
            "ai.ask" => {
                let Ask { room_id, message_id, assistant_id, regenerates, settings_version } = read(data)?;
                Self::Command(Command::AskAssistant {
                    room: RoomId::new(room_id),
                    assistant: UserId::new(assistant_id),
                    message: MessageId::new(message_id),
                    regenerates: regenerates.map(RunId::new),
                    settings: settings_version,
                })
            }
            "ai.stop" => {
                let Stop { room_id, run_id } = read(data)?;
                Self::Command(Command::StopRun { room: RoomId::new(room_id), run: RunId::new(run_id) })
            }
            "settings.sync" => Self::Command(read::<SyncSettings>(data)?.into_command()?),
            "action.result" => Self::ActionResult(read(data)?),
            "room.subscribe" => read::<Subscribe>(data)?.into_request()?,
            "room.unsubscribe" => Self::Unsubscribe { room: RoomId::new(read::<OneRoom>(data)?.room_id) },
            "typing.start" => {
                let TypingStart { room_id, after } = read(data)?;
                if after.is_some_and(|after| after < 0) {
                    return Err(Rejection::invalid("after", "is negative"));
                }
                let change = TypingChange::Start { after: after.map(Seq::new) };
                Self::Typing { room: RoomId::new(room_id), change }
            }
            "typing.stop" => {
                let room = RoomId::new(read::<OneRoom>(data)?.room_id);
                Self::Typing { room, change: TypingChange::Stop }
            }
            "presence.set" => Self::Presence { away: read::<PresenceSet>(data)?.state },
            "ping" => Self::Ping,
            "pong" => Self::Pong,
            _ => return Err(Rejection::invalid("type", "is not a known type")),
        })
    }
}

impl Subscribe {
    fn into_request(self) -> Result<Request, Rejection> {
        let resume = |room_id: i64, after: Option<i64>, level: Level| match after {
            Some(after) if after < 0 => Err(Rejection::invalid("after", "is negative")),
            after => Ok(Resume { room: RoomId::new(room_id), after: after.map(Seq::new), level }),
        };
        let (rooms, batch) = match (self.room_id, self.rooms) {
            (Some(room_id), None) => (vec![resume(room_id, self.after, self.level)?], false),
            (None, Some(rooms)) => {
                let rooms: Vec<Resume> = rooms
                    .into_iter()
                    .map(|Object(one)| resume(one.room_id, one.after, one.level))
                    .collect::<Result<_, _>>()?;
                let mut ids: Vec<RoomId> = rooms.iter().map(|resume| resume.room).collect();
                ids.sort_unstable();
                ids.dedup();
                if ids.len() != rooms.len() {
                    return Err(Rejection::invalid("rooms", "name a room twice"));
                }
                (rooms, true)
            }
            (Some(_), Some(_)) => return Err(Rejection::invalid("rooms", "and room_id exclude each other")),
            (None, None) => return Err(Rejection::invalid("room_id", "is missing")),
        };
        Ok(Request::Subscribe { rooms, epoch: self.epoch, batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field_of(text: &str) -> (Option<RequestId>, String) {
        let bad = ClientFrame::parse(text).expect_err("refused");
        (bad.request_id, bad.rejection.field.expect("names a field").into_owned())
    }

    /// Proves CONN-14.
    #[test]
    fn names_the_field_that_is_wrong() {
        let id = || Some(RequestId::from("r"));
        assert_eq!(field_of("{").1, "frame");
        assert_eq!(field_of("{}").1, "type");
        assert_eq!(field_of(r#"{"type":"message.pots","request_id":"r"}"#), (id(), "type".into()));
        assert_eq!(field_of(r#"{"type":"message.post","request_id":"r"}"#), (id(), "room_id".into()));
        let post = r#"{"type":"message.post","request_id":"r","data":{"room_id":1,"client_message_id":"nope","body":"x"}}"#;
        assert_eq!(field_of(post), (id(), "client_message_id".into()));
        let blank = r#"{"type":"message.post","data":{"room_id":1,"client_message_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","body":" "}}"#;
        assert_eq!(field_of(blank).1, "body");
        assert_eq!(field_of(r#"{"type":"room.subscribe","data":{}}"#).1, "room_id");
        assert_eq!(field_of(r#"{"type":"room.subscribe","data":{"room_id":1,"level":"half"}}"#).1, "level");
        assert_eq!(field_of(r#"{"type":"room.subscribe","data":{"room_id":1,"level":7}}"#).1, "level");
        assert_eq!(
            field_of(r#"{"type":"room.subscribe","data":{"rooms":[{"room_id":1},{"room_id":1}]}}"#).1,
            "rooms"
        );
        let array = r#"{"type":"room.subscribe","data":{"rooms":[{"room_id":1},[2,null,"full"]]}}"#;
        assert_eq!(field_of(array).1, "rooms[1]", "an array is no object");
    }

    #[test]
    fn the_document_lists_every_type() {
        let document = include_str!("../../PROTOCOL.md");
        for kind in Request::TYPES {
            assert!(document.contains(&format!("| `{kind}` |")), "{kind} is missing");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_always_names_a_field(text in ".{0,200}") {
            if let Err(bad) = ClientFrame::parse(&text) {
                prop_assert!(bad.rejection.field.is_some());
            }
        }

        #[test]
        fn shapes_of_any_kind_are_refused_with_a_field(kind in prop::sample::select(Request::TYPES.to_vec()), data in "[\\[\\]{}\",:a-z0-9_]{0,60}") {
            let text = format!(r#"{{"type":"{kind}","data":{data}}}"#);
            if let Err(bad) = ClientFrame::parse(&text) {
                prop_assert!(bad.rejection.field.is_some());
            }
        }
    }
}

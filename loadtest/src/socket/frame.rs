//! What the server says on the socket, parsed.

use serde::Deserialize;
use serde_json::Value;

use super::{Place, SocketError};
use crate::wire::{Event, Refusal};

#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Welcome(Box<Welcome>),
    Reply {
        request_id: Option<String>,
        data: Value,
    },
    Error {
        request_id: Option<String>,
        refusal: Box<Refusal>,
    },
    Event(Event),
    /// Ephemeral; the whole frame.
    Signal {
        kind: String,
        json: Value,
    },
    Resync {
        room_id: u64,
        from: u64,
    },
    Ping,
    Pong,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Welcome {
    pub connection_id: String,
    pub epoch: String,
    pub last_id: u64,
    #[serde(default)]
    pub rooms: Vec<WelcomeRoom>,
    #[serde(default)]
    pub user: Value,
    #[serde(default)]
    pub limits: Value,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WelcomeRoom {
    pub room_id: u64,
    pub kind: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub head: u64,
    #[serde(default)]
    pub read: u64,
    #[serde(default)]
    pub unread: u64,
}

/// The answer to a subscription to one room.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribed {
    pub room_id: u64,
    /// Every event above comes by itself.
    pub head: u64,
    pub recovery: Recovery,
    /// The snapshot.
    pub room: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Recovery {
    Complete(Vec<Event>),
    Gap { reason: String, page: String },
}

impl Frame {
    pub fn parse(text: &str) -> Result<Frame, SocketError> {
        let json: Value = serde_json::from_str(text)
            .map_err(|e| SocketError::Shape(format!("a frame that is no JSON: {e}")))?;
        let kind = json.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let request_id = json.get("request_id").and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| json.get(field).and_then(Value::as_u64).ok_or_else(|| shape(&json));
        Ok(match kind.as_str() {
            "welcome" => Frame::Welcome(parse(json.get("data"), &json)?),
            "reply" => Frame::Reply { request_id, data: json.get("data").cloned().unwrap_or_default() },
            "error" => {
                let mut refusal: Box<Refusal> = parse(json.get("error"), &json)?;
                refusal.trace_id = json.get("trace_id").and_then(Value::as_str).map(str::to_owned);
                Frame::Error { request_id, refusal }
            }
            "room.resync" => Frame::Resync { room_id: number("room_id")?, from: number("from")? },
            "ping" => Frame::Ping,
            "pong" => Frame::Pong,
            "" => return Err(shape(&json)),
            _ if json.get("seq").is_some() => {
                Frame::Event(Event::try_from(json).map_err(SocketError::Shape)?)
            }
            _ => Frame::Signal { kind, json },
        })
    }

    /// Is this the one `reply` or `error` of that request?
    pub fn answers(&self, id: &str) -> bool {
        match self {
            Frame::Reply { request_id, .. } | Frame::Error { request_id, .. } => {
                request_id.as_deref() == Some(id)
            }
            _ => false,
        }
    }

    pub(super) fn into_answer(self) -> Result<Value, SocketError> {
        match self {
            Frame::Reply { data, .. } => Ok(data),
            Frame::Error { refusal, .. } => Err(SocketError::Refused(refusal)),
            other => Err(SocketError::Shape(format!("{other:?} answers nothing"))),
        }
    }
}

impl Subscribed {
    /// The entries of a `{rooms: […]}` reply, one for each place and in that order.
    pub(super) fn parse_all(reply: Value, places: &[Place]) -> Result<Vec<Subscribed>, SocketError> {
        let Some(entries) = reply.get("rooms").and_then(Value::as_array) else {
            return Err(shape(&reply));
        };
        if entries.len() != places.len() {
            return Err(SocketError::Shape(format!("{} entries for {} rooms", entries.len(), places.len())));
        }
        places.iter().zip(entries).map(|(place, entry)| Subscribed::parse(entry, place.room_id)).collect()
    }

    /// One entry, or the whole reply to a subscription of one room.
    pub fn parse(entry: &Value, room_id: u64) -> Result<Subscribed, SocketError> {
        if let Some(error) = entry.get("error") {
            return Err(SocketError::Refused(parse(Some(error), entry)?));
        }
        let text = |field: &str| entry.get(field).and_then(Value::as_str).ok_or_else(|| shape(entry));
        let recovery = match text("recovery")? {
            "complete" => Recovery::Complete(*parse(entry.get("events"), entry)?),
            "gap" => Recovery::Gap { reason: text("reason")?.to_owned(), page: text("page")?.to_owned() },
            _ => return Err(shape(entry)),
        };
        let room = entry.get("room").cloned().unwrap_or_default();
        let named = room.get("id").and_then(Value::as_u64);
        if named != Some(room_id) {
            return Err(SocketError::Shape(format!("asked for room {room_id}, answered {named:?}")));
        }
        let head = entry.get("head").and_then(Value::as_u64).ok_or_else(|| shape(entry))?;
        Ok(Subscribed { room_id, head, recovery, room })
    }
}

fn parse<T: serde::de::DeserializeOwned>(part: Option<&Value>, whole: &Value) -> Result<Box<T>, SocketError> {
    let part = part.ok_or_else(|| shape(whole))?;
    T::deserialize(part).map(Box::new).map_err(|e| SocketError::Shape(format!("{e} in {}", brief(whole))))
}

fn shape(json: &Value) -> SocketError {
    SocketError::Shape(format!("a frame of another shape: {}", brief(json)))
}

fn brief(json: &Value) -> String {
    json.to_string().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_frame_of_the_protocol_is_known() {
        let frame = |json: Value| Frame::parse(&json.to_string()).unwrap();
        assert!(matches!(
            frame(json!({"type":"welcome","data":{"connection_id":"c","epoch":"e","last_id":4,"rooms":[{"room_id":12,"kind":"open","head":88}]}})),
            Frame::Welcome(welcome) if welcome.last_id == 4 && welcome.rooms.len() == 1
        ));
        assert!(frame(json!({"type":"reply","request_id":"c1","data":{}})).answers("c1"));
        assert!(matches!(
            frame(json!({"type":"error","request_id":"c1","error":{"code":"not_found","message":"m","retryable":false},"trace_id":"t"})),
            Frame::Error { refusal, .. } if refusal.code == "not_found" && refusal.trace_id.as_deref() == Some("t")
        ));
        assert!(matches!(
            frame(json!({"type":"message.posted","id":1240,"seq":88,"room_id":12,"at":"x","data":{}})),
            Frame::Event(event) if event.seq == 88
        ));
        assert!(matches!(
            frame(json!({"type":"typing","room_id":12,"at_seq":88,"data":{}})),
            Frame::Signal { .. }
        ));
        assert_eq!(
            frame(json!({"type":"room.resync","room_id":12,"from":80})),
            Frame::Resync { room_id: 12, from: 80 }
        );
        assert_eq!(frame(json!({"type":"ping"})), Frame::Ping);
        assert!(Frame::parse("{}").is_err());
        assert!(Frame::parse("[").is_err());
    }

    #[test]
    fn a_subscription_is_complete_or_a_gap_or_refused() {
        let complete = json!({"room":{"id":12},"head":88,"recovery":"complete","events":[]});
        assert_eq!(Subscribed::parse(&complete, 12).unwrap().recovery, Recovery::Complete(vec![]));
        assert!(Subscribed::parse(&complete, 13).is_err());
        let gap = json!({"room":{"id":12},"head":88,"recovery":"gap","reason":"window_exceeded","page":"p"});
        assert!(
            matches!(Subscribed::parse(&gap, 12).unwrap().recovery, Recovery::Gap { page, .. } if page == "p")
        );
        let refused = json!({"room_id":12,"error":{"code":"not_found","message":"","retryable":false}});
        assert_eq!(Subscribed::parse(&refused, 12).unwrap_err().code(), "not_found");
    }
}

//! The few frames that a person of the day reads in whole; texts in them are skipped.

use serde::Deserialize;

use crate::wire::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Subscribed(Vec<Answer>),
    Acked {
        id: String,
        seq: u64,
        duplicate: bool,
    },
    Refused {
        /// The request's.
        id: Option<String>,
        refusal: Refusal,
    },
    Resync {
        room_id: u64,
    },
    Other,
}

/// A subscription's answer for one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) room_id: u64,
    pub(super) head: u64,
    /// The seqs of what was missed; none is a gap.
    pub(super) missed: Option<Vec<u64>>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "type")]
    kind: String,
    request_id: Option<String>,
    room_id: Option<u64>,
    data: Option<Data>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Data {
    rooms: Option<Vec<Entry>>,
    seq: Option<u64>,
    client_message_id: Option<String>,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct Entry {
    room: Option<Id>,
    head: Option<u64>,
    recovery: Option<String>,
    events: Option<Vec<Seq>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

#[derive(Deserialize)]
struct Seq {
    seq: u64,
}

impl Frame {
    /// None when it is of no known shape.
    pub(super) fn parse(text: &[u8]) -> Option<Frame> {
        let raw: Raw = serde_json::from_slice(text).ok()?;
        Some(match (raw.kind.as_str(), raw.data, raw.error) {
            ("reply", Some(Data { rooms: Some(rooms), .. }), _) => {
                match rooms.into_iter().map(Entry::answer).collect::<Result<Vec<_>, Option<Box<Refusal>>>>() {
                    Ok(answers) => Frame::Subscribed(answers),
                    Err(refusal) => Frame::Refused { id: raw.request_id, refusal: *refusal? },
                }
            }
            ("reply", Some(Data { client_message_id: Some(id), seq: Some(seq), duplicate, .. }), _) => {
                Frame::Acked { id, seq, duplicate }
            }
            ("error", _, Some(refusal)) => Frame::Refused { id: raw.request_id, refusal },
            ("room.resync", _, _) => Frame::Resync { room_id: raw.room_id? },
            _ => Frame::Other,
        })
    }
}

impl Entry {
    /// The refusal, or none of another shape, instead of an answer.
    fn answer(self) -> Result<Answer, Option<Box<Refusal>>> {
        let (Some(room), Some(head)) = (self.room, self.head) else { return Err(self.error.map(Box::new)) };
        let missed = match self.recovery.as_deref() {
            Some("complete") => Some(self.events.unwrap_or_default().iter().map(|event| event.seq).collect()),
            _ => None,
        };
        Ok(Answer { room_id: room.id, head, missed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_acks_and_refusals_are_told_apart() {
        let parse = |text: &str| Frame::parse(text.as_bytes());
        let complete = r#"{"room":{"id":12,"name":"x"},"head":4,"recovery":"complete","events":[{"seq":3,"data":{}},{"seq":4}]}"#;
        let gap = r#"{"room":{"id":13},"head":9,"recovery":"gap","reason":"window_exceeded","page":"p"}"#;
        assert_eq!(
            parse(&format!(r#"{{"type":"reply","request_id":"s","data":{{"rooms":[{complete},{gap}]}}}}"#)),
            Some(Frame::Subscribed(vec![
                Answer { room_id: 12, head: 4, missed: Some(vec![3, 4]) },
                Answer { room_id: 13, head: 9, missed: None },
            ]))
        );
        assert_eq!(
            parse(r#"{"type":"reply","data":{"id":1,"seq":2,"at":"x","client_message_id":"c"}}"#),
            Some(Frame::Acked { id: "c".to_owned(), seq: 2, duplicate: false })
        );
        let refused = r#"{"code":"not_found","message":"m","retryable":false}"#;
        for text in [
            format!(r#"{{"type":"error","request_id":"c","error":{refused}}}"#),
            format!(
                r#"{{"type":"reply","request_id":"c","data":{{"rooms":[{complete},{{"room_id":1,"error":{refused}}}]}}}}"#
            ),
        ] {
            assert!(
                matches!(parse(&text), Some(Frame::Refused { id: Some(id), refusal }) if id == "c" && refusal.code == "not_found")
            );
        }
        assert_eq!(
            parse(r#"{"type":"room.resync","room_id":12,"from":80}"#),
            Some(Frame::Resync { room_id: 12 })
        );
        assert_eq!(parse(r#"{"type":"reply","data":{"room_id":1,"read":2,"unread":0}}"#), Some(Frame::Other));
        assert_eq!(parse("{"), None);
    }
}

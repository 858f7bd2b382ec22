//! The shapes both doors share: events, acknowledgements, refusals, and the credentials to get in.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a client proves who it is, to either door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    Anonymous,
    /// The whole `Cookie` header.
    Cookie(String),
    /// A bot key, sent as `Authorization: Bearer`.
    Bearer(String),
}

/// A durable event. `json` is the whole object as it was received: two doors agree when their `json` is equal.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Event {
    pub id: u64,
    pub seq: u64,
    pub room_id: u64,
    pub kind: String,
    pub json: Value,
}

impl Event {
    /// A field of the event's `data`, when it is a string.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.json.get("data")?.get(field)?.as_str()
    }

    /// A field of the event's `data`, when it is a positive integer.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.json.get("data")?.get(field)?.as_u64()
    }
}

impl TryFrom<Value> for Event {
    type Error = String;

    fn try_from(json: Value) -> Result<Event, String> {
        let number = |field: &str| {
            json.get(field).and_then(Value::as_u64).ok_or_else(|| format!("event without {field}: {json}"))
        };
        let kind =
            json.get("type").and_then(Value::as_str).ok_or_else(|| format!("event without type: {json}"))?;
        Ok(Event {
            id: number("id")?,
            seq: number("seq")?,
            room_id: number("room_id")?,
            kind: kind.to_owned(),
            json,
        })
    }
}

/// What a post was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub id: u64,
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

/// The one error object of both doors (PROTOCOL.md section 5).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// HTTP status; 0 when the socket refused.
    pub status: u16,
    pub code: String,
    #[serde(alias = "detail")]
    pub message: String,
    pub retryable: bool,
    pub field: Option<String>,
    pub retry_after_ms: Option<u64>,
    pub version: Option<u64>,
    pub trace_id: Option<String>,
}

impl Refusal {
    /// `unavailable` is the one refusal after which the command may have been stored all the same.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self.code.as_str(), "unavailable" | "internal" | "")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)?;
        if let Some(trace) = &self.trace_id {
            write!(f, " [trace {trace}]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_keeps_everything_it_was_received_with() {
        let json =
            json!({"type":"message.posted","id":7,"seq":2,"room_id":3,"at":"x","data":{"body":"hi"},"new":1});
        let event: Event = serde_json::from_value(json.clone()).unwrap();
        assert_eq!((event.id, event.seq, event.room_id), (7, 2, 3));
        assert_eq!(event.text("body"), Some("hi"));
        assert_eq!(event.json, json);
    }

    #[test]
    fn an_event_without_a_seq_is_refused() {
        let result: Result<Event, _> = serde_json::from_value(json!({"type":"typing","id":1,"room_id":3}));
        assert!(result.unwrap_err().to_string().contains("without seq"));
    }

    #[test]
    fn both_doors_errors_are_one_type() {
        let problem: Refusal = serde_json::from_value(
            json!({"status":429,"detail":"slow","code":"rate_limited","retryable":true}),
        )
        .unwrap();
        let frame: Refusal =
            serde_json::from_value(json!({"code":"rate_limited","message":"slow","retryable":true})).unwrap();
        assert_eq!((&problem.code, &problem.message), (&frame.code, &frame.message));
        assert!(!frame.outcome_unknown());
    }
}

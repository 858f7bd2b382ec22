//! A subscription on its way: one reply for all its rooms, and nothing of a room before that reply (CONN-01).

use super::handle::Joined;
use crate::domain::{Rejection, RoomId, Seq};
use crate::protocol::{RequestId, TraceId, encode};
use bytes::Bytes;

/// One `room.subscribe` that waits for its rooms' answers.
pub struct Joining {
    /// Its number among the socket's; answers of an older one are of no use.
    pub number: u64,
    request_id: Option<RequestId>,
    trace: TraceId,
    batch: bool,
    parts: Vec<Part>,
    missing: usize,
    held: Vec<Held>,
    held_bytes: usize,
}

enum Part {
    Waiting,
    Joined { room: RoomId, text: String, without_events: Option<String> },
    Refused { room: RoomId, rejection: Rejection },
}

/// An event that came after a room's answer and before the reply.
pub struct Held {
    pub room: RoomId,
    pub seq: Seq,
    pub frame: Bytes,
}

impl Joining {
    /// Waits for the answers of `rooms` rooms.
    pub fn new(
        number: u64,
        request_id: Option<RequestId>,
        trace: TraceId,
        batch: bool,
        rooms: usize,
    ) -> Self {
        Self {
            number,
            request_id,
            trace,
            batch,
            parts: std::iter::repeat_with(|| Part::Waiting).take(rooms).collect(),
            missing: rooms,
            held: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Takes a room's answer. True when it was the last.
    pub fn joined(&mut self, joined: Joined) -> bool {
        let Joined { slot, part, without_events, .. } = joined;
        self.set(slot.index, Part::Joined { room: slot.room, text: part, without_events })
    }

    /// Takes a room's refusal. True when it was the last.
    pub fn refused(&mut self, index: usize, room: RoomId, rejection: Rejection) -> bool {
        self.set(index, Part::Refused { room, rejection })
    }

    fn set(&mut self, index: usize, part: Part) -> bool {
        if let Some(slot @ Part::Waiting) = self.parts.get_mut(index) {
            *slot = part;
            self.missing -= 1;
        }
        self.missing == 0
    }

    /// Whether the room has answered, so that its events have to wait for the reply.
    pub fn holds(&self, room: RoomId) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Joined { room: joined, .. } if *joined == room))
    }

    /// Holds an event back. False when that is more than `limit` bytes: then the room has to be resynced.
    pub fn hold(&mut self, room: RoomId, seq: Seq, frame: Bytes, limit: usize) -> bool {
        if self.held_bytes + frame.len() > limit {
            return false;
        }
        self.held_bytes += frame.len();
        self.held.push(Held { room, seq, frame });
        true
    }

    /// The reply, with missed events for as long as they fit into `limit` bytes together, and what was held back.
    pub fn finish(self, limit: usize) -> (String, Vec<Held>) {
        let request_id = self.request_id.as_deref();
        if !self.batch {
            let text = match self.parts.into_iter().next() {
                Some(Part::Joined { text, .. }) => encode::reply(request_id, &text, self.trace),
                Some(Part::Refused { rejection, .. }) => encode::error(request_id, &rejection, self.trace),
                Some(Part::Waiting) | None => encode::error(request_id, &Rejection::internal(), self.trace),
            };
            return (text, self.held);
        }
        let mut data = String::from(r#"{"rooms":["#);
        for (index, part) in self.parts.into_iter().enumerate() {
            if index > 0 {
                data.push(',');
            }
            match part {
                Part::Joined { text, without_events, .. } => match without_events {
                    Some(short) if data.len() + text.len() > limit => data.push_str(&short),
                    _ => data.push_str(&text),
                },
                Part::Refused { room, rejection } => data.push_str(&encode::refused(room, &rejection)),
                Part::Waiting => {}
            }
        }
        data.push_str("]}");
        (encode::reply(request_id, &data, self.trace), self.held)
    }
}

//! A subscription on its way: one reply for all its rooms, and nothing of a room before that reply (CONN-01).

use super::handle::Joined;
use crate::actors::outbox::Class;
use crate::domain::{Rejection, RoomId};
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
    /// Bytes of the parts so far.
    bytes: usize,
    held: Vec<Held>,
    held_bytes: usize,
}

enum Part {
    Waiting,
    Joined { room: RoomId, text: String },
    Refused { room: RoomId, rejection: Rejection },
}

/// What came after a room's answer and before the reply.
pub struct Held {
    pub room: RoomId,
    pub class: Class,
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
            bytes: 0,
            held: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Takes a room's answer: with its missed events for as long as all fit into `limit` bytes. True when it was the last.
    pub fn joined(&mut self, joined: Joined, limit: usize) -> bool {
        let Joined { slot, part, without_events, .. } = joined;
        let text = match without_events {
            Some(short) if self.batch && self.bytes + part.len() > limit => short,
            _ => part,
        };
        self.bytes += text.len();
        self.set(slot.index, Part::Joined { room: slot.room, text })
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

    /// The rooms that took the socket in.
    pub fn rooms(&self) -> Vec<RoomId> {
        let joined = |part: &Part| match part {
            Part::Joined { room, .. } => Some(*room),
            Part::Waiting | Part::Refused { .. } => None,
        };
        self.parts.iter().filter_map(joined).collect()
    }

    /// The room's answer is worth nothing any more: the reply will say so. False when it hasn't answered.
    pub fn lost(&mut self, room: RoomId, rejection: &Rejection) -> bool {
        let rejection = rejection.clone();
        let answered =
            self.parts.iter_mut().find(|part| matches!(part, Part::Joined { room: of, .. } if *of == room));
        let Some(part) = answered else { return false };
        if let Part::Joined { text, .. } = std::mem::replace(part, Part::Refused { room, rejection }) {
            self.bytes -= text.len();
        }
        self.held.retain(|held| held.room != room);
        self.held_bytes = self.held.iter().map(|held| held.frame.len()).sum();
        true
    }

    /// Holds something back. False when that is more than `limit` bytes.
    pub fn hold(&mut self, room: RoomId, class: Class, frame: Bytes, limit: usize) -> bool {
        if self.held_bytes + frame.len() > limit {
            return false;
        }
        self.held_bytes += frame.len();
        self.held.push(Held { room, class, frame });
        true
    }

    /// The reply, and what was held back.
    pub fn finish(self) -> (String, Vec<Held>) {
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
                Part::Joined { text, .. } => data.push_str(&text),
                Part::Refused { room, rejection } => data.push_str(&encode::refused(room, &rejection)),
                Part::Waiting => {}
            }
        }
        data.push_str("]}");
        (encode::reply(request_id, &data, self.trace), self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::hub::{ConnId, JoinSlot};
    use crate::domain::Seq;
    use crate::protocol::Level;

    const LIMIT: usize = 1_000;

    fn answer(index: usize, room: RoomId) -> Joined {
        let slot = JoinSlot { conn: ConnId { hub: 0, serial: 1 }, join: 1, index, room };
        let (part, short) = ("p".repeat(LIMIT * 3 / 4), "gap".to_owned());
        Joined { slot, level: Level::Full, head: Seq::new(1), part, without_events: Some(short) }
    }

    #[test]
    fn a_room_that_is_lost_takes_up_no_room() {
        let [lost, kept] = [1, 2].map(RoomId::new);
        let mut joining = Joining::new(1, None, TraceId::random(), true, 2);
        assert!(!joining.joined(answer(0, lost), LIMIT));
        let frame = Bytes::from(vec![0; LIMIT * 3 / 4]);
        assert!(joining.hold(lost, Class::Signal, frame.clone(), LIMIT));
        assert!(joining.lost(lost, &Rejection::unavailable()));
        assert!(joining.joined(answer(1, kept), LIMIT));
        assert!(joining.hold(kept, Class::Signal, frame, LIMIT), "not too far behind");
        let (reply, held) = joining.finish();
        assert!(reply.contains("ppp") && !reply.contains("gap"), "its events fit");
        assert_eq!(held.len(), 1);
    }
}

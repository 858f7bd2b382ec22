//! The store's side of the story, read over REST, and whether it agrees with itself.

use std::collections::HashMap;

use super::Violation;
use crate::client::{Client, ClientError, Message};
use crate::wire::Event;

/// The log and history of every room a run used.
#[derive(Debug, Clone, Default)]
pub struct StoreView {
    pub rooms: Vec<RoomView>,
}

#[derive(Debug, Clone)]
pub struct RoomView {
    pub room_id: u64,
    pub head: u64,
    /// The whole log, in the order the server gave it.
    pub events: Vec<Event>,
    /// The whole history, in the order the server gave it.
    pub messages: Vec<Message>,
}

impl StoreView {
    /// Reads everything. The rooms have to be quiet meanwhile.
    pub async fn read(client: &Client, rooms: &[u64]) -> Result<StoreView, ClientError> {
        let mut view = StoreView::default();
        for &room_id in rooms {
            let log = client.room_log(room_id, 0).await?;
            let (messages, head) = client.history(room_id).await?;
            view.rooms.push(RoomView { room_id, head, events: log.events, messages });
        }
        Ok(view)
    }

    pub fn room(&self, room_id: u64) -> Option<&RoomView> {
        self.rooms.iter().find(|room| room.room_id == room_id)
    }

    /// The highest id in any of the rooms.
    pub fn last_id(&self) -> u64 {
        self.rooms.iter().flat_map(|room| &room.events).map(|event| event.id).max().unwrap_or(0)
    }

    pub(super) fn check(&self, found: &mut Vec<Violation>) {
        let mut seen = HashMap::new();
        for room in &self.rooms {
            room.check_log(found);
            room.check_history(found);
            for event in &room.events {
                if let Some(first) = seen.insert(event.id, room.room_id) {
                    found.push(Violation::IdTwice { id: event.id, first, second: room.room_id });
                }
            }
        }
    }
}

impl RoomView {
    /// The event at a position. Logs are contiguous from 1, but a broken one must not mislead us.
    pub(super) fn at(&self, seq: u64) -> Option<&Event> {
        let likely = usize::try_from(seq).ok()?.checked_sub(1).and_then(|index| self.events.get(index));
        likely.filter(|event| event.seq == seq).or_else(|| self.events.iter().find(|event| event.seq == seq))
    }

    fn check_log(&self, found: &mut Vec<Violation>) {
        let room_id = self.room_id;
        let (mut expected, mut previous) = (1, 0);
        for event in &self.events {
            if event.room_id != room_id {
                found.push(Violation::ForeignInLog { room_id, id: event.id, of: event.room_id });
            }
            if event.seq != expected {
                found.push(Violation::SeqGap { room_id, expected, found: event.seq });
            }
            if event.id <= previous {
                found.push(Violation::IdOrder { room_id, seq: event.seq, id: event.id, previous });
            }
            expected = event.seq + 1;
            previous = event.id;
        }
        let last = self.events.last().map_or(0, |event| event.seq);
        if last != self.head {
            found.push(Violation::Head { room_id, head: self.head, last });
        }
    }

    /// Every message is a `message.posted` of the log and the other way round. (Nothing here deletes or edits.)
    fn check_history(&self, found: &mut Vec<Violation>) {
        let room_id = self.room_id;
        let mut previous = 0;
        let mut posted: HashMap<u64, &Event> =
            self.events.iter().filter(|e| e.kind == "message.posted").map(|e| (e.id, e)).collect();
        for message in &self.messages {
            if message.id <= previous {
                found.push(Violation::HistoryOrder { room_id, id: message.id, previous });
            }
            previous = message.id;
            let what = match posted.remove(&message.id) {
                None => "not in the log",
                Some(event) if event.seq != message.seq => "at another seq in the log",
                Some(event) if event.text("body") != Some(&message.body) => "of another body in the log",
                Some(_) => continue,
            };
            found.push(Violation::HistoryNotLog { room_id, id: message.id, seq: message.seq, what });
        }
        for event in posted.into_values() {
            found.push(Violation::HistoryNotLog {
                room_id,
                id: event.id,
                seq: event.seq,
                what: "not in the history",
            });
        }
    }
}

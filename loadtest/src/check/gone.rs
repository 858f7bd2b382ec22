//! Rooms that were deleted: nobody can read them any more, but what was heard of them has to agree with itself.

use std::collections::{BTreeMap, HashSet};

use super::{StoreView, Violation};
use crate::history::{Heard, History};
use crate::wire::Event;

pub(super) fn check(history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let mut rooms: BTreeMap<u64, BTreeMap<u64, &Event>> = BTreeMap::new();
    let mut told = HashSet::new();
    for listener in &history.listeners {
        for heard in &listener.heard {
            let Heard::Event(event) = heard else { continue };
            if store.room(event.room_id).is_some() {
                continue;
            }
            let (room_id, seq) = (event.room_id, event.seq);
            let first = *rooms.entry(room_id).or_default().entry(seq).or_insert(event);
            if first != event && told.insert((room_id, seq)) {
                found.push(Violation::AnotherEvent {
                    listener: listener.name.clone(),
                    room_id,
                    seq,
                    heard: event.json.to_string(),
                    stored: first.json.to_string(),
                });
            }
        }
    }
    for (room_id, events) in &rooms {
        let end = events.values().find(|event| event.kind == "room.deleted");
        if let Some((seq, _)) =
            events.last_key_value().filter(|(seq, _)| end.is_some_and(|end| end.seq < **seq))
        {
            found.push(Violation::AfterTheEnd { room_id: *room_id, seq: *seq });
        }
    }
    for (&post, sent) in &history.posts {
        let Some(ack) = sent.acks.first() else { continue };
        let heard = rooms.get(&sent.room_id).and_then(|events| events.get(&ack.seq));
        if let Some(event) = heard.filter(|event| event.id != ack.id) {
            found.push(Violation::Moved { post, ack: *ack, id: event.id, seq: event.seq });
        }
    }
}

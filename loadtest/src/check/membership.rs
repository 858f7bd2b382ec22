//! Closed rooms: what was said while one was out is not for one's ears, until one is in again.

use super::{RoomView, StoreView, Violation};
use crate::history::{Heard, History, Listener};
use serde_json::Value;

/// When somebody came into a room and went, by seq; the first entry is the beginning.
fn changes(user: u64, room: &RoomView, initially: bool) -> Vec<(u64, bool)> {
    let mut changes = vec![(0, initially)];
    for event in &room.events {
        let (who, is_in) = match event.kind.as_str() {
            "member.added" => (event.json.pointer("/data/user/id").and_then(Value::as_u64), true),
            "member.removed" => (event.number("user_id"), false),
            _ => continue,
        };
        if who == Some(user) {
            changes.push((event.seq, is_in));
        }
    }
    changes
}

/// Could somebody have been out of this room at some moment?
pub(super) fn may_be_out(user: u64, room_id: u64, history: &History, store: &StoreView) -> bool {
    let Some(room) = store.room(room_id) else { return true };
    let Some(origin) = history.rooms.get(&room_id).filter(|origin| origin.closed) else { return false };
    changes(user, room, origin.members.contains(&user)).iter().any(|(_, is_in)| !is_in)
}

pub(super) fn check(listener: &Listener, history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let (user, room_id) = (listener.user, listener.room_id);
    let Some(origin) = history.rooms.get(&room_id).filter(|origin| origin.closed) else { return };
    let Some(room) = store.room(room_id) else { return };
    let changes = changes(user, room, origin.members.contains(&user));
    let is_in = |seq: u64| changes.iter().rev().find(|(at, _)| *at <= seq).is_some_and(|(_, is_in)| *is_in);
    let mut confirmed = 0;
    for heard in &listener.heard {
        match heard {
            Heard::From { head, .. } => confirmed = *head,
            Heard::Event(event) if event.room_id == room_id => {
                let seq = event.seq;
                // The event that takes one out, or in, is one's own to hear.
                if is_in(seq) || is_in(seq.saturating_sub(1)) {
                    continue;
                }
                // Once one is in again the whole log is one's own to read.
                let again = changes.iter().any(|(at, is_in)| *is_in && *at > seq && *at <= confirmed);
                if !again {
                    found.push(Violation::HeardOutside { listener: listener.name.clone(), room_id, seq });
                }
            }
            _ => {}
        }
    }
}

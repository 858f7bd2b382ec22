//! What a subscriber heard of a room: every event above its confirmed start, once, in order, equal to the store's.

use super::{StoreView, Violation};
use crate::history::{Heard, Listener};
use crate::wire::Event;

/// The one gap that may happen while all goes well: the subscriber was too far behind to be replayed to.
const HONEST_GAP: &str = "window_exceeded";

pub(super) fn check(listener: &Listener, store: &StoreView, found: &mut Vec<Violation>) {
    let room_id = listener.room_id;
    let name = || listener.name.clone();
    let mut last: Option<u64> = None;
    for heard in &listener.heard {
        match heard {
            Heard::From { after } => {
                // A listener may go back as far as it likes, but one that skips ahead was told to.
                if let Some(last) = last.filter(|last| after > last) {
                    let (expected, found_at) = (last + 1, after + 1);
                    found.push(Violation::Missed { listener: name(), room_id, expected, found: found_at });
                }
                last = Some(*after);
            }
            Heard::Gap { reason } if reason == HONEST_GAP => {}
            Heard::Gap { reason } => {
                found.push(Violation::FalseGap { listener: name(), room_id, reason: reason.clone() });
            }
            Heard::Event(event) => {
                if event.room_id != room_id {
                    found.push(Violation::Unasked {
                        listener: name(),
                        room_id,
                        id: event.id,
                        of: event.room_id,
                    });
                    continue;
                }
                match last.map(|last| last + 1) {
                    None => found.push(Violation::Unconfirmed { listener: name(), room_id, seq: event.seq }),
                    Some(expected) if event.seq > expected => {
                        found.push(Violation::Missed {
                            listener: name(),
                            room_id,
                            expected,
                            found: event.seq,
                        });
                    }
                    Some(expected) if event.seq < expected => {
                        found.push(Violation::HeardAgain {
                            listener: name(),
                            room_id,
                            expected,
                            found: event.seq,
                        });
                    }
                    Some(_) => {}
                }
                last = Some(last.unwrap_or(0).max(event.seq));
                found.extend(compare(&listener.name, event, store));
            }
        }
    }
    let head = store.room(room_id).map_or(0, |room| room.head);
    let heard = last.unwrap_or(0);
    if listener.until_head && heard < head {
        found.push(Violation::Behind { listener: name(), room_id, heard, head });
    }
}

/// Is the event the one the store has at that place?
pub(super) fn compare(listener: &str, event: &Event, store: &StoreView) -> Option<Violation> {
    let (room_id, seq) = (event.room_id, event.seq);
    let listener = listener.to_owned();
    let Some(stored) = store.room(room_id)?.at(seq) else {
        return Some(Violation::NotInStore { listener, room_id, id: event.id, seq });
    };
    if stored == event {
        return None;
    }
    let (heard, stored) = (event.json.to_string(), stored.json.to_string());
    Some(Violation::AnotherEvent { listener, room_id, seq, heard, stored })
}

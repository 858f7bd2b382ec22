//! What a subscriber heard of a room: every event above its confirmed start, once, in order, equal to the store's.

use super::{Promises, RoomView, StoreView, Violation};
use crate::history::{Heard, Listener};
use crate::wire::Event;

/// The one gap that may happen while all goes well: the subscriber was too far behind to be replayed to.
const HONEST_GAP: &str = "window_exceeded";

pub(super) fn check(listener: &Listener, store: &StoreView, promises: &Promises, found: &mut Vec<Violation>) {
    let room_id = listener.room_id;
    let name = || listener.name.clone();
    let mut last: Option<u64> = None;
    let mut confirmed = 0;
    for heard in &listener.heard {
        match heard {
            Heard::From { after, head } => {
                confirmed = *head;
                // A listener may go back as far as it likes, but one that skips ahead was told to.
                if let Some(last) = last.filter(|last| after > last) {
                    let (expected, found_at) = (last + 1, after + 1);
                    found.push(Violation::Missed { listener: name(), room_id, expected, found: found_at });
                }
                last = Some(*after);
            }
            // What was missed is told before anything else: the whole of it, or the whole of what a gap named.
            Heard::Snapshot { .. } => {
                let reached = last.unwrap_or_default();
                if reached < confirmed {
                    let head = confirmed;
                    found.push(Violation::Incomplete { listener: name(), room_id, reached, head });
                }
            }
            Heard::Gap { reason, after, head, reply } => {
                // We write the JSON a little differently: what is near the limit is not judged.
                let limit =
                    usize::try_from(promises.window_bytes - promises.window_bytes / 8).unwrap_or(usize::MAX);
                let small = *head >= *after
                    && head - after <= promises.window
                    && store.room(room_id).is_some_and(|room| reply + bytes(room, *after, *head) <= limit);
                if reason != HONEST_GAP || small {
                    let (reason, after, head, reply) = (reason.clone(), *after, *head, *reply);
                    let listener = name();
                    found.push(Violation::FalseGap { listener, room_id, reason, after, head, reply });
                }
            }
            Heard::Resync { from } => {
                if let Some(expected) = last.map(|last| last + 1).filter(|expected| from > expected) {
                    found.push(Violation::Missed { listener: name(), room_id, expected, found: *from });
                }
            }
            Heard::Typing { .. } | Heard::Moved { .. } | Heard::Lost => {}
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
    let Some(head) = store.room(room_id).map(|room| room.head) else { return };
    let heard = last.unwrap_or(0);
    if listener.until_head && heard < head {
        found.push(Violation::Behind { listener: name(), room_id, heard, head });
    }
}

/// How much there is to replay.
fn bytes(room: &RoomView, after: u64, head: u64) -> usize {
    let missed = room.events.iter().filter(|event| event.seq > after && event.seq <= head);
    missed.map(|event| event.json.to_string().len()).sum()
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

//! What both doors say is unread, recomputed from the log and the marks.

use std::collections::HashMap;

use serde_json::Value;

use super::{StoreView, Violation};
use crate::history::{History, Reading, What};

pub(super) fn check(history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let mut marked: HashMap<(u64, u64), u64> = HashMap::new();
    for deed in &history.deeds {
        if let (What::Mark { room_id, seq }, Some(_)) = (&deed.what, &deed.done) {
            let highest = marked.entry((deed.by, *room_id)).or_default();
            *highest = (*highest).max(*seq);
        }
    }
    let mut first: HashMap<(u64, u64), &Reading> = HashMap::new();
    for reading in &history.readings {
        let Reading { source, user, room_id, head, read, unread } = *reading;
        let Some(room) = store.room(room_id) else { continue };
        let fold = room.fold();
        let counted = fold.posted.values().filter(|event| {
            let author = event.json.pointer("/data/author/id").and_then(Value::as_u64);
            event.seq > read && author != Some(user) && !fold.deleted.contains_key(&event.id)
        });
        let expected = u64::try_from(counted.count()).unwrap_or(u64::MAX);
        if expected != unread || head != room.head {
            found.push(Violation::Unread { door: source, user, room_id, read, unread, expected });
        }
        let marked = marked.get(&(user, room_id)).copied().unwrap_or_default();
        if read < marked {
            found.push(Violation::Unmarked { door: source, user, room_id, read, marked });
        }
        let other = *first.entry((user, room_id)).or_insert(reading);
        if (other.read, other.unread, other.head) != (read, unread, head) {
            found.push(Violation::TwoNumbers { user, room_id, one: other.read, other: read });
        }
    }
}

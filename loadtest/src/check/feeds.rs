//! What a long-poll reader got: every event of our open rooms above its cursor, once, in id order, and none of others'.

use std::collections::HashSet;

use super::{StoreView, Violation, listeners};
use crate::history::{Feed, History};

pub(super) fn check(feed: &Feed, history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let reader = || feed.name.clone();
    found.extend(
        feed.gaps.iter().map(|reason| Violation::FeedGap { reader: reader(), reason: reason.clone() }),
    );
    // A reader is nobody's member.
    let closed = |room_id: u64| history.rooms.get(&room_id).is_some_and(|room| room.closed);
    let mut previous = feed.after;
    let mut got = HashSet::new();
    for event in &feed.events {
        if event.id <= previous {
            found.push(Violation::FeedOrder { reader: reader(), id: event.id, previous });
        }
        if closed(event.room_id) {
            let (room_id, seq) = (event.room_id, event.seq);
            found.push(Violation::HeardOutside { listener: reader(), room_id, seq });
        }
        previous = previous.max(event.id);
        got.insert(event.id);
        // The feed has other rooms too (inbox, commons), which the store view may not hold.
        found.extend(listeners::compare(&feed.name, event, store));
    }
    // One that left early has everything up to where it got.
    let upto = if feed.until_head { u64::MAX } else { previous };
    let rooms = store.rooms.iter().filter(|room| !closed(room.room_id));
    for event in rooms.flat_map(|room| &room.events) {
        if event.id > feed.after && event.id <= upto && !got.contains(&event.id) {
            let (id, room_id, seq) = (event.id, event.room_id, event.seq);
            found.push(Violation::FeedMissed { reader: reader(), id, room_id, seq });
        }
    }
}

//! What a long-poll reader got: every event of our rooms above its cursor, once, in id order.

use std::collections::HashSet;

use super::{StoreView, Violation, listeners};
use crate::history::Feed;

pub(super) fn check(feed: &Feed, store: &StoreView, found: &mut Vec<Violation>) {
    let reader = || feed.name.clone();
    found.extend(
        feed.gaps.iter().map(|reason| Violation::FeedGap { reader: reader(), reason: reason.clone() }),
    );
    let mut previous = feed.after;
    let mut got = HashSet::new();
    for event in &feed.events {
        if event.id <= previous {
            found.push(Violation::FeedOrder { reader: reader(), id: event.id, previous });
        }
        previous = previous.max(event.id);
        got.insert(event.id);
        // The feed has other rooms too (inbox, commons), which the store view may not hold.
        found.extend(listeners::compare(&feed.name, event, store));
    }
    // One that left early has everything up to where it got.
    let upto = if feed.until_head { u64::MAX } else { previous };
    for event in store.rooms.iter().flat_map(|room| &room.events) {
        if event.id > feed.after && event.id <= upto && !got.contains(&event.id) {
            let (id, room_id, seq) = (event.id, event.room_id, event.seq);
            found.push(Violation::FeedMissed { reader: reader(), id, room_id, seq });
        }
    }
}

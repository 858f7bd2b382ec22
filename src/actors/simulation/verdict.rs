//! Whether a simulation ended as it has to.

use super::device::{Asked, Device};
use super::house::House;
use crate::domain::{RoomId, Seq};
use crate::storage::StoredEvent;
use serde_json::Value;
use std::collections::BTreeSet;

/// Every client holds what the store has, and the store has what was acknowledged, once.
pub(super) async fn judge(house: &House) {
    for room in house.all_rooms() {
        let state = house.store.load_room(room).await.expect("read").expect("there");
        let log = house.store.room_events(room, Seq::new(0), usize::MAX).await.expect("read");
        let seqs: Vec<i64> = log.iter().map(|event| event.seq.get()).collect();
        let wanted: Vec<i64> = (1..=state.head.get()).collect();
        assert_eq!(seqs, wanted, "the log of {room} has no holes");
        assert!(log.is_sorted_by(|a, b| a.id < b.id), "ids follow the seqs");
        let people = house.devices.iter().map(|device| &device.person);
        let members: BTreeSet<i64> =
            people.filter(|person| state.is_member(person)).map(|person| person.id.get()).collect();
        for device in &house.devices {
            same_history(device, room, &log, &members);
            posted_once(device, room, &log);
        }
    }
    let online: BTreeSet<i64> = house.devices.iter().map(|device| device.person.id.get()).collect();
    let commons = house.bus.rooms().commons().expect("set up");
    for device in &house.devices {
        assert_eq!(
            device.unanswered(),
            Vec::<&Asked>::new(),
            "{}: every request has its answer",
            device.name
        );
        assert_eq!(device.views[&commons].online, online, "{} sees who is there", device.name);
    }
}

fn same_history(device: &Device, room: RoomId, log: &[StoredEvent], members: &BTreeSet<i64>) {
    let member = members.contains(&device.person.id.get());
    let name = &device.name;
    let Some(view) = device.views.get(&room) else {
        return assert!(!member, "{name} never saw {room}");
    };
    assert_eq!(view.live, member, "{name} is subscribed to {room}");
    // The commons tells who is online instead.
    if member && !view.online.contains(&device.person.id.get()) {
        let others = |here: &BTreeSet<i64>| {
            let me = device.person.id.get();
            here.iter().copied().filter(|id| *id != me).collect::<BTreeSet<i64>>()
        };
        assert_eq!(others(&view.present), others(members), "{name} sees who has {room} open");
    }
    assert!(view.typing.is_empty(), "{name} sees ghosts typing in {room}: {:?}", view.typing);
    let head = log.last().map_or(0, |event| event.seq.get());
    let known = view.known();
    let linked = device.link.is_some();
    assert!(
        if member { known == head } else { known <= head },
        "{name} in {room}: {known} of {head}, {linked}"
    );
    let first = usize::try_from(view.base).expect("not negative");
    for (heard, stored) in view.events.iter().zip(&log[first..]) {
        let data: Value = serde_json::from_str(&stored.payload).expect("JSON");
        let same = heard["id"] == stored.id.get()
            && heard["seq"] == stored.seq.get()
            && heard["type"] == stored.kind.as_str()
            && heard["data"] == data;
        assert!(same, "{name} heard {heard}, the store has {stored:?}");
    }
}

fn posted_once(device: &Device, room: RoomId, log: &[StoredEvent]) {
    for post in device.posts.iter().filter(|post| post.room == room) {
        let found: Vec<(i64, i64)> = log
            .iter()
            .filter(|event| event.kind == "message.posted" && event.payload.contains(&post.id.to_string()))
            .map(|event| (event.id.get(), event.seq.get()))
            .collect();
        match post.acked {
            Some(ack) => assert_eq!(found, [ack], "{}: {} was acknowledged", device.name, post.id),
            None if post.refused == post.attempts => {
                assert_eq!(found, [], "{}: {} was refused", device.name, post.id);
            }
            None => assert!(found.len() <= 1, "{}: {} is there twice", device.name, post.id),
        }
    }
}

/// After everybody left, nothing of them is kept.
pub(super) fn nothing_is_left(house: &House) {
    assert_eq!(house.bus.sockets().count(), 0);
    assert_eq!(house.bus.pending(), 0);
    assert_eq!(house.bus.rooms().presence().roll().online, []);
    for board in &house.boards {
        assert_eq!(board.borrow().sizes(), (0, 0));
    }
    assert_eq!(house.bus.rooms().held(), [], "rooms are forgotten");
}

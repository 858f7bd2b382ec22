//! What a device makes of news of its own coming and going, in whatever order they reach it.

use serde_json::json;

use super::super::plan::Door;
use super::*;
use crate::client::Client;

const ME: u64 = 3;
const INBOX: u64 = 2;
const ROOM: u64 = 9;

/// A device that is subscribed to the room and has heard up to seq 4.
fn subscribed() -> Device {
    let client = Client::new("http://127.0.0.1:1").unwrap();
    let shared = Shared::new("", client.clone(), ("ours ".to_owned(), false), vec![ME], vec![Some(ROOM)]);
    let who = Identity { name: "device".to_owned(), user: ME, client };
    let plan = PlannedDevice {
        user: 0,
        door: Door::Socket,
        listens: true,
        narrow: false,
        drop_after: 0,
        mood: 1,
        steps: vec![],
    };
    let mut device = Device::new(&shared, who, plan);
    let record = shared.recorder.listener("device", ME, ROOM);
    device.rooms.insert(ROOM, Position { record, start: 1, last: Some(4) });
    device.live.insert(ROOM);
    device
}

fn event(room_id: u64, id: u64, seq: u64, kind: &str, data: Value) -> Event {
    let json = json!({"type": kind, "id": id, "seq": seq, "room_id": room_id, "at": "t", "data": data});
    Event::try_from(json).unwrap()
}

fn removed(id: u64) -> Event {
    event(ROOM, id, 5, "member.removed", json!({"user_id": ME, "removed_by": 1}))
}

fn granted(id: u64) -> Event {
    event(INBOX, id, 1, "membership.granted", json!({"room": {"id": ROOM, "name": "ours 1"}}))
}

#[test]
fn a_removal_that_is_replayed_ends_nothing() {
    let mut device = subscribed();
    device.hear_event(removed(20), false);
    assert!(device.reached([(ROOM, 5)].into_iter()));
    device.hear_event(removed(20), true);
    let late = Late { room_id: ROOM, heard: Some(5), head: 5, live: false };
    assert_eq!(device.late([(ROOM, 5)].into_iter()), vec![late]);
}

#[test]
fn a_removal_from_before_one_came_again_ends_nothing() {
    let mut device = subscribed();
    device.hear_event(granted(30), true);
    device.hear_event(removed(20), true);
    assert!(device.wanted.contains(&ROOM), "it is to be subscribed to anew");
    device.hear_event(removed(40), true);
    assert!(!device.wanted.contains(&ROOM));
}

#[test]
fn what_is_still_wanted_is_not_reached() {
    let mut device = subscribed();
    device.wanted.insert(INBOX);
    assert!(!device.reached([(ROOM, 4)].into_iter()));
    let late = Late { room_id: INBOX, heard: None, head: 0, live: false };
    assert_eq!(device.late([(ROOM, 4)].into_iter()), vec![late]);
}

//! Lies about who is in, who types, who is here, what is unread, and what is gone.

use std::collections::HashSet;

use serde_json::json;

use super::*;
use crate::history::{Deed, Ending, Late, Reading, What};

/// A run in a closed room of Ann and Bob, that Bob is removed from at 5 and added to again at 7.
fn closed() -> (History, StoreView) {
    let (mut history, mut store) = good();
    history.feeds.clear();
    history.rooms.insert(ROOM, Origin { closed: true, members: HashSet::from([ANN, BOB]) });
    let room = &mut store.rooms[0];
    room.events.push(other(20, 5, "member.removed", json!({"user_id": BOB, "removed_by": ANN})));
    room.events.push(event(21, 6, "m4"));
    room.events.push(other(22, 7, "member.added", json!({"user": {"id": BOB}, "added_by": ANN})));
    room.messages.push(message(21, 6, 4));
    room.head = 7;
    history.posts.extend([post(4, 40, Some((21, 6)))]);
    for what in [What::Remove { room_id: ROOM, user: BOB }, What::Add { room_id: ROOM, user: BOB }] {
        let sent_at = Duration::from_millis(30);
        history.deeds.push(Deed { by: ANN, what, sent_at, attempts: 1, refusals: vec![], done: None });
    }
    history.listeners[0].heard.push(Heard::Event(room.events[4].clone()));
    history.listeners[0].heard.push(Heard::Lost);
    (history, store)
}

fn rejoin(history: &mut History, store: &StoreView, head: u64, events: std::ops::Range<usize>) {
    history.listeners[0].heard.push(Heard::From { after: 5, head });
    let events = store.rooms[0].events[events].iter().cloned();
    history.listeners[0].heard.extend(events.map(Heard::Event));
}

#[test]
fn who_is_in_again_may_read_what_was_said_meanwhile() {
    let (mut history, store) = closed();
    rejoin(&mut history, &store, 7, 5..7);
    assert_eq!(check(&history, &store, &PROMISES), vec![]);
}

#[test]
fn what_is_heard_while_one_is_out_is_found() {
    let (mut history, store) = closed();
    rejoin(&mut history, &store, 5, 5..7);
    finds!(check(&history, &store, &PROMISES), Violation::HeardOutside { seq: 6, .. });
    let (mut history, store) = closed();
    rejoin(&mut history, &store, 7, 5..7);
    let events = vec![store.rooms[0].events[1].clone()];
    let (gaps, name) = (vec![], "bot".into());
    history.feeds.push(Feed { name, after: 10, events, gaps, until_head: false });
    finds!(check(&history, &store, &PROMISES), Violation::HeardOutside { seq: 2, .. });
}

#[test]
fn who_never_saw_a_room_of_theirs_is_found() {
    let ending = Ending { device: "bob".into(), user: BOB, missing: vec![ROOM], ..Ending::default() };
    finds!(after(|history, _| history.endings.push(ending)), Violation::NeverSaw { room_id: ROOM, .. });
}

/// A device ends as told.
fn ends(history: &mut History, ending: Ending) {
    history.expected.push(ending.device.clone());
    history.endings.push(ending);
}

#[test]
fn who_never_catches_up_is_found() {
    let with = |late: Vec<Late>| {
        let ending = Ending { device: "bob".into(), user: BOB, late, ..Ending::default() };
        after(|history, _| ends(history, ending))
    };
    assert_eq!(with(vec![]), vec![]);
    let late = |heard, live| Late { room_id: ROOM, heard, head: 4, live };
    finds!(
        with(vec![late(Some(3), true)]),
        Violation::NeverCaughtUp { heard: Some(3), head: 4, live: true, .. }
    );
    // To have heard all so far is not enough: what comes next would be missed.
    finds!(with(vec![late(Some(4), false)]), Violation::NeverCaughtUp { live: false, .. });
    finds!(with(vec![late(None, false)]), Violation::NeverCaughtUp { heard: None, .. });
}

#[test]
fn who_never_comes_to_an_end_is_found() {
    let found = after(|history, _| {
        ends(history, Ending { device: "bob".into(), ..Ending::default() });
        history.expected.push("eve".into());
    });
    assert_eq!(found, vec![Violation::NeverEnded { listener: "eve".into() }]);
}

fn hears(history: &mut History, heard: Heard) {
    history.listeners[0].heard.push(heard);
}

#[test]
fn typing_that_does_not_fit_the_messages_is_found() {
    let types = |user, typing, at_seq| Heard::Typing { user, typing, at_seq };
    assert_eq!(after(|h, _| hears(h, types(ANN, true, 4))), vec![]);
    assert_eq!(after(|h, _| hears(h, types(ANN, false, 2))), vec![], "an end is never too late");
    finds!(after(|h, _| hears(h, types(ANN, true, 3))), Violation::StaleTyping { at_seq: 3, said: 4, .. });
    finds!(after(|h, _| hears(h, types(BOB, true, 4))), Violation::OwnTyping { .. });
    let snapshot = Heard::Snapshot { typing: vec![BOB], present: vec![] };
    finds!(after(|h, _| hears(h, snapshot)), Violation::OwnTyping { .. });
    let ending = Ending { typing: vec![(ROOM, ANN)], ..Ending::default() };
    finds!(after(|h, _| h.endings.push(ending)), Violation::StuckTyping { user: ANN, .. });
}

#[test]
fn presence_that_does_not_fit_is_found() {
    let moved = |joined: &[u64], left: &[u64]| Heard::Moved { joined: joined.into(), left: left.into() };
    let insert = |h: &mut History, at, heard| h.listeners[0].heard.insert(at, heard);
    finds!(
        after(|h, _| insert(h, 2, moved(&[], &[ANN]))),
        Violation::SpokeAfterLeaving { user: ANN, seq: 3, .. }
    );
    let found = after(|h, _| {
        insert(h, 2, moved(&[], &[ANN]));
        insert(h, 3, moved(&[ANN], &[]));
    });
    assert_eq!(found, vec![], "joined again");
    let found = after(|h, _| {
        insert(h, 2, moved(&[], &[ANN]));
        insert(h, 3, Heard::Resync { from: 3 });
    });
    assert_eq!(found, vec![], "a list that could not be kept is void");
    let presence = vec![(ANN, "online".into(), "offline".into())];
    let ending = Ending { presence, ..Ending::default() };
    finds!(after(|h, _| h.endings.push(ending)), Violation::PresenceDiffers { user: ANN, .. });
}

#[test]
fn wrong_numbers_are_found() {
    let reading = |source, read, unread| Reading { source, user: BOB, room_id: ROOM, head: 4, read, unread };
    let with = |readings: Vec<Reading>| after(|history, _| history.readings = readings);
    assert_eq!(with(vec![reading("rest", 2, 2), reading("welcome", 2, 2)]), vec![]);
    finds!(with(vec![reading("rest", 2, 3)]), Violation::Unread { unread: 3, expected: 2, .. });
    finds!(
        with(vec![Reading { head: 5, ..reading("rest", 2, 2) }]),
        Violation::Unread { unread: 2, expected: 2, .. }
    );
    finds!(with(vec![Reading { user: ANN, ..reading("rest", 0, 3) }]), Violation::Unread { expected: 0, .. });
    finds!(
        with(vec![reading("rest", 2, 2), reading("welcome", 3, 1)]),
        Violation::TwoNumbers { one: 2, other: 3, .. }
    );
    let found = after(|history, _| {
        history.readings = vec![reading("rest", 2, 2)];
        let (what, done) = (What::Mark { room_id: ROOM, seq: 3 }, Some((Duration::ZERO, json!({}))));
        let (sent_at, refusals) = (Duration::ZERO, vec![]);
        history.deeds.push(Deed { by: BOB, what, sent_at, attempts: 1, refusals, done });
    });
    finds!(found, Violation::Unmarked { read: 2, marked: 3, .. });
}

#[test]
fn a_deleted_room_has_to_agree_with_itself() {
    let gone = |spoil: &dyn Fn(&mut History)| {
        let (mut history, mut store) = good();
        store.rooms.clear();
        history.feeds.clear();
        spoil(&mut history);
        check(&history, &store, &PROMISES)
    };
    assert_eq!(gone(&|_| {}), vec![]);
    let found = gone(&|history| {
        let mut second = history.listeners[0].clone();
        second.heard[2] = Heard::Event(event(14, 3, "?"));
        history.listeners.push(second);
    });
    finds!(found, Violation::AnotherEvent { seq: 3, .. });
    let found = gone(&|history| history.posts.get_mut(&id(2)).unwrap().acks[0].id = 99);
    finds!(found, Violation::Moved { id: 14, .. });
    let found = gone(&|history| {
        history.listeners[0].heard.insert(3, Heard::Event(other(14, 3, "room.deleted", json!({}))));
        drop(history.listeners[0].heard.remove(2));
    });
    finds!(found, Violation::AfterTheEnd { seq: 4, .. });
}

//! The checker fed with good histories and with one of every kind of lie.

macro_rules! finds {
    ($found:expr, $pattern:pat $(if $guard:expr)?) => {
        let found = $found;
        assert!(found.iter().any(|v| matches!(v, $pattern $(if $guard)?)), "{found:#?}");
    };
}

mod commands;
mod others;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::client::Message;
use crate::history::{Feed, Heard, Listener, Origin, Post};
use crate::wire::{Ack, Event};
use std::time::Duration;

const ROOM: u64 = 12;
/// Who posts everything, and who listens.
const ANN: u64 = 1;
const BOB: u64 = 2;
const PROMISES: Promises = Promises { window: 3, window_bytes: 100_000 };

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn event(id: u64, seq: u64, body: &str) -> Event {
    let post: u128 = body.trim_start_matches('m').parse().unwrap_or_default();
    let data = json!({"author": {"id": ANN}, "body": body, "version": 1, "client_message_id": Uuid::from_u128(post)});
    other(id, seq, "message.posted", data)
}

/// An event of any kind.
fn other(id: u64, seq: u64, kind: &str, data: serde_json::Value) -> Event {
    let json = json!({"type":kind,"id":id,"seq":seq,"room_id":ROOM,"at":"t","data":data});
    Event::try_from(json).unwrap()
}

fn message(id: u64, seq: u64, post: u128) -> Message {
    let client_message_id = Some(Uuid::from_u128(post));
    Message { id, room_id: ROOM, seq, client_message_id, body: format!("m{post}"), version: 1 }
}

fn post(n: u128, at_ms: u64, ack: Option<(u64, u64)>) -> (Uuid, Post) {
    let acks: Vec<Ack> = ack.iter().map(|&(id, seq)| Ack { id, seq, duplicate: false }).collect();
    let post = Post {
        by: ANN,
        room_id: ROOM,
        body: format!("m{n}"),
        sent_at: Duration::from_millis(at_ms),
        unknown: 0,
        acked_at: ack.map(|_| Duration::from_millis(at_ms + 5)),
        acks,
        refusals: vec![],
        denied: None,
        attempts: 1,
    };
    (id(n), post)
}

/// Room 12 with its creation (id 10) and the messages 1, 2, 3 (ids 11, 14, 15), heard and fed to the end.
fn good() -> (History, StoreView) {
    let created =
        Event::try_from(json!({"type":"room.created","id":10,"seq":1,"room_id":ROOM,"data":{"kind":"open"}}))
            .unwrap();
    let posted = vec![event(11, 2, "m1"), event(14, 3, "m2"), event(15, 4, "m3")];
    let mut heard = vec![Heard::From { after: 1, head: 1 }];
    heard.extend(posted.iter().cloned().map(Heard::Event));
    let mut events = vec![created];
    events.extend(posted.clone());
    let messages = vec![message(11, 2, 1), message(14, 3, 2), message(15, 4, 3)];
    let history = History {
        posts: [post(1, 0, Some((11, 2))), post(2, 10, Some((14, 3))), post(3, 20, Some((15, 4)))].into(),
        listeners: vec![Listener { name: "bob".into(), user: BOB, room_id: ROOM, heard, until_head: true }],
        feeds: vec![Feed { name: "bot".into(), after: 10, events: posted, gaps: vec![], until_head: true }],
        rooms: [(ROOM, Origin::default())].into(),
        ..History::default()
    };
    let rooms = vec![RoomView { room_id: ROOM, head: 4, events, messages }];
    (history, StoreView { rooms, searches: vec![] })
}

/// The violations after `spoil` had its way with a good run.
fn after(spoil: impl FnOnce(&mut History, &mut RoomView)) -> Vec<Violation> {
    let (mut history, mut store) = good();
    spoil(&mut history, &mut store.rooms[0]);
    check(&history, &store, &PROMISES)
}

#[test]
fn a_good_run_is_good() {
    assert_eq!(after(|_, _| {}), vec![]);
}

#[test]
fn an_unacked_post_may_be_stored_once_or_not_at_all() {
    assert_eq!(after(|history, _| history.posts.extend([post(9, 0, None)])), vec![]);
    let found = after(|history, _| {
        let post = history.posts.get_mut(&id(3)).unwrap();
        (post.acks, post.acked_at) = (vec![], None);
    });
    assert_eq!(found, vec![]);
}

#[test]
fn loss_is_found() {
    finds!(after(|_, room| drop(room.messages.remove(1))), Violation::Lost { ack: Ack { id: 14, .. }, .. });
    finds!(
        after(|_, room| drop(room.messages.remove(1))),
        Violation::HistoryNotLog { id: 14, what: "not in the history", .. }
    );
}

#[test]
fn a_lost_tail_is_found_even_when_the_store_agrees_with_itself() {
    let found = after(|_, room| {
        room.messages.pop();
        room.events.pop();
        room.head = 3;
    });
    finds!(found.clone(), Violation::Lost { ack: Ack { id: 15, .. }, .. });
    finds!(found, Violation::NotInStore { id: 15, .. });
}

#[test]
fn a_double_is_found() {
    let found = after(|_, room| {
        room.messages.push(message(16, 5, 3));
        room.events.push(event(16, 5, "m3"));
        room.head = 5;
    });
    finds!(found.clone(), Violation::Doubled { ids, .. } if ids == &[15, 16]);
    finds!(found, Violation::Behind { heard: 4, head: 5, .. });
}

#[test]
fn another_place_than_acked_is_found() {
    finds!(
        after(|history, _| history.posts.get_mut(&id(2)).unwrap().acks[0].seq = 9),
        Violation::Moved { id: 14, seq: 3, .. }
    );
    finds!(
        after(|history, _| {
            let again = Ack { id: 20, seq: 9, duplicate: true };
            history.posts.get_mut(&id(2)).unwrap().acks.push(again);
        }),
        Violation::TwoAnswers { later: Ack { id: 20, .. }, .. }
    );
    finds!(
        after(|history, _| history.posts.get_mut(&id(2)).unwrap().room_id = 13),
        Violation::WrongRoom { sent: 13, stored: ROOM, .. }
    );
}

#[test]
fn a_duplicate_of_nothing_is_found() {
    let repeated = |history: &mut History, attempts, refusals: &[&str], unknown| {
        let post = history.posts.get_mut(&id(2)).unwrap();
        (post.acks[0].duplicate, post.attempts, post.unknown) = (true, attempts, unknown);
        post.refusals = refusals.iter().map(|code| (*code).to_owned()).collect();
    };
    finds!(after(|history, _| repeated(history, 1, &[], 0)), Violation::FalseDuplicate { .. });
    finds!(after(|history, _| repeated(history, 2, &["overloaded"], 0)), Violation::FalseDuplicate { .. });
    assert_eq!(after(|history, _| repeated(history, 2, &[], 1)), vec![]);
    assert_eq!(after(|history, _| repeated(history, 3, &["overloaded"], 1)), vec![]);
}

#[test]
fn a_changed_body_is_found() {
    finds!(after(|_, room| room.messages[1].body = "?".into()), Violation::ChangedBody { .. });
    finds!(
        after(|_, room| room.messages[1].body = "?".into()),
        Violation::HistoryNotLog { what: "of another body in the log", .. }
    );
}

#[test]
fn what_nobody_sent_is_found() {
    finds!(after(|history, _| drop(history.posts.remove(&id(1)))), Violation::FromNowhere { id: 11, .. });
}

#[test]
fn what_was_refused_and_stored_is_found() {
    let found = after(|history, _| {
        let post = history.posts.get_mut(&id(3)).unwrap();
        (post.acks, post.acked_at, post.refusals) = (vec![], None, vec!["rate_limited".into()]);
    });
    finds!(found, Violation::StoredThoughRefused { id: 15, .. });
}

#[test]
fn an_id_below_one_acked_earlier_is_found() {
    let found = after(|history, _| {
        let post = history.posts.get_mut(&id(1)).unwrap();
        (post.sent_at, post.acked_at) = (Duration::from_millis(100), Some(Duration::from_millis(101)));
    });
    finds!(found, Violation::Overtaken { earlier: 15, later: 11 });
}

#[test]
fn a_log_with_a_hole_or_out_of_order_is_found() {
    finds!(after(|_, room| drop(room.events.remove(2))), Violation::SeqGap { expected: 3, found: 4, .. });
    finds!(after(|_, room| room.events[2].id = 11), Violation::IdOrder { seq: 3, id: 11, previous: 11, .. });
    finds!(after(|_, room| room.events[2].id = 11), Violation::IdTwice { id: 11, .. });
    finds!(after(|_, room| room.events[2].room_id = 13), Violation::ForeignInLog { of: 13, .. });
    finds!(after(|_, room| room.head = 7), Violation::Head { head: 7, last: 4, .. });
    finds!(after(|_, room| room.messages.swap(0, 1)), Violation::HistoryOrder { id: 11, previous: 14, .. });
}

fn heard(history: &mut History) -> &mut Vec<Heard> {
    &mut history.listeners[0].heard
}

#[test]
fn a_listener_that_misses_an_event_is_found() {
    finds!(after(|h, _| drop(heard(h).remove(2))), Violation::Missed { expected: 3, found: 4, .. });
    finds!(after(|h, _| drop(heard(h).pop())), Violation::Behind { heard: 3, head: 4, .. });
    finds!(
        after(|h, _| heard(h).insert(2, Heard::From { after: 3, head: 3 })),
        Violation::Missed { expected: 3, found: 4, .. }
    );
}

#[test]
fn a_listener_that_hears_twice_or_out_of_order_is_found() {
    let again = |h: &mut History| {
        let event = heard(h)[2].clone();
        heard(h).push(event);
    };
    finds!(after(|h, _| again(h)), Violation::HeardAgain { expected: 5, found: 3, .. });
    finds!(after(|h, _| heard(h).swap(2, 3)), Violation::HeardAgain { .. });
}

#[test]
fn a_listener_that_resumed_further_back_hears_again_rightly() {
    let found = after(|h, _| {
        let tail = heard(h)[2..].to_vec();
        heard(h).push(Heard::From { after: 2, head: 4 });
        heard(h).extend(tail);
    });
    assert_eq!(found, vec![]);
}

#[test]
fn a_listener_that_hears_something_else_is_found() {
    finds!(
        after(|h, _| heard(h)[2] = Heard::Event(event(14, 3, "?"))),
        Violation::AnotherEvent { seq: 3, .. }
    );
    finds!(
        after(|h, _| heard(h).push(Heard::Event(event(16, 5, "m")))),
        Violation::NotInStore { seq: 5, .. }
    );
    let mut foreign = event(99, 5, "m");
    foreign.room_id = 13;
    finds!(after(|h, _| heard(h).push(Heard::Event(foreign))), Violation::Unasked { of: 13, .. });
    finds!(after(|h, _| drop(heard(h).remove(0))), Violation::Unconfirmed { seq: 2, .. });
}

#[test]
fn a_gap_is_only_what_does_not_fit_the_window() {
    let gap = |reason: &str, after, head, reply| Heard::Gap { reason: reason.into(), after, head, reply };
    let with = |gap: Heard| after(|h, _| heard(h).insert(1, gap));
    assert_eq!(with(gap("window_exceeded", 0, 4, 100)), vec![]);
    assert_eq!(with(gap("window_exceeded", 1, 4, 90_000)), vec![], "the reply was full of others");
    finds!(with(gap("window_exceeded", 1, 4, 100)), Violation::FalseGap { .. });
    finds!(with(gap("ahead_of_head", 0, 4, 100)), Violation::FalseGap { .. });
    finds!(with(gap("epoch_changed", 0, 4, 100)), Violation::FalseGap { .. });
}

#[test]
fn a_recovery_that_is_not_all_of_it_is_found() {
    let snapshot = || Heard::Snapshot { typing: vec![], present: vec![] };
    let recovered = |h: &mut History, events: usize| {
        let tail = heard(h)[2..2 + events].to_vec();
        heard(h).push(Heard::From { after: 2, head: 4 });
        heard(h).extend(tail);
        heard(h).push(snapshot());
    };
    assert_eq!(after(|h, _| recovered(h, 2)), vec![]);
    finds!(after(|h, _| recovered(h, 1)), Violation::Incomplete { reached: 3, head: 4, .. });
    finds!(after(|h, _| recovered(h, 0)), Violation::Incomplete { reached: 2, head: 4, .. });
}

#[test]
fn a_resync_names_the_first_event_that_was_not_sent() {
    let resync = |h: &mut History, from| heard(h).push(Heard::Resync { from });
    assert_eq!(after(|h, _| resync(h, 5)), vec![]);
    finds!(after(|h, _| resync(h, 7)), Violation::Missed { expected: 5, found: 7, .. });
}

#[test]
fn a_feed_that_is_not_everything_once_in_order_is_found() {
    finds!(after(|h, _| drop(h.feeds[0].events.remove(1))), Violation::FeedMissed { id: 14, .. });
    finds!(after(|h, _| drop(h.feeds[0].events.pop())), Violation::FeedMissed { id: 15, .. });
    finds!(after(|h, _| h.feeds[0].events.swap(0, 1)), Violation::FeedOrder { id: 11, previous: 14, .. });
    finds!(after(|h, _| h.feeds[0].gaps.push("ahead_of_head".into())), Violation::FeedGap { .. });
    let left_early = |h: &mut History| {
        h.feeds[0].until_head = false;
        h.feeds[0].events.pop();
    };
    assert_eq!(after(|h, _| left_early(h)), vec![]);
}

#[test]
fn violations_read_well() {
    let (mut history, store) = good();
    history.posts.get_mut(&id(2)).unwrap().body = "other".into();
    let text = check(&history, &store, &PROMISES)[0].to_string();
    assert!(
        text.starts_with("changed body: 00000000-0000-0000-0000-000000000002 was sent as \"other\""),
        "{text}"
    );
}

//! Lies about edits, deletions, memberships, rooms and repeats.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::*;
use crate::history::{Deed, What};

/// A command that was sent at 100 ms and, with data, done 5 ms later.
fn deed(what: What, done: Option<Value>) -> Deed {
    let sent_at = Duration::from_millis(100);
    let done = done.map(|data| (Duration::from_millis(105), data));
    Deed { by: ANN, what, sent_at, attempts: 1, refusals: vec![], done }
}

fn edit(version: u64, body: &str, done: Option<Value>) -> Deed {
    deed(What::Edit { room_id: ROOM, message: 14, version, body: body.into() }, done)
}

fn edited(id: u64, seq: u64, version: u64, body: &str) -> Event {
    other(
        id,
        seq,
        "message.edited",
        json!({"message_id": 14, "body": body, "version": version, "editor_id": ANN}),
    )
}

/// Appends to the log, and to what was heard.
fn happens(history: &mut History, room: &mut RoomView, event: Event) {
    room.head = event.seq;
    history.listeners[0].heard.push(Heard::Event(event.clone()));
    history.feeds[0].events.push(event.clone());
    room.events.push(event);
}

/// Message 14 goes to version 2.
fn one_edit(history: &mut History, room: &mut RoomView) {
    happens(history, room, edited(20, 5, 2, "new"));
    (room.messages[1].body, room.messages[1].version) = ("new".into(), 2);
    history.deeds.push(edit(1, "new", Some(json!({"id": 20, "seq": 5, "version": 2}))));
}

#[test]
fn an_edit_is_good() {
    assert_eq!(after(one_edit), vec![]);
}

#[test]
fn an_edit_that_did_not_stay_is_found() {
    let found = after(|history, room| {
        one_edit(history, room);
        room.messages[1].body = "m2".into();
    });
    finds!(found, Violation::HistoryNotLog { id: 14, what: "of another body in the log", .. });
    let found = after(|history, room| {
        one_edit(history, room);
        room.messages[1].version = 1;
    });
    finds!(found, Violation::HistoryNotLog { id: 14, what: "of another version in the log", .. });
    let found = after(|history, _| {
        history.deeds.push(edit(1, "new", Some(json!({"id": 20, "seq": 5, "version": 2}))));
    });
    finds!(found, Violation::DeedLost { id: 20, seq: 5, .. });
    let by_rest = after(|history, _| history.deeds.push(edit(1, "new", Some(json!({"version": 2})))));
    finds!(by_rest, Violation::DeedLost { .. });
}

#[test]
fn an_edit_that_was_done_by_a_refused_attempt_is_found() {
    let repeated = |attempts| {
        after(|history, room| {
            one_edit(history, room);
            let deed = &mut history.deeds[0];
            let data = json!({"id": 20, "seq": 5, "version": 2, "duplicate": true});
            (deed.done, deed.attempts) = (Some((Duration::from_millis(105), data)), attempts);
            deed.refusals.push("overloaded".into());
        })
    };
    finds!(repeated(2), Violation::DoneThoughRefused { .. });
    assert_eq!(repeated(3), vec![], "another attempt was lost");
}

#[test]
fn a_lost_update_is_found() {
    let found = after(|history, room| {
        one_edit(history, room);
        history.deeds.push(edit(1, "other", Some(json!({"version": 2}))));
    });
    finds!(found, Violation::LostUpdate { message: 14, version: 1, .. });
}

#[test]
fn a_hole_in_the_versions_is_found() {
    let found = after(|history, room| {
        one_edit(history, room);
        happens(history, room, edited(21, 6, 4, "newer"));
    });
    finds!(found, Violation::VersionGap { message: 14, expected: 3, found: 4, .. });
}

#[test]
fn an_edit_of_what_is_not_there_is_found() {
    let found = after(|history, room| {
        happens(history, room, other(20, 5, "message.deleted", json!({"message_id": 14})));
        happens(history, room, edited(21, 6, 2, "new"));
    });
    finds!(found, Violation::EditOfNothing { message: 14, seq: 6, .. });
    let found = after(|history, room| {
        happens(history, room, other(20, 5, "message.edited", json!({"message_id": 99, "version": 2})));
    });
    finds!(found, Violation::EditOfNothing { message: 99, .. });
}

#[test]
fn what_nobody_asked_for_or_all_were_refused_is_found() {
    let found = after(|history, room| happens(history, room, edited(20, 5, 2, "new")));
    finds!(found, Violation::Unwanted { id: 20, .. });
    let refused = |history: &mut History, room: &mut RoomView, attempts| {
        one_edit(history, room);
        let deed = &mut history.deeds[0];
        (deed.done, deed.attempts) = (None, attempts);
        deed.refusals.push("version_conflict".into());
    };
    finds!(after(|h, room| refused(h, room, 1)), Violation::Unwanted { id: 20, .. });
    assert_eq!(after(|h, room| refused(h, room, 2)), vec![], "the first attempt may have done it");
    // Over REST an edit that was committed could be answered with what became of its author since.
    let refusals = |codes: &[&str], attempts| {
        after(|history, room| {
            one_edit(history, room);
            let deed = &mut history.deeds[0];
            (deed.done, deed.attempts) = (None, attempts);
            deed.refusals = codes.iter().map(|code| (*code).to_owned()).collect();
        })
    };
    finds!(refusals(&["rate_limited", "not_found"], 2), Violation::Unwanted { id: 20, .. });
    let lost_first = refusals(&["not_found"], 2);
    assert!(!lost_first.iter().any(|v| matches!(v, Violation::Unwanted { .. })), "{lost_first:#?}");
    for (kind, data) in [
        ("message.deleted", json!({"message_id": 14})),
        ("member.added", json!({"user": {"id": BOB}})),
        ("member.removed", json!({"user_id": BOB})),
        ("room.updated", json!({"name": "x"})),
    ] {
        let found = after(|history, room| happens(history, room, other(20, 5, kind, data)));
        finds!(found, Violation::Unwanted { id: 20, .. });
    }
}

/// Message 14 is deleted.
fn one_deletion(history: &mut History, room: &mut RoomView) {
    happens(history, room, other(20, 5, "message.deleted", json!({"message_id": 14, "deleted_by": ANN})));
    room.messages.remove(1);
    let what = What::Delete { room_id: ROOM, message: 14 };
    history.deeds.push(deed(what, Some(json!({"id": 20, "seq": 5, "message_id": 14}))));
}

#[test]
fn a_deletion_is_good_and_stays() {
    assert_eq!(after(one_deletion), vec![]);
    let found = after(|history, room| {
        one_deletion(history, room);
        room.messages.insert(1, message(14, 3, 2));
    });
    finds!(found.clone(), Violation::NotDeleted { id: 14 });
    finds!(found, Violation::HistoryNotLog { id: 14, what: "deleted in the log", .. });
    let found = after(|history, room| {
        one_deletion(history, room);
        happens(history, room, other(21, 6, "message.deleted", json!({"message_id": 14})));
    });
    finds!(found, Violation::DeletedTwice { message: 14, .. });
    let found = after(|history, _| {
        let what = What::Delete { room_id: ROOM, message: 14 };
        history.deeds.push(deed(what, Some(Value::Null)));
    });
    finds!(found, Violation::NotDeleted { id: 14 });
}

#[test]
fn a_search_that_is_behind_is_found() {
    let (history, mut store) = good();
    let search = |deleted, found| Search { message: 14, word: "w".into(), deleted, found };
    store.searches = vec![search(false, vec![14]), search(true, vec![11])];
    assert_eq!(check(&history, &store, &PROMISES), vec![]);
    store.searches = vec![search(true, vec![14])];
    finds!(check(&history, &store, &PROMISES), Violation::FoundThoughDeleted { id: 14, .. });
    store.searches = vec![search(false, vec![11])];
    finds!(check(&history, &store, &PROMISES), Violation::NotFound { id: 14, .. });
}

#[test]
fn another_body_under_a_used_id_is_a_conflict() {
    let reuse = |done, refusal: &str| {
        let mut deed = deed(What::Reuse { post: id(2), room_id: ROOM }, done);
        deed.refusals = vec![refusal.to_owned()];
        deed
    };
    assert_eq!(after(|h, _| h.deeds.push(reuse(None, "idempotency_conflict"))), vec![]);
    finds!(
        after(|h, _| h.deeds.push(reuse(Some(json!({"id": 14, "seq": 3, "duplicate": true})), "overloaded"))),
        Violation::ConflictMissed { .. }
    );
    finds!(after(|h, _| h.deeds.push(reuse(None, "not_found"))), Violation::Denied { .. });
    let found = after(|history, _| {
        history.posts.get_mut(&id(2)).unwrap().denied = Some("idempotency_conflict".into());
    });
    finds!(found, Violation::Denied { .. });
}

#[test]
fn a_repeat_that_is_not_called_one_is_found() {
    let again = |history: &mut History, duplicate| {
        let post = history.posts.get_mut(&id(2)).unwrap();
        post.acks.push(Ack { id: 14, seq: 3, duplicate });
        post.attempts = 2;
    };
    assert_eq!(after(|history, _| again(history, true)), vec![]);
    finds!(after(|history, _| again(history, false)), Violation::NoDuplicate { .. });
}

#[test]
fn a_refusal_without_a_reason_is_found() {
    let refused = |what: What, code: &str| {
        let mut deed = deed(what, None);
        deed.refusals = vec![code.to_owned()];
        after(|history, _| history.deeds.push(deed))
    };
    let edit = || What::Edit { room_id: ROOM, message: 14, version: 1, body: "x".into() };
    finds!(refused(edit(), "not_found"), Violation::Denied { .. });
    finds!(refused(edit(), "forbidden"), Violation::Denied { .. });
    finds!(refused(What::Mark { room_id: ROOM, seq: 2 }, "invalid_payload"), Violation::Denied { .. });
    assert_eq!(refused(edit(), "version_conflict"), vec![]);
    assert_eq!(refused(What::Rename { room_id: ROOM, name: "x".into() }, "forbidden"), vec![]);
    assert_eq!(refused(What::Mark { room_id: 99, seq: 2 }, "not_found"), vec![], "the room was deleted");
    let denied = |room: &mut Origin, history: &mut History| {
        history.posts.extend([post(9, 0, None)]);
        history.posts.get_mut(&id(9)).unwrap().denied = Some("not_found".into());
        history.rooms.insert(ROOM, room.clone());
    };
    finds!(after(|h, _| denied(&mut Origin::default(), h)), Violation::Denied { .. });
    let mut inside = Origin { closed: true, members: HashSet::from([ANN, BOB]) };
    let without_feed = |h: &mut History| h.feeds.clear();
    finds!(
        after(|h, _| {
            denied(&mut inside, h);
            without_feed(h);
        }),
        Violation::Denied { .. }
    );
    inside.members.remove(&ANN);
    let found = after(|h, _| {
        denied(&mut inside, h);
        without_feed(h);
    });
    assert_eq!(found, vec![]);
}

#[test]
fn the_order_of_commands_is_that_of_posts() {
    let found = after(|history, room| {
        one_edit(history, room);
        history.deeds[0].sent_at = Duration::ZERO;
        history.deeds[0].done = Some((Duration::from_millis(1), json!({"id": 20, "seq": 5, "version": 2})));
    });
    finds!(found, Violation::Overtaken { earlier: 20, later: 14 });
}

//! Idempotency keys in the store: with what they made or not at all, known for a time, cleared away a few at a time.

use super::bench::{Bench, NOW, accepted, by, code, name, refused};
use super::contracts;
use hearth::domain::{
    Ack, Command, IdempotencyKey, NewRoomKind, Principal, RejectionCode, Timestamp, UserId,
};
use hearth::storage::{BotKeyState, NextKey, Rotation, Verdict, Write};
use std::time::Duration;

contracts!(
    a_batch_makes_one_of_equal_requests,
    a_key_stands_or_falls_with_its_transaction,
    an_answer_expires_then_the_key_is_forgotten,
    what_is_over_goes_in_small_batches,
    a_rotation_waits_for_its_key,
);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(text: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey::parse("key", text).expect("a key"))
}

fn room(kind: NewRoomKind, title: &str, members: &[UserId], key: Option<IdempotencyKey>) -> Command {
    let name = (kind != NewRoomKind::Direct).then(|| name(title));
    Command::CreateRoom { kind, name, members: members.to_vec(), key }
}

fn open(title: &str, key_text: &str) -> Command {
    room(NewRoomKind::Open, title, &[], key(key_text))
}

async fn at(bench: &Bench, now: Timestamp, write: Write) -> Verdict {
    let outcome = bench.store.submit(vec![write], now).unwrap().await.unwrap();
    outcome.into_iter().next().unwrap().unwrap()
}

/// Within one transaction the second sees what the first did. The order and repetition of members make no other request.
///
/// Proves OPT-07.
async fn a_batch_makes_one_of_equal_requests(bench: Bench) {
    let home = bench.home().await;
    let (ann, other) = (&home.admin, bench.person("other", hearth::domain::Role::Member).await);
    let closed = |members: &[UserId]| by(ann, room(NewRoomKind::Closed, "Den", members, key("k")));
    let rooms = "SELECT count(*) FROM rooms";
    let before = bench.count(rooms);
    let mut outcome = bench
        .batch(vec![
            closed(&[other.id, ann.id]),
            closed(&[ann.id, other.id, other.id]),
            by(ann, room(NewRoomKind::Closed, "Den", &[ann.id], key("k"))),
            by(ann, room(NewRoomKind::Open, "Den", &[], key("k"))),
            by(&other, room(NewRoomKind::Closed, "Den", &[], key("k"))),
        ])
        .await;
    assert!(matches!(accepted(outcome.pop().unwrap()).0, Ack::RoomCreated { duplicate: false, .. }));
    for _ in 0..2 {
        assert_eq!(code(&outcome.pop().unwrap()), Some(RejectionCode::IdempotencyConflict));
    }
    let (repeat, events) = accepted(outcome.pop().unwrap());
    let (first, _) = accepted(outcome.pop().unwrap());
    assert_eq!((repeat, events.len()), (Ack::Replayed(Box::new(first)), 0));
    assert_eq!(bench.count(rooms), before + 2);
}

/// What is refused uses up no key; neither does what is rolled back.
///
/// Proves OPT-06.
async fn a_key_stands_or_falls_with_its_transaction(bench: Bench) {
    let home = bench.home().await;
    let ann = &home.admin;
    let keys = "SELECT count(*) FROM idempotency_keys";
    let wrong = room(NewRoomKind::Closed, "Den", &[UserId::new(999_999)], key("k"));
    assert_eq!(bench.refuses(ann, wrong).await.code, RejectionCode::InvalidPayload);
    assert_eq!(bench.count(keys), 0);
    bench.does(ann, open("Den", "k")).await;
    assert_eq!(bench.count(keys), 1);
    // The key can't be written down: the room isn't made, either, and its neighbours in the batch are.
    bench.sql("ALTER TABLE idempotency_keys RENAME COLUMN route TO road").unwrap();
    let rooms = bench.count("SELECT count(*) FROM rooms");
    let outcome = bench
        .batch(vec![by(ann, open("Lost", "l")), by(ann, room(NewRoomKind::Open, "Kept", &[], None))])
        .await;
    assert!(outcome[0].is_err(), "{:?}", outcome[0]);
    assert!(outcome[1].is_ok(), "{:?}", outcome[1]);
    assert_eq!((bench.count("SELECT count(*) FROM rooms"), bench.count(keys)), (rooms + 1, 1));
    bench.sql("ALTER TABLE idempotency_keys RENAME COLUMN road TO route").unwrap();
    bench.does(ann, open("Lost", "l")).await;
}

/// Proves OPT-09.
async fn an_answer_expires_then_the_key_is_forgotten(bench: Bench) {
    let home = bench.home().await;
    let ann = &home.admin;
    let (first, _) = bench.does(ann, open("Den", "k")).await;
    let asked = |title: &'static str| by(ann, open(title, "k"));
    let millisecond = Duration::from_millis(1);
    let (expiry, end) = (NOW.after(DAY), NOW.after(DAY * 8));
    let Verdict::Accepted { ack, .. } = at(&bench, expiry.before(millisecond), asked("Den")).await else {
        panic!()
    };
    assert_eq!(ack, Ack::Replayed(Box::new(first.clone())));
    for now in [expiry, end.before(millisecond)] {
        for swept in [false, true] {
            if swept {
                bench.store.sweep_idempotency_keys(now, 10).await.unwrap();
            }
            let verdict = at(&bench, now, asked("Den")).await;
            assert_eq!(refused(Ok(verdict)).code, RejectionCode::IdempotencyExpired, "{now}, swept: {swept}");
            let verdict = at(&bench, now, asked("Other")).await;
            assert_eq!(refused(Ok(verdict)).code, RejectionCode::IdempotencyConflict);
        }
    }
    // Cleared away or not, its time is over.
    let Verdict::Accepted { ack, .. } = at(&bench, end, asked("Den")).await else { panic!() };
    let (Ack::RoomCreated { room: second, duplicate: false }, Ack::RoomCreated { room: first, .. }) =
        (ack, first)
    else {
        panic!("it is not made anew")
    };
    assert_ne!(first.id, second.id);
    let Verdict::Accepted { ack, .. } = at(&bench, end, asked("Den")).await else { panic!() };
    assert!(matches!(ack, Ack::Replayed(_)));
}

/// Proves OPT-09.
async fn what_is_over_goes_in_small_batches(bench: Bench) {
    let home = bench.home().await;
    for number in 0..7 {
        bench.does(&home.admin, open("Den", &format!("k{number}"))).await;
    }
    let answers = "SELECT count(*) FROM idempotency_keys WHERE response IS NOT NULL";
    let keys = "SELECT count(*) FROM idempotency_keys";
    let sweep = |now, batch| bench.store.sweep_idempotency_keys(now, batch);
    assert_eq!(sweep(NOW.after(DAY / 2), 100).await, Ok(0));
    assert_eq!(bench.count(answers), 7);
    for (swept, left) in [(3, 4), (3, 1), (1, 0), (0, 0)] {
        assert_eq!(sweep(NOW.after(DAY), 3).await, Ok(swept));
        assert_eq!((bench.count(answers), bench.count(keys)), (left, 7));
    }
    for (swept, left) in [(5, 2), (2, 0), (0, 0)] {
        assert_eq!(sweep(NOW.after(DAY * 8), 5).await, Ok(swept));
        assert_eq!(bench.count(keys), left);
    }
}

/// Proves OPT-06.
async fn a_rotation_waits_for_its_key(bench: Bench) {
    let home = bench.home().await;
    let by = Principal::of_system(home.admin.clone());
    let robot = super::people::bot(&home.admin, 1);
    let robot = bench.enrolled(robot).await;
    let rotate = |hash, now| {
        let next = NextKey { key: key("k"), ..super::people::next(hash) };
        bench.store.rotate_bot_key(by.clone(), robot.id, next, now)
    };
    let (one, two) = tokio::join!(rotate(2, NOW), rotate(3, NOW));
    assert!(matches!((one.unwrap(), two.unwrap()), (Rotation::Done { .. }, Rotation::Repeated)));
    assert_eq!(super::people::keys(&bench, robot.id).await.last(), Some(&([2; 32], BotKeyState::Living)));
    let Rotation::Refused(rejection) = rotate(4, NOW.after(DAY)).await.unwrap() else { panic!() };
    assert_eq!(rejection.code, RejectionCode::IdempotencyExpired);
    let next = NextKey { key: key("k"), ..super::people::next(5) };
    let other = bench.store.rotate_bot_key(by.clone(), home.admin.id, next, NOW).await.unwrap();
    assert!(
        matches!(other, Rotation::Refused(rejection) if rejection.code == RejectionCode::IdempotencyConflict)
    );
}

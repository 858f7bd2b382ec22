//! What a crowd is told from memory is never newer in one part than in another, and never without a bound.

use super::*;
use crate::domain::{Ack, Recorded, RoomCard, RoomKind};
use std::sync::atomic::AtomicBool;
use std::thread;

fn ann() -> Person {
    Person { id: UserId::new(1), name: "Ann".into(), role: Role::Member }
}

fn view(room: i64, kind: RoomKind, head: i64) -> RoomView {
    let at = Timestamp::from_millis(0);
    let card = RoomCard {
        id: RoomId::new(room),
        kind,
        name: None,
        created_by: None,
        created_at: at,
        members: Vec::new(),
    };
    RoomView { card, head: Seq::new(head), read: Seq::default(), unread: 0 }
}

fn happened(room: i64, seq: i64, body: EventBody) -> Recorded {
    let (id, at) = (EventId::new(seq), Timestamp::from_millis(0));
    let event = Event { id, room: RoomId::new(room), seq: Seq::new(seq), at, actor: None, body };
    Recorded { event, payload: "{}".into() }
}

fn deleted(room: i64, seq: i64) -> Recorded {
    let body = EventBody::MessageDeleted { message: crate::domain::MessageId::new(1), deleted_by: ann().id };
    happened(room, seq, body)
}

fn outcome(events: Vec<Recorded>) -> BatchOutcome {
    vec![Ok(Verdict::Accepted { ack: Ack::Unchanged, events })]
}

fn moved(known: Known) -> Option<Vec<i64>> {
    match known {
        Known::Nothing => None,
        Known::But(_, moved) => Some(moved.iter().map(|room| room.get()).collect()),
    }
}

/// Whoever goes on from the head of the commons hears of rooms that were made after it: it may not be newer than the list.
#[test]
fn the_heads_of_inbox_and_commons_are_as_old_as_the_list() {
    for system in [RoomKind::Inbox, RoomKind::Commons] {
        let cache = Cache::new(true);
        let rooms = [view(1, system, 1), view(2, RoomKind::Open, 1)];
        cache.keep_standing(&ann(), cache.rooms(), rooms.into());
        assert_eq!(moved(cache.standing(&ann())), Some(vec![]));
        cache.committed(&outcome(vec![deleted(2, 2)]));
        assert_eq!(moved(cache.standing(&ann())), Some(vec![2]), "only what moved is read");
        cache.committed(&outcome(vec![happened(1, 2, EventBody::AccountUpdated { name: "Acme".into() })]));
        assert_eq!(moved(cache.standing(&ann())), None, "all is read at one moment");
    }
}

#[test]
fn letting_the_heads_go_never_looks_as_if_nothing_had_happened() {
    let cache = Cache { most_heads: 64, ..Cache::new(true) };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert_ne!(moved(cache.standing(&ann())), Some(vec![]), "the message is forgotten");
            }
        });
        for _ in 0..5_000 {
            if reader.is_finished() {
                break;
            }
            cache.committed(&outcome(vec![deleted(1, 2)]));
            cache.keep_standing(&ann(), cache.rooms(), [view(1, RoomKind::Open, 1)].into());
            cache.committed(&outcome((2..=65).map(|room| deleted(room, 1)).collect()));
            assert_eq!(moved(cache.standing(&ann())), None, "they were let go");
        }
        done.store(true, Ordering::Release);
        reader.join().expect("it never was");
    });
}

#[test]
fn readers_of_many_rooms_are_let_go_before_they_are_too_much() {
    let cache = Cache::new(true);
    let rooms: Arc<[RoomView]> = (1..=1_000).map(|room| view(room, RoomKind::Open, 1)).collect();
    let kept = || cache.standings.iter().map(|kept| kept.value.rooms.len()).sum::<usize>();
    for user in (1..=600).chain(1..=100) {
        let person = Person { id: UserId::new(user), ..ann() };
        cache.keep_standing(&person, cache.rooms(), Arc::clone(&rooms));
        assert!(moved(cache.standing(&person)).is_some(), "the last one is there");
        assert!(kept() <= VIEWS, "{}", kept());
        assert_eq!(cache.views.load(Ordering::Relaxed), kept(), "counted right");
    }
}

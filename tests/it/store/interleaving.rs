//! Any commands in any batches: the store does what the model does, and the log has no hole.

use super::bench::{Bench, by, kinds, name, post, renamed};
use super::model::{GUEST, Message, Model, Op, PEOPLE, Room};
use hearth::domain::{
    Ack, Command, EventId, MessageBody, MessageId, NewRoomKind, Person, Role, RoomId, RoomKind, Seq,
};
use hearth::storage::{HistoryPage, RoomFilter, Verdict, Write};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Proves CONN-05, DB-06, PRES-06.
#[test]
fn sqlite() {
    check(24, Bench::on_sqlite);
}

/// Proves CONN-05, DB-06, PRES-06.
#[test]
fn postgres() {
    check(8, Bench::on_postgres);
}

fn check(cases: u32, bench: fn() -> Bench) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let plan = prop::collection::vec(prop::collection::vec(op(), 1..12), 1..15);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = TestRunner::new(config).run(&plan, |plan| {
        runtime.block_on(follow(bench(), &plan));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn op() -> impl Strategy<Value = Op> {
    let (who, any, text) = (0..PEOPLE, 0..1000_usize, 0..3_u8);
    let kind = prop::sample::select(vec![RoomKind::Open, RoomKind::Closed, RoomKind::Direct]);
    let people = prop::collection::vec(0..PEOPLE, 0..PEOPLE);
    prop_oneof![
        8 => (who.clone(), any.clone(), 0..4_u8, text.clone())
            .prop_map(|(who, room, key, text)| Op::Post { who, room, key, text }),
        4 => (who.clone(), any.clone(), 0..3_i32, text.clone())
            .prop_map(|(who, message, behind, text)| Op::Edit { who, message, behind, text }),
        2 => (who.clone(), any.clone()).prop_map(|(who, message)| Op::Delete { who, message }),
        3 => (who.clone(), kind, people).prop_map(|(who, kind, members)| Op::Create { who, kind, members }),
        2 => (who.clone(), any.clone(), text.clone())
            .prop_map(|(who, room, text)| Op::Rename { who, room, text }),
        1 => (who.clone(), any.clone()).prop_map(|(who, room)| Op::DeleteRoom { who, room }),
        3 => (who.clone(), any.clone(), who.clone())
            .prop_map(|(who, room, user)| Op::Add { who, room, user }),
        2 => (who.clone(), any.clone(), who.clone())
            .prop_map(|(who, room, user)| Op::Remove { who, room, user }),
        4 => (who.clone(), any, -1..12_i64).prop_map(|(who, room, seq)| Op::Mark { who, room, seq }),
        1 => (who.clone(), text.clone()).prop_map(|(who, text)| Op::Profile { who, text }),
        1 => (who, text).prop_map(|(who, text)| Op::Account { who, text }),
    ]
}

async fn follow(bench: Bench, plan: &[Vec<Op>]) {
    let admin = bench.home().await.admin;
    let mut people = vec![admin];
    for (who, role) in [("Bob", Role::Member), ("Eve", Role::Member), ("Guy", Role::Guest)] {
        people.push(bench.person(who, role).await);
    }
    let mut model = begin(&bench, &people).await;
    for batch in plan {
        let mut writes = Vec::new();
        let mut expected = Vec::new();
        for op in batch {
            writes.push(write(&model, &people, op));
            let before = model.last_id;
            let outcome = model.run(op);
            expected.push((op, before, outcome, unread_after(&model, op)));
        }
        for (verdict, (op, before, outcome, unread)) in bench.batch(writes).await.into_iter().zip(expected) {
            match (verdict, outcome) {
                (Ok(Verdict::Refused(rejection)), Err(code)) => assert_eq!(rejection.code, code, "{op:?}"),
                (Ok(Verdict::Accepted { ack, events }), Ok(places)) => {
                    let rooms: Vec<_> =
                        events.iter().map(|event| event.event.room.get() as usize - 1).collect();
                    let got: Vec<_> = kinds(&events).into_iter().zip(rooms).collect();
                    assert_eq!(got, places, "{op:?}");
                    let ids: Vec<i64> = events.iter().map(|event| event.event.id.get()).collect();
                    let numbers: Vec<i64> = (before + 1..).take(places.len()).collect();
                    assert_eq!(ids, numbers, "{op:?}");
                    if let Ack::Read { unread: told, .. } = ack {
                        assert_eq!(Some(told), unread, "{op:?}");
                    }
                }
                (verdict, outcome) => panic!("{op:?}: {verdict:?}, not {outcome:?}"),
            }
        }
        for person in &people {
            let filter = RoomFilter { ids: None, system: true };
            let read = bench.store.room_views(person, filter, None, 1_000).await.unwrap();
            assert_eq!(&*bench.store.standing(person, 1_000).await.unwrap(), read, "after {batch:?}");
        }
        assert_eq!(bench.store.answered_head().await.unwrap().last_id.get(), model.last_id);
    }
    let bench = bench.reopened().await;
    compare(&bench, &people, &model).await;
}

/// The model of the account as it stands before the plan.
async fn begin(bench: &Bench, people: &[Person]) -> Model {
    let mut model =
        Model { last_id: bench.store.log_head().await.unwrap().last_id.get(), ..Model::default() };
    while let Some(room) = bench.store.load_room(RoomId::new(model.rooms.len() as i64 + 1)).await.unwrap() {
        let index = |id| people.iter().position(|person| person.id == id);
        model.rooms.push(Room {
            kind: room.kind,
            name: room.name.as_deref().unwrap_or_default().to_owned(),
            creator: room.created_by.and_then(index),
            members: room.members.0.into_iter().filter_map(index).collect(),
            deleted: false,
            head: room.head.get(),
            marks: BTreeMap::new(),
        });
    }
    for (who, person) in people.iter().enumerate() {
        for view in bench.store.room_views(person, RoomFilter::default(), None, 100).await.unwrap() {
            if view.read > Seq::default() {
                model.rooms[view.card.id.get() as usize - 1].marks.insert(who, view.read.get());
            }
        }
    }
    model.commons = bench.store.commons().await.unwrap().unwrap().get() as usize - 1;
    model
}

fn room_id(model: &Model, room: usize) -> RoomId {
    RoomId::new((room % model.rooms.len()) as i64 + 1)
}

fn unread_after(model: &Model, op: &Op) -> Option<i64> {
    match op {
        Op::Mark { who, room, .. } => Some(model.unread(*who, room % model.rooms.len())),
        _ => None,
    }
}

fn words(text: u8) -> MessageBody {
    MessageBody::parse(&format!("walrus{text}")).unwrap()
}

/// The operation as a command, on the state before it.
fn write(model: &Model, people: &[Person], op: &Op) -> Write {
    let message = |index: usize| -> (RoomId, MessageId, i32) {
        match model.messages.get(index % model.messages.len().max(1)) {
            Some(Message { id, room, version, .. }) => (room_id(model, *room), MessageId::new(*id), *version),
            None => (room_id(model, model.rooms.len() - 1), MessageId::new(i64::MAX), 1),
        }
    };
    let (who, command) = match *op {
        Op::Post { who, room, key, text } => {
            (who, post(room_id(model, room), Uuid::from_u128(key.into()), words(text).as_str()))
        }
        Op::Edit { who, message: index, behind, text } => {
            let (room, message, version) = message(index);
            (who, Command::EditMessage { room, message, version: version - behind, body: words(text) })
        }
        Op::Delete { who, message: index } => {
            let (room, message, _) = message(index);
            (who, Command::DeleteMessage { room, message })
        }
        Op::Create { who, kind, ref members } => {
            let (kind, title) = match kind {
                RoomKind::Open => (NewRoomKind::Open, Some(name("new"))),
                RoomKind::Closed => (NewRoomKind::Closed, Some(name("new"))),
                _ => (NewRoomKind::Direct, None),
            };
            let members = if kind == NewRoomKind::Open { &[] } else { members.as_slice() };
            let members = members.iter().map(|member| people[*member].id).collect();
            (who, Command::CreateRoom { kind, name: title, members, key: None })
        }
        Op::Rename { who, room, text } => {
            let name = name(&format!("name {text}"));
            (who, Command::RenameRoom { room: room_id(model, room), name })
        }
        Op::DeleteRoom { who, room } => (who, Command::DeleteRoom { room: room_id(model, room) }),
        Op::Add { who, room, user } => {
            (who, Command::AddMember { room: room_id(model, room), user: people[user].id })
        }
        Op::Remove { who, room, user } => {
            (who, Command::RemoveMember { room: room_id(model, room), user: people[user].id })
        }
        Op::Mark { who, room, seq } => {
            (who, Command::MarkRead { room: room_id(model, room), seq: Seq::new(seq) })
        }
        Op::Profile { who, text } => (who, renamed(&format!("name {text}"))),
        Op::Account { who, text } => {
            let name = Some(name(&format!("name {text}")));
            (who, Command::UpdateAccount { name, settings: None })
        }
    };
    by(&people[who], command)
}

/// Every view of every person, against the model.
async fn compare(bench: &Bench, people: &[Person], model: &Model) {
    let store = &bench.store;
    assert_eq!(store.log_head().await.unwrap().last_id.get(), model.last_id);
    assert_eq!(bench.count("SELECT count(*) FROM events"), model.last_id);
    for (index, room) in model.rooms.iter().enumerate() {
        let id = room_id(model, index);
        let events = store.room_events(id, Seq::new(0), 10_000).await.unwrap();
        let seqs: Vec<i64> = events.iter().map(|event| event.seq.get()).collect();
        assert_eq!(seqs, (1..=room.head).collect::<Vec<_>>());
        assert!(events.is_sorted_by_key(|event| event.id));
        let loaded = store.load_room(id).await.unwrap().unwrap();
        assert_eq!((loaded.head.get(), loaded.deleted), (room.head, room.deleted));
        assert_eq!(loaded.members.0, room.members.iter().map(|member| people[*member].id).collect());
        let page = store.history(id, HistoryPage::Newest, 10_000).await.unwrap();
        let got = page.messages.iter().map(|m| (m.id.get(), m.seq.get(), m.body.clone(), m.version));
        let wanted = model.messages.iter().filter(|message| message.room == index && !message.deleted);
        let wanted: Vec<_> =
            wanted.map(|m| (m.id, m.seq, words(m.text).as_str().to_owned(), m.version)).collect();
        assert_eq!(got.collect::<Vec<_>>(), wanted);
    }
    for (who, person) in people.iter().enumerate() {
        let readable: Vec<usize> = (0..model.rooms.len()).filter(|room| model.reads(who, *room)).collect();
        let filter = RoomFilter { ids: None, system: true };
        let views = store.room_views(person, filter, None, 10_000).await.unwrap();
        let got: Vec<_> =
            views.iter().map(|view| (view.card.id, view.head.get(), view.read.get(), view.unread)).collect();
        let wanted: Vec<_> = readable
            .iter()
            .map(|room| {
                let read = model.rooms[*room].marks.get(&who).copied().unwrap_or(0);
                (room_id(model, *room), model.rooms[*room].head, read, model.unread(who, *room))
            })
            .collect();
        assert_eq!(got, wanted);
        let heard = store.events_for(person, EventId::new(0), 100_000).await.unwrap();
        let count: i64 = readable.iter().map(|room| model.rooms[*room].head).sum();
        assert_eq!(heard.len() as i64, count);
        for text in 0..3 {
            let found = store.search(person, words(text).as_str(), 10_000).await.unwrap();
            let got: Vec<i64> = found.iter().rev().map(|message| message.id.get()).collect();
            let wanted = model.messages.iter().filter(|message| {
                message.text == text && !message.deleted && readable.contains(&message.room)
            });
            assert_eq!(got, wanted.map(|message| message.id).collect::<Vec<_>>());
        }
    }
    assert_eq!(people[GUEST].role, Role::Guest);
}

//! Rooms and who is in them: the events of PROTOCOL.md, and who may read what.

use super::bench::{Bench, NOW, accepted, by, kinds, name, renamed};
use super::contracts;
use hearth::domain::command::Recorded;
use hearth::domain::{
    Ack, Command, EventBody, EventId, NewRoomKind, Person, RejectionCode, Role, RoomId, RoomKind, Seq, UserId,
};
use hearth::storage::{RoomFilter, StoredEvent};

contracts!(
    an_open_room_is_listed_for_all,
    a_closed_room_is_told_to_its_members_only,
    a_direct_room_is_found_again,
    wrong_rooms_are_refused,
    renaming_and_deleting_is_heard_where_it_matters,
    the_new_name_of_a_room_of_many_is_in_no_inbox,
    members_come_and_go,
    deleted_rooms_are_in_no_list,
    guests_see_only_what_they_were_added_to,
    names_and_accounts_change,
    parallel_direct_rooms_are_one,
    who_has_too_many_rooms_has_the_lists_of_them_all_the_same,
);

fn create(kind: NewRoomKind, title: Option<&str>, members: &[UserId]) -> Command {
    Command::CreateRoom { kind, name: title.map(name), members: members.to_vec(), key: None }
}

/// Where each event went: (kind, room).
fn places(events: &[Recorded]) -> Vec<(&'static str, RoomId)> {
    events.iter().map(|recorded| (recorded.event.body.kind(), recorded.event.room)).collect()
}

async fn inbox(bench: &Bench, person: &Person) -> RoomId {
    let filter = RoomFilter { ids: None, system: true };
    let views = bench.store.room_views(person, filter, None, 100).await.unwrap();
    views.iter().find(|view| view.card.kind == RoomKind::Inbox).expect("an inbox").card.id
}

async fn names(bench: &Bench, person: &Person) -> Vec<String> {
    let views = bench.store.room_views(person, RoomFilter::default(), None, 100).await.unwrap();
    let named = views.into_iter().map(|view| match view.card.name {
        Some(name) => name.to_string(),
        None => view.card.members.iter().map(|member| member.name.to_string()).collect::<Vec<_>>().join("+"),
    });
    named.collect()
}

async fn who_has_too_many_rooms_has_the_lists_of_them_all_the_same(bench: Bench) {
    let home = bench.home().await;
    for title in ["One", "Two", "Three"] {
        bench.does(&home.admin, create(NewRoomKind::Open, Some(title), &[])).await;
    }
    // Came last, so that the inbox has the highest id of all.
    let late = bench.person("Late", Role::Member).await;
    for limit in [3, 4, 7] {
        let standing = bench.store.standing(&late, limit).await.unwrap();
        let kinds: Vec<RoomKind> = standing.iter().map(|view| view.card.kind).collect();
        assert_eq!(kinds.len(), limit.min(6), "{kinds:?}");
        for kind in [RoomKind::Inbox, RoomKind::Commons] {
            assert_eq!(kinds.iter().filter(|is| **is == kind).count(), 1, "{kinds:?}");
        }
    }
}

async fn an_open_room_is_listed_for_all(bench: Bench) {
    let home = bench.home().await;
    let commons = bench.store.commons().await.unwrap().unwrap();
    let (ack, events) = bench.does(&home.admin, create(NewRoomKind::Open, Some("Lobby"), &[])).await;
    let Ack::RoomCreated { room, duplicate: false } = ack else { panic!("{ack:?}") };
    assert_eq!(places(&events), [("room.created", room.id), ("room.listed", commons)]);
    assert_eq!(events[0].event.seq, Seq::new(1));
    assert_eq!(room.created_by, Some(home.admin.id));
    assert_eq!(room.created_at, NOW);
    let bob = bench.person("Bob", Role::Member).await;
    assert_eq!(names(&bench, &bob).await, ["General", "Lobby"], "members without a row");
    assert_eq!(bench.store.members(room.id).await.unwrap(), []);
    assert!(bench.store.readable_head(&bob, room.id).await.unwrap().is_some());
}

async fn a_closed_room_is_told_to_its_members_only(bench: Bench) {
    let home = bench.home().await;
    let (bob, eve) = (bench.person("Bob", Role::Member).await, bench.person("Eve", Role::Member).await);
    let (ack, events) =
        bench.does(&home.admin, create(NewRoomKind::Closed, Some("Den"), &[bob.id, bob.id])).await;
    let Ack::RoomCreated { room, .. } = ack else { panic!("{ack:?}") };
    let (ann_inbox, bob_inbox) = (inbox(&bench, &home.admin).await, inbox(&bench, &bob).await);
    assert_eq!(
        places(&events),
        [("room.created", room.id), ("membership.granted", ann_inbox), ("membership.granted", bob_inbox)]
    );
    assert_eq!(names(&bench, &bob).await, ["General", "Den"]);
    assert_eq!(names(&bench, &eve).await, ["General"]);
    assert_eq!(bench.store.readable_head(&eve, room.id).await.unwrap(), None);
    let rejection = bench.refuses(&eve, super::bench::post(room.id, uuid::Uuid::new_v4(), "hi")).await;
    assert_eq!(rejection.code, RejectionCode::NotFound);
    let heard = bench.store.events_for(&eve, EventId::new(0), 1000).await.unwrap();
    assert!(heard.iter().all(|event: &StoredEvent| event.room != room.id && event.room != bob_inbox));
    let loaded = bench.store.load_room(room.id).await.unwrap().unwrap();
    assert_eq!(loaded.members.0, [home.admin.id, bob.id].into());
    assert_eq!(bench.store.members(room.id).await.unwrap(), [home.admin.clone(), bob]);
}

async fn a_direct_room_is_found_again(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let (first, events) = bench.does(&home.admin, create(NewRoomKind::Direct, None, &[bob.id])).await;
    let Ack::RoomCreated { room, duplicate: false } = first else { panic!("{first:?}") };
    assert_eq!(kinds(&events), ["room.created", "membership.granted", "membership.granted"]);
    assert_eq!(room.members, [home.admin.clone(), bob.clone()]);
    let (again, events) = bench.does(&bob, create(NewRoomKind::Direct, None, &[home.admin.id, bob.id])).await;
    assert_eq!(again, Ack::RoomCreated { room: room.clone(), duplicate: true });
    assert!(events.is_empty());
    let (alone, _) = bench.does(&bob, create(NewRoomKind::Direct, None, &[])).await;
    assert!(matches!(&alone, Ack::RoomCreated { room, duplicate: false } if room.members == [bob.clone()]));
    assert_eq!(names(&bench, &bob).await, ["General", "Ann+Bob", "Bob"]);
    let rejection = bench.refuses(&home.admin, Command::RenameRoom { room: room.id, name: name("x") }).await;
    assert_eq!(rejection.code, RejectionCode::Forbidden);
}

async fn wrong_rooms_are_refused(bench: Bench) {
    let home = bench.home().await;
    let bot = Command::CreateRoom {
        kind: NewRoomKind::Open,
        name: Some(name("x")),
        members: Vec::new(),
        key: None,
    };
    let guest = bench.person("Guy", Role::Guest).await;
    assert_eq!(bench.refuses(&guest, bot).await.code, RejectionCode::Forbidden);
    bench.sql("UPDATE users SET status = 'deactivated' WHERE name = 'Guy'").unwrap();
    let many: Vec<UserId> = (1000..1101).map(UserId::new).collect();
    for (command, field) in [
        (create(NewRoomKind::Open, None, &[]), "name"),
        (create(NewRoomKind::Closed, None, &[]), "name"),
        (create(NewRoomKind::Direct, Some("x"), &[]), "name"),
        (create(NewRoomKind::Open, Some("x"), &[home.admin.id]), "members"),
        (create(NewRoomKind::Closed, Some("x"), &[UserId::new(999)]), "members"),
        (create(NewRoomKind::Direct, None, &[guest.id]), "members"),
        (create(NewRoomKind::Closed, Some("x"), &many), "members"),
    ] {
        let rejection = bench.refuses(&home.admin, command).await;
        assert_eq!(rejection.code, RejectionCode::InvalidPayload);
        assert_eq!(rejection.field.as_deref(), Some(field));
    }
    assert_eq!(bench.count("SELECT count(*) FROM rooms"), 4, "commons, General, two inboxes");
    // The actor's status is the store's, whatever the command claims.
    let rejection = bench.refuses(&guest, renamed("x")).await;
    assert_eq!(rejection.code, RejectionCode::TokenRevoked);
    let claimed = Person { role: Role::Admin, ..bench.person("Bob", Role::Member).await };
    let rejection = bench.refuses(&claimed, Command::DeleteRoom { room: home.general }).await;
    assert_eq!(rejection.code, RejectionCode::Forbidden);
}

async fn renaming_and_deleting_is_heard_where_it_matters(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let commons = bench.store.commons().await.unwrap().unwrap();
    let open = bench.creates(&home.admin, NewRoomKind::Open, Some("Lobby"), &[]).await.id;
    let closed = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[bob.id]).await.id;
    let (_, events) = bench.does(&home.admin, Command::RenameRoom { room: open, name: name("Hall") }).await;
    assert_eq!(places(&events), [("room.updated", open), ("room.listed", commons)]);
    assert!(
        matches!(&events[1].event.body, EventBody::RoomListed { room } if room.name.as_deref() == Some("Hall"))
    );
    let (ann_inbox, bob_inbox) = (inbox(&bench, &home.admin).await, inbox(&bench, &bob).await);
    let (_, events) = bench.does(&home.admin, Command::RenameRoom { room: closed, name: name("Lair") }).await;
    let told = [("membership.granted", ann_inbox), ("membership.granted", bob_inbox)];
    assert_eq!(places(&events), [("room.updated", closed), told[0], told[1]]);
    for event in &events[1..] {
        let renamed = matches!(&event.event.body, EventBody::MembershipGranted { room } if room.name.as_deref() == Some("Lair"));
        assert!(renamed, "{event:?}");
    }
    let (ack, events) =
        bench.does(&home.admin, Command::RenameRoom { room: closed, name: name("Lair") }).await;
    assert_eq!((ack, events.len()), (Ack::Unchanged, 0));
    assert_eq!(names(&bench, &bob).await, ["General", "Hall", "Lair"]);
    let rejection = bench.refuses(&bob, Command::DeleteRoom { room: closed }).await;
    assert_eq!(rejection.code, RejectionCode::Forbidden);
    let (_, events) = bench.does(&home.admin, Command::DeleteRoom { room: open }).await;
    assert_eq!(places(&events), [("room.deleted", open), ("room.unlisted", commons)]);
    let (_, events) = bench.does(&home.admin, Command::DeleteRoom { room: closed }).await;
    assert_eq!(
        places(&events),
        [("room.deleted", closed), ("membership.revoked", ann_inbox), ("membership.revoked", bob_inbox)]
    );
    let rejection = bench.refuses(&home.admin, Command::DeleteRoom { room: closed }).await;
    assert_eq!(rejection.code, RejectionCode::NotFound);
}

async fn the_new_name_of_a_room_of_many_is_in_no_inbox(bench: Bench) {
    let home = bench.home().await;
    let room = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[]).await.id;
    let crowd = |first: i64, last: i64| {
        let numbers = format!(
            "WITH RECURSIVE n(id) AS (SELECT {first} UNION ALL SELECT id + 1 FROM n WHERE id < {last}) "
        );
        let users = format!(
            "INSERT INTO users (id, name, role, created_at) {numbers} SELECT 100000 + id, 'P', 'bot', 0 FROM n"
        );
        let inboxes = format!(
            "INSERT INTO rooms (kind, owner_id, created_at) {numbers} SELECT 'inbox', 100000 + id, 0 FROM n"
        );
        let members = format!(
            "INSERT INTO memberships (room_id, user_id, created_at) {numbers} SELECT {room}, 100000 + id, 0 FROM n"
        );
        for statement in [users, inboxes, members] {
            bench.sql(&statement).unwrap();
        }
    };
    crowd(1, 999);
    let (_, events) = bench.does(&home.admin, Command::RenameRoom { room, name: name("Lair") }).await;
    assert_eq!(events.iter().filter(|event| event.event.body.kind() == "membership.granted").count(), 1_000);
    crowd(1_000, 1_000);
    let (_, events) = bench.does(&home.admin, Command::RenameRoom { room, name: name("Hall") }).await;
    assert_eq!(places(&events), [("room.updated", room)]);
    assert_eq!(names(&bench, &home.admin).await, ["General", "Hall"]);
}

async fn members_come_and_go(bench: Bench) {
    let home = bench.home().await;
    let (bob, eve) = (bench.person("Bob", Role::Member).await, bench.person("Eve", Role::Member).await);
    let room = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[]).await.id;
    let add = |user: &Person| Command::AddMember { room, user: user.id };
    let remove = |user: &Person| Command::RemoveMember { room, user: user.id };
    let bob_inbox = inbox(&bench, &bob).await;
    let (_, events) = bench.does(&home.admin, add(&bob)).await;
    assert_eq!(places(&events), [("member.added", room), ("membership.granted", bob_inbox)]);
    assert_eq!(bench.does(&home.admin, add(&bob)).await.0, Ack::Unchanged);
    bench.does(&bob, add(&eve)).await;
    assert_eq!(bench.refuses(&bob, remove(&eve)).await.code, RejectionCode::Forbidden);
    let (_, events) = bench.does(&home.admin, remove(&bob)).await;
    assert_eq!(places(&events), [("member.removed", room), ("membership.revoked", bob_inbox)]);
    assert_eq!(bench.refuses(&bob, add(&bob)).await.code, RejectionCode::NotFound);
    assert_eq!(bench.store.readable_head(&bob, room).await.unwrap(), None);
    assert_eq!(bench.does(&home.admin, remove(&bob)).await.0, Ack::Unchanged);
    bench.does(&eve, remove(&eve)).await;
    let nobody = bench.refuses(&home.admin, Command::AddMember { room, user: UserId::new(999) }).await;
    assert_eq!(nobody.field.as_deref(), Some("user_id"));
    // In and out within one batch.
    let outcome = bench.batch(vec![by(&home.admin, add(&bob)), by(&home.admin, remove(&bob))]).await;
    for verdict in outcome {
        assert!(matches!(accepted(verdict).0, Ack::Recorded(_)));
    }
    assert_eq!(bench.store.members(room).await.unwrap(), [home.admin]);
}

/// Proves DB-21.
async fn deleted_rooms_are_in_no_list(bench: Bench) {
    let home = bench.home().await;
    let room = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[]).await.id;
    let message = bench.posts(&home.admin, room, "walrus").await.id;
    bench.does(&home.admin, Command::DeleteRoom { room }).await;
    let admin = &home.admin;
    assert_eq!(names(&bench, admin).await, ["General"]);
    assert_eq!(bench.store.readable_head(admin, room).await.unwrap(), None);
    assert!(!bench.store.readable_room_ids(admin).await.unwrap().contains(&room));
    assert_eq!(bench.store.search(admin, "walrus", 10).await.unwrap(), []);
    assert_eq!(bench.store.message(message).await.unwrap(), None);
    let heard = bench.store.events_for(admin, EventId::new(0), 1000).await.unwrap();
    assert!(heard.iter().all(|event| event.room != room));
    assert!(bench.store.load_room(room).await.unwrap().unwrap().deleted);
}

async fn guests_see_only_what_they_were_added_to(bench: Bench) {
    let home = bench.home().await;
    let guest = bench.person("Guy", Role::Guest).await;
    let room = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[guest.id]).await.id;
    bench.posts(&home.admin, home.general, "walrus in general").await;
    let message = bench.posts(&guest, room, "walrus in the den").await.id;
    assert_eq!(names(&bench, &guest).await, ["Den"]);
    assert_eq!(bench.store.readable_room_ids(&guest).await.unwrap(), [inbox(&bench, &guest).await, room]);
    let found = bench.store.search(&guest, "walrus", 10).await.unwrap();
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [message]);
}

async fn names_and_accounts_change(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let message = bench.posts(&bob, home.general, "hi").await.id;
    let (_, events) = bench.does(&bob, renamed("Robert")).await;
    assert_eq!(kinds(&events), ["user.updated"]);
    assert_eq!(bench.does(&bob, renamed("Robert")).await.0, Ack::Unchanged);
    let author = bench.store.message(message).await.unwrap().unwrap().author;
    assert_eq!(&*author.name, "Robert", "the current name");
    let change = |title: Option<&str>, settings: Option<&str>| Command::UpdateAccount {
        name: title.map(name),
        settings: settings.map(str::to_owned),
    };
    assert_eq!(bench.refuses(&bob, change(Some("x"), None)).await.code, RejectionCode::Forbidden);
    let (_, events) = bench.does(&home.admin, change(Some("Umbrella"), Some("{\"a\":1}"))).await;
    assert_eq!(kinds(&events), ["account.updated"]);
    let (ack, _) = bench.does(&home.admin, change(Some("Umbrella"), Some("{\"a\":2}"))).await;
    assert_eq!(ack, Ack::Unchanged);
    let account = bench.store.account().await.unwrap().unwrap();
    assert_eq!((account.name.as_str(), account.settings.as_str()), ("Umbrella", "{\"a\":2}"));
}

/// Proves DB-13.
async fn parallel_direct_rooms_are_one(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let other = if bench.is_sqlite() { bench.store.clone() } else { super::bench::open(&bench.options) };
    let outcomes: Vec<_> = (0..50)
        .map(|n| {
            let (store, actor, with) =
                if n % 2 == 0 { (&bench.store, &home.admin, bob.id) } else { (&other, &bob, home.admin.id) };
            store.submit(vec![by(actor, create(NewRoomKind::Direct, None, &[with]))], NOW).unwrap()
        })
        .collect();
    let mut firsts = 0;
    for outcome in outcomes {
        let (ack, _) = accepted(outcome.await.unwrap().pop().unwrap());
        let Ack::RoomCreated { duplicate, .. } = ack else { panic!("{ack:?}") };
        firsts += i32::from(!duplicate);
    }
    assert_eq!(firsts, 1);
}

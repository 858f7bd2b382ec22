//! Editing, deleting, reading: versions, soft deletion, marks.

use super::bench::{Bench, by, code, enrols, kinds, name, post};
use super::contracts;
use hearth::domain::{
    Ack, Command, Enrolment, MessageBody, MessageId, NewRoomKind, Person, RejectionCode, Role, RoomId, Seq,
};
use hearth::storage::{HistoryPage, Message, Page, RoomFilter, Verdict};
use uuid::Uuid;

contracts!(
    an_edit_needs_the_current_version,
    an_edit_repeated_is_done_already,
    only_authors_and_those_in_charge_edit_and_delete,
    a_message_of_another_room_is_not_found,
    what_is_posted_in_a_batch_can_be_changed_in_it,
    deleted_messages_are_in_no_list,
    deleting_twice_changes_nothing,
    history_is_paged_by_id,
    marks_only_move_forward,
    unread_is_what_others_wrote_since,
    newcomers_have_nothing_to_catch_up_on,
);

fn edit(room: RoomId, message: MessageId, version: i32, text: &str) -> Command {
    Command::EditMessage { room, message, version, body: MessageBody::parse(text).unwrap() }
}

/// Proves DB-12.
async fn an_edit_needs_the_current_version(bench: Bench) {
    let home = bench.home().await;
    let room = home.general;
    let id = bench.posts(&home.admin, room, "one").await.id;
    // Two edits of the same version in one batch: one wins, the other is told.
    let writes = vec![by(&home.admin, edit(room, id, 1, "two")), by(&home.admin, edit(room, id, 1, "three"))];
    let outcome = bench.batch(writes).await;
    assert_eq!(code(&outcome[0]), None);
    assert_eq!(code(&outcome[1]), Some(RejectionCode::VersionConflict));
    let rejection = bench.refuses(&home.admin, edit(room, id, 1, "three")).await;
    assert_eq!(rejection.version, Some(2));
    let message = bench.store.message(id).await.unwrap().unwrap();
    assert_eq!((message.body.as_str(), message.version), ("two", 2));
    assert_eq!(message.edited_at, Some(super::bench::NOW));
    let (ack, events) = bench.does(&home.admin, edit(room, id, 2, "three")).await;
    assert_eq!(kinds(&events), ["message.edited"]);
    assert_eq!(
        ack,
        Ack::Edited { position: events[0].event.position(), message: id, version: 3, duplicate: false }
    );
}

async fn an_edit_repeated_is_done_already(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let id = bench.posts(&bob, home.general, "one").await.id;
    let (first, _) = bench.does(&bob, edit(home.general, id, 1, "two")).await;
    bench.posts(&bob, home.general, "between").await;
    let (again, events) = bench.does(&bob, edit(home.general, id, 1, "two")).await;
    let Ack::Edited { position, message, version, duplicate: false } = first else { panic!("{first:?}") };
    assert_eq!(again, Ack::Edited { position, message, version, duplicate: true });
    assert!(events.is_empty());
    // The same words of somebody else are another edit.
    let rejection = bench.refuses(&home.admin, edit(home.general, id, 1, "two")).await;
    assert_eq!(rejection.code, RejectionCode::VersionConflict);
}

async fn only_authors_and_those_in_charge_edit_and_delete(bench: Bench) {
    let home = bench.home().await;
    let (bob, eve) = (bench.person("Bob", Role::Member).await, bench.person("Eve", Role::Member).await);
    let id = bench.posts(&bob, home.general, "one").await.id;
    let room = home.general;
    assert_eq!(bench.refuses(&eve, edit(room, id, 1, "x")).await.code, RejectionCode::Forbidden);
    let delete = Command::DeleteMessage { room, message: id };
    assert_eq!(bench.refuses(&eve, delete.clone()).await.code, RejectionCode::Forbidden);
    bench.does(&home.admin, edit(room, id, 1, "moderated")).await;
    bench.does(&home.admin, delete).await;
    assert_eq!(bench.refuses(&bob, edit(room, id, 2, "x")).await.code, RejectionCode::NotFound);
}

async fn a_message_of_another_room_is_not_found(bench: Bench) {
    let home = bench.home().await;
    let other = bench.creates(&home.admin, NewRoomKind::Open, Some("Other"), &[]).await.id;
    let id = bench.posts(&home.admin, home.general, "one").await.id;
    assert_eq!(bench.refuses(&home.admin, edit(other, id, 1, "x")).await.code, RejectionCode::NotFound);
    let delete = Command::DeleteMessage { room: other, message: id };
    assert_eq!(bench.refuses(&home.admin, delete).await.code, RejectionCode::NotFound);
}

async fn what_is_posted_in_a_batch_can_be_changed_in_it(bench: Bench) {
    let home = bench.home().await;
    let room = home.general;
    let id = MessageId::new(bench.store.log_head().await.unwrap().last_id.get() + 1);
    let outcome = bench
        .batch(vec![
            by(&home.admin, post(room, Uuid::new_v4(), "one")),
            by(&home.admin, edit(room, id, 1, "two")),
            by(&home.admin, Command::MarkRead { room, seq: Seq::new(3) }),
            by(&home.admin, Command::DeleteMessage { room, message: id }),
        ])
        .await;
    assert!(outcome.iter().all(|verdict| code(verdict).is_none()), "{outcome:?}");
    assert_eq!(bench.store.message(id).await.unwrap(), None);
    let events = bench.store.room_events(room, Seq::new(1), 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["message.posted", "message.edited", "message.deleted"]);
}

/// Proves DB-21.
async fn deleted_messages_are_in_no_list(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let room = home.general;
    let gone = bench.posts(&bob, room, "the walrus").await.id;
    let kept = bench.posts(&bob, room, "another walrus").await.id;
    let found = bench.store.search(&home.admin, "walrus", 10).await.unwrap();
    assert_eq!(found.iter().map(|message| message.id).collect::<Vec<_>>(), [kept, gone], "newest first");
    bench.does(&bob, Command::DeleteMessage { room, message: gone }).await;
    assert_eq!(bench.store.message(gone).await.unwrap(), None);
    for page in [
        HistoryPage::Newest,
        HistoryPage::Before(MessageId::new(i64::MAX)),
        HistoryPage::After(MessageId::new(0)),
        HistoryPage::Around(gone),
    ] {
        let page = bench.store.history(room, page, 10).await.unwrap();
        assert_eq!(ids(&page.messages), [kept]);
    }
    let found = bench.store.search(&home.admin, "walrus", 10).await.unwrap();
    assert_eq!(ids(&found), [kept]);
    let views = bench.store.room_views(&home.admin, RoomFilter::default(), None, 10).await.unwrap();
    assert_eq!(views[0].unread, 1);
    let who = format!("SELECT deleted_by FROM messages WHERE id = {gone} AND deleted_at IS NOT NULL");
    assert_eq!(bench.count(&who), bob.id.get(), "who and when is kept");
}

async fn deleting_twice_changes_nothing(bench: Bench) {
    let home = bench.home().await;
    let message = bench.posts(&home.admin, home.general, "one").await.id;
    let delete = Command::DeleteMessage { room: home.general, message };
    bench.does(&home.admin, delete.clone()).await;
    let head = bench.store.log_head().await.unwrap();
    let (ack, events) = bench.does(&home.admin, delete).await;
    assert_eq!(ack, Ack::Deleted { position: None, message });
    assert!(events.is_empty());
    assert_eq!(bench.store.log_head().await.unwrap(), head);
}

async fn history_is_paged_by_id(bench: Bench) {
    let home = bench.home().await;
    let room = home.general;
    let mut all = Vec::new();
    for n in 0..7 {
        all.push(bench.posts(&home.admin, room, &n.to_string()).await.id);
    }
    let history = async |page, limit| -> Page { bench.store.history(room, page, limit).await.unwrap() };
    let newest = history(HistoryPage::Newest, 3).await;
    assert_eq!((ids(&newest.messages), newest.more), (all[4..].to_vec(), true));
    let before = history(HistoryPage::Before(all[3]), 3).await;
    assert_eq!((ids(&before.messages), before.more), (all[..3].to_vec(), false));
    let after = history(HistoryPage::After(all[3]), 2).await;
    assert_eq!((ids(&after.messages), after.more), (all[4..6].to_vec(), true));
    let around = history(HistoryPage::Around(all[3]), 4).await;
    assert_eq!((ids(&around.messages), around.more), (all[1..5].to_vec(), true));
    assert_eq!(history(HistoryPage::After(all[6]), 3).await, Page::default());
}

async fn marks_only_move_forward(bench: Bench) {
    let home = bench.home().await;
    let room = home.general;
    for n in 0..4 {
        bench.posts(&home.admin, room, &n.to_string()).await;
    }
    let mark = |seq| Command::MarkRead { room, seq: Seq::new(seq) };
    let read = |seq| Ack::Read { room, read: Seq::new(seq), unread: 0 };
    let (ack, events) = bench.does(&home.admin, mark(3)).await;
    assert_eq!((ack, kinds(&events)), (read(3), vec!["read.marked"]));
    for seq in [3, 2, 0] {
        let (ack, events) = bench.does(&home.admin, mark(seq)).await;
        assert_eq!((ack, events.len()), (read(3), 0));
    }
    let (ack, events) = bench.does(&home.admin, mark(5)).await;
    assert_eq!((ack, kinds(&events)), (read(5), vec!["read.marked"]));
    for seq in [6, -1, i64::MAX] {
        let rejection = bench.refuses(&home.admin, mark(seq)).await;
        assert_eq!(rejection.code, RejectionCode::InvalidPayload);
        assert_eq!(rejection.field.as_deref(), Some("seq"));
    }
}

async fn unread_is_what_others_wrote_since(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let room = home.general;
    bench.posts(&bob, room, "one").await;
    bench.posts(&home.admin, room, "mine").await;
    let gone = bench.posts(&bob, room, "two").await.id;
    bench.posts(&bob, room, "three").await;
    bench.does(&bob, Command::DeleteMessage { room, message: gone }).await;
    let filter = RoomFilter { ids: Some(vec![room]), system: false };
    let view =
        async || bench.store.room_views(&home.admin, filter.clone(), None, 10).await.unwrap().remove(0);
    assert_eq!((view().await.read, view().await.unread), (Seq::new(0), 2));
    let (ack, _) = bench.does(&home.admin, Command::MarkRead { room, seq: Seq::new(2) }).await;
    assert_eq!(ack, Ack::Read { room, read: Seq::new(2), unread: 1 });
    assert_eq!((view().await.read, view().await.unread, view().await.head), (Seq::new(2), 1, Seq::new(6)));
}

async fn newcomers_have_nothing_to_catch_up_on(bench: Bench) {
    let home = bench.home().await;
    let place = async |who: &Person, room: RoomId| {
        let filter = RoomFilter { ids: Some(vec![room]), system: false };
        let view = bench.store.room_views(who, filter, None, 1).await.unwrap().remove(0);
        (view.read.get(), view.head.get(), view.unread)
    };
    bench.posts(&home.admin, home.general, "long ago").await;
    // In one batch: what is said just before and just after counts as it should.
    let operator = Enrolment::Operator {
        name: name("Bob"),
        email: "bob@example.org".to_owned(),
        password_hash: "hash".to_owned(),
        role: Role::Member,
    };
    let says = |text| by(&home.admin, post(home.general, Uuid::new_v4(), text));
    let outcome = bench.batch(vec![says("before"), enrols(operator), says("after")]).await;
    let Some(Ok(Verdict::Accepted { ack: Ack::Enrolled { person: bob, .. }, .. })) =
        outcome.into_iter().nth(1)
    else {
        panic!("not enrolled")
    };
    assert_eq!(place(&bob, home.general).await, (3, 4, 1));
    let robot = Enrolment::Bot {
        by: home.admin.clone(),
        name: name("Robot"),
        key_hash: [7; 32],
        webhook: None,
        expires_in: None,
        key: None,
    };
    let robot = bench.enrolled(robot).await;
    assert_eq!(place(&robot, home.general).await, (4, 4, 0));
    bench.person("Guy", Role::Guest).await;

    let den = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[]).await.id;
    bench.posts(&home.admin, den, "among us").await;
    let add = Command::AddMember { room: den, user: bob.id };
    bench.does(&home.admin, add.clone()).await;
    bench.posts(&home.admin, den, "hello Bob").await;
    assert_eq!(place(&bob, den).await, (2, 4, 1));
    bench.does(&home.admin, Command::RemoveMember { room: den, user: bob.id }).await;
    bench.posts(&home.admin, den, "behind Bob's back").await;
    bench.does(&home.admin, add).await;
    assert_eq!(place(&bob, den).await, (6, 7, 0), "and again");
}

fn ids(messages: &[Message]) -> Vec<MessageId> {
    messages.iter().map(|message| message.id).collect()
}

//! Posting: once, whatever is repeated.

use super::bench::{Bench, accepted, by, code, kinds, post, refused};
use super::contracts;
use hearth::domain::{Ack, Command, MessageBody, RejectionCode, Role, Seq};
use hearth::storage::{HistoryPage, Write};
use uuid::Uuid;

contracts!(
    a_repeat_returns_the_original,
    another_body_is_a_conflict,
    a_repeat_is_known_after_an_edit_and_after_leaving,
    the_same_id_of_another_author_or_room_is_another_message,
    a_hundred_parallel_posts_are_one_row,
    repeats_within_one_batch_are_one_row,
);

/// Proves OPT-06.
async fn a_repeat_returns_the_original(bench: Bench) {
    let home = bench.home().await;
    let id = Uuid::new_v4();
    let (first, events) = bench.does(&home.admin, post(home.general, id, "hi")).await;
    assert_eq!(kinds(&events), ["message.posted"]);
    let Ack::Posted { position, duplicate: false, .. } = first else { panic!("{first:?}") };
    let bench = bench.reopened().await;
    let (again, events) = bench.does(&home.admin, post(home.general, id, "hi")).await;
    assert_eq!(again, Ack::Posted { position, client_message_id: id, duplicate: true, runs: vec![] });
    assert!(events.is_empty());
    assert_eq!(bench.store.history(home.general, HistoryPage::Newest, 10).await.unwrap().messages.len(), 1);
}

/// Proves OPT-06.
async fn another_body_is_a_conflict(bench: Bench) {
    let home = bench.home().await;
    let id = Uuid::new_v4();
    bench.does(&home.admin, post(home.general, id, "hi")).await;
    let rejection = bench.refuses(&home.admin, post(home.general, id, "ho")).await;
    assert_eq!(rejection.code, RejectionCode::IdempotencyConflict);
}

async fn a_repeat_is_known_after_an_edit_and_after_leaving(bench: Bench) {
    let home = bench.home().await;
    let guest = bench.person("Guy", Role::Guest).await;
    let kind = hearth::domain::NewRoomKind::Closed;
    let room = bench.creates(&home.admin, kind, Some("Den"), &[guest.id]).await.id;
    let id = Uuid::new_v4();
    let (ack, _) = bench.does(&guest, post(room, id, "hi")).await;
    let Ack::Posted { position, .. } = ack else { panic!("{ack:?}") };
    let body = MessageBody::parse("edited").unwrap();
    bench.does(&guest, Command::EditMessage { room, message: position.id, version: 1, body }).await;
    bench.does(&guest, Command::RemoveMember { room, user: guest.id }).await;
    let (again, _) = bench.does(&guest, post(room, id, "hi")).await;
    assert_eq!(again, Ack::Posted { position, client_message_id: id, duplicate: true, runs: vec![] });
    let rejection = bench.refuses(&guest, post(room, id, "edited")).await;
    assert_eq!(rejection.code, RejectionCode::IdempotencyConflict);
    assert_eq!(bench.refuses(&guest, post(room, Uuid::new_v4(), "x")).await.code, RejectionCode::NotFound);
}

/// Proves OPT-06.
async fn the_same_id_of_another_author_or_room_is_another_message(bench: Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let other = bench.creates(&bob, hearth::domain::NewRoomKind::Open, Some("Other"), &[]).await.id;
    let id = Uuid::new_v4();
    for (who, room) in [(&home.admin, home.general), (&bob, home.general), (&bob, other)] {
        let (ack, events) = bench.does(who, post(room, id, "hi")).await;
        assert!(matches!(ack, Ack::Posted { duplicate: false, .. }), "{ack:?}");
        assert_eq!(events.len(), 1);
    }
}

/// Proves OPT-07.
async fn a_hundred_parallel_posts_are_one_row(bench: Bench) {
    let home = bench.home().await;
    let id = Uuid::new_v4();
    let outcomes: Vec<_> = (0..100)
        .map(|_| {
            let write = by(&home.admin, post(home.general, id, "hi"));
            bench.store.submit(vec![write], super::bench::NOW).unwrap()
        })
        .collect();
    let mut firsts = 0;
    for outcome in outcomes {
        let (ack, events) = accepted(outcome.await.unwrap().pop().unwrap());
        let Ack::Posted { duplicate, position, .. } = ack else { panic!("{ack:?}") };
        assert_eq!(position.seq, Seq::new(2));
        assert_eq!(events.is_empty(), duplicate);
        firsts += i32::from(!duplicate);
    }
    assert_eq!(firsts, 1);
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 1);
}

/// Proves OPT-06.
async fn repeats_within_one_batch_are_one_row(bench: Bench) {
    let home = bench.home().await;
    let id = Uuid::new_v4();
    let write = |text| -> Write { by(&home.admin, post(home.general, id, text)) };
    let outcome = bench.batch(vec![write("hi"), write("hi"), write("ho")]).await;
    assert_eq!(code(&outcome[2]), Some(RejectionCode::IdempotencyConflict));
    let mut outcome = outcome.into_iter();
    let (first, _) = accepted(outcome.next().unwrap());
    let (second, events) = accepted(outcome.next().unwrap());
    let Ack::Posted { position, duplicate: false, .. } = first else { panic!("{first:?}") };
    assert_eq!(second, Ack::Posted { position, client_message_id: id, duplicate: true, runs: vec![] });
    assert!(events.is_empty());
    assert_eq!(refused(outcome.next().unwrap()).code, RejectionCode::IdempotencyConflict);
}

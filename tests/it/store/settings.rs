//! What an assistant goes by is what its asker had acknowledged when they asked, whatever comes after.

use super::bench::{Bench, NOW, by, name};
use super::contracts;
use hearth::domain::{
    Ack, AssistantTerms, BaseUrl, Command, Enrolment, MessageBody, NewRoomKind, Person, RejectionCode, Role,
    RoomId, Summoned,
};
use hearth::storage::Verdict;
use std::time::Duration;
use uuid::Uuid;

contracts!(a_turn_keeps_the_settings_it_was_asked_with);

fn synced(version: i64, settings: &str) -> Command {
    Command::SyncSettings { version, settings: settings.into() }
}

fn asks(room: RoomId, version: Option<i64>) -> Command {
    Command::PostMessage {
        room,
        client_message_id: Uuid::new_v4(),
        body: MessageBody::parse("@Helper hello").expect("a body"),
        settings: version,
    }
}

async fn posted(bench: &Bench, who: &Person, command: Command) -> Vec<Summoned> {
    match bench.does(who, command).await.0 {
        Ack::Posted { runs, .. } => runs,
        ack => panic!("{ack:?}"),
    }
}

/// Proves CORR-13.
async fn a_turn_keeps_the_settings_it_was_asked_with(bench: Bench) {
    let home = bench.home().await;
    let url = BaseUrl::parse("http://127.0.0.1:1/v1").expect("an address");
    let terms = Box::new(AssistantTerms::new(url, "tiny").expect("terms"));
    bench.enrolled(Enrolment::Assistant { by: home.admin.clone(), name: name("Helper"), terms }).await;
    let bob = bench.person("Bob", Role::Member).await;
    let mut rooms = vec![home.general];
    for title in ["Two", "Three", "Four"] {
        rooms.push(bench.creates(&bob, NewRoomKind::Open, Some(title), &[]).await.id);
    }
    let kept = |room: RoomId, version: i64, settings: &str| {
        bench.count(&format!(
            "SELECT count(*) FROM runs WHERE room_id = {room} AND settings_version = {version} AND settings = '{settings}'"
        ))
    };
    let (ack, events) = bench.does(&bob, synced(0, r#"{"tone":"terse"}"#)).await;
    assert_eq!((ack, events.len()), (Ack::Settings { version: 1, duplicate: false }, 1));
    assert!(posted(&bench, &bob, asks(rooms[0], Some(1))).await[0].outcome.is_ok());
    assert_eq!(kept(rooms[0], 1, r#"{"tone":"terse"}"#), 1);

    // In one batch: asked with the first, changed, asked with the first again and with the second.
    let batch = vec![
        by(&bob, asks(rooms[1], Some(1))),
        by(&bob, synced(1, r#"{"tone":"florid"}"#)),
        by(&bob, asks(rooms[2], Some(1))),
        by(&bob, asks(rooms[3], Some(2))),
    ];
    let outcome = bench.batch(batch).await;
    let runs_of = |at: usize| match &outcome[at] {
        Ok(Verdict::Accepted { ack: Ack::Posted { runs, .. }, .. }) => runs.clone(),
        other => panic!("{other:?}"),
    };
    assert!(runs_of(0)[0].outcome.is_ok() && runs_of(3)[0].outcome.is_ok());
    let refused = runs_of(2)[0].outcome.clone().expect_err("asked with what isn't there any more");
    assert_eq!((refused.code, refused.version), (RejectionCode::SettingsConflict, Some(2)));
    assert_eq!(kept(rooms[0], 1, r#"{"tone":"terse"}"#), 1, "what came later changes nothing");
    assert_eq!(kept(rooms[1], 1, r#"{"tone":"terse"}"#), 1);
    assert_eq!(bench.count(&format!("SELECT count(*) FROM runs WHERE room_id = {}", rooms[2])), 0);
    assert_eq!(kept(rooms[3], 2, r#"{"tone":"florid"}"#), 1);
    // Whoever works at it is given the copy.
    let waiting = bench.store.waiting_runs(10).await.expect("runs");
    let first = waiting.iter().find(|waiting| waiting.room == rooms[0]).expect("waits");
    let task = bench.store.take_run(first.run, Uuid::new_v4(), NOW, NOW.after(Duration::from_secs(9)));
    let task = task.await.expect("taken").expect("is free").expect("sound");
    assert_eq!((task.settings_version, task.settings.as_str()), (1, r#"{"tone":"terse"}"#));
}

//! Reconciliation: damage by a strange hand is found, named, and repaired where it can be.

use super::bench::{Bench, by, post};
use super::contracts;
use hearth::domain::{Command, NewRoomKind, Role};
use hearth::storage::{Drift, Finding};
use uuid::Uuid;

contracts!(
    a_sound_store_has_no_drift,
    what_is_derived_is_found_and_repaired,
    what_cant_be_derived_is_told,
    much_drift_is_found_over_all_pages,
);

/// The kinds with something found: kind, found, repaired.
async fn check(bench: &Bench, repair: bool) -> Vec<(Drift, usize, usize)> {
    let findings = bench.store.reconcile(repair).await.unwrap();
    assert_eq!(findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), Drift::ALL);
    let wrong = findings.into_iter().filter(|finding| finding.found > 0);
    wrong.map(|Finding { kind, found, repaired, .. }| (kind, found, repaired)).collect()
}

async fn lively(bench: &Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    let den = bench.creates(&home.admin, NewRoomKind::Closed, Some("Den"), &[bob.id]).await.id;
    for n in 0..30 {
        let room = if n % 3 == 0 { den } else { home.general };
        let message = bench.posts(&bob, room, &format!("walrus {n}")).await;
        if n % 5 == 0 {
            bench.does(&bob, Command::DeleteMessage { room, message: message.id }).await;
        }
        if n % 7 == 0 {
            bench.does(&home.admin, Command::MarkRead { room, seq: message.seq }).await;
        }
    }
}

/// Proves DB-15.
async fn a_sound_store_has_no_drift(bench: Bench) {
    assert_eq!(check(&bench, true).await, []);
    lively(&bench).await;
    assert_eq!(check(&bench, true).await, []);
}

/// Proves DB-15.
async fn what_is_derived_is_found_and_repaired(bench: Bench) {
    lively(&bench).await;
    let heads = "SELECT CAST(sum(last_seq * id) AS BIGINT) FROM rooms";
    let marks = "SELECT count(*) FROM read_marks";
    let (sound, head, marked) =
        (bench.count(heads), bench.count("SELECT last_id FROM log_head"), bench.count(marks));
    bench.sql("UPDATE rooms SET last_seq = last_seq + 7 WHERE kind = 'open'").unwrap();
    bench.sql("UPDATE rooms SET last_seq = 1 WHERE kind = 'closed'").unwrap();
    bench.sql("UPDATE log_head SET last_id = 3").unwrap();
    bench
        .sql("UPDATE read_marks SET seq = 1000000 WHERE room_id = (SELECT min(id) FROM rooms WHERE kind = 'open')")
        .unwrap();
    let mut expected = vec![(Drift::LogHead, 1), (Drift::RoomHead, 2), (Drift::ReadMark, 2)];
    if bench.is_sqlite() {
        // A deleted message can be found again, and one that isn't deleted can't.
        bench
            .sql(
                "INSERT INTO search (rowid, body) SELECT id, body FROM messages WHERE deleted_at IS NOT NULL LIMIT 1;
                 INSERT INTO search (search, rowid, body)
                     SELECT 'delete', id, body FROM messages WHERE deleted_at IS NULL LIMIT 2",
            )
            .unwrap();
        expected.insert(2, (Drift::Search, 3));
    }
    let found = check(&bench, false).await;
    assert_eq!(found.iter().map(|(kind, found, _)| (*kind, *found)).collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|(_, _, repaired)| *repaired == 0), "{found:?}");
    let repaired = check(&bench, true).await;
    assert!(
        !repaired.is_empty() && repaired.iter().all(|(_, found, repaired)| found == repaired),
        "{repaired:?}"
    );
    assert_eq!(check(&bench, false).await, []);
    assert_eq!(bench.count(heads), sound);
    assert_eq!(bench.count("SELECT last_id FROM log_head"), head);
    assert_eq!(bench.count(marks), marked);
    let admin = bench.people(None, 1).await.remove(0).person;
    let shown = bench.store.search(&admin, "walrus", 100).await.unwrap().len();
    assert_eq!(shown, 24, "what isn't deleted is found, once");
    let general = bench.count("SELECT min(id) FROM rooms WHERE kind = 'open'");
    bench.posts(&admin, hearth::domain::RoomId::new(general), "it goes on").await;
    assert_eq!(check(&bench, false).await, []);
}

/// Proves DB-15.
async fn what_cant_be_derived_is_told(bench: Bench) {
    lively(&bench).await;
    if bench.is_sqlite() {
        bench.sql("DROP TRIGGER events_refuse_delete; PRAGMA foreign_keys = OFF; DELETE FROM messages WHERE id = 20").unwrap();
    } else {
        bench.sql("DROP TRIGGER events_refuse_delete ON events; DELETE FROM messages WHERE id = 20").unwrap();
    }
    let posted = "SELECT count(*) FROM events WHERE id = 20 AND kind = 'message.posted'";
    assert_eq!(bench.count(posted), 1, "the twentieth event posted a message");
    assert_eq!(check(&bench, true).await, [(Drift::Message, 1, 0)]);
    bench.sql("DELETE FROM events WHERE id = 20").unwrap();
    assert_eq!(check(&bench, true).await, [(Drift::Hole, 1, 0)]);
}

/// Proves DB-15.
async fn much_drift_is_found_over_all_pages(bench: Bench) {
    let home = bench.home().await;
    for _ in 0..3 {
        let create = |n: i32| Command::CreateRoom {
            kind: NewRoomKind::Closed,
            name: Some(super::bench::name(&n.to_string())),
            members: Vec::new(),
            key: None,
        };
        bench.batch((0..200).map(|n| by(&home.admin, create(n))).collect()).await;
    }
    for _ in 0..12 {
        let writes = (0..500).map(|_| by(&home.admin, post(home.general, Uuid::new_v4(), "walrus")));
        bench.batch(writes.collect()).await;
    }
    bench.sql("UPDATE rooms SET last_seq = last_seq + 1").unwrap();
    let rooms = usize::try_from(bench.count("SELECT count(*) FROM rooms")).unwrap();
    assert!(rooms > 600);
    assert_eq!(check(&bench, true).await, [(Drift::RoomHead, rooms, rooms)]);
    if bench.is_sqlite() {
        bench.sql("INSERT INTO search (search) VALUES ('delete-all')").unwrap();
        assert_eq!(check(&bench, true).await, [(Drift::Search, 6_000, 6_000)]);
    }
    assert_eq!(check(&bench, true).await, []);
    assert_eq!(bench.store.search(&home.admin, "walrus", 10_000).await.unwrap().len(), 6_000);
}

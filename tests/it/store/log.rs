//! The log: contiguous, immutable, the same for all, whatever is written in whatever order.

use super::bench::{Bench, NOW, accepted, by, code, post};
use super::contracts;
use hearth::domain::{Ack, EventId, RejectionCode, Role, Seq};
use hearth::storage::{HistoryPage, SessionKey, StoreError, Verdict};
use uuid::Uuid;

contracts!(
    the_first_run_begins_the_log,
    a_refused_write_leaves_its_neighbours_and_no_hole,
    a_failing_statement_fails_only_its_own_write,
    two_hundred_writers_meet_no_lock,
    parallel_stores_share_one_log_on_a_server,
    events_are_never_changed,
    what_was_acknowledged_survives_a_drop,
    a_full_queue_says_so,
    a_closed_store_refuses,
);

async fn the_first_run_begins_the_log(bench: Bench) {
    let home = bench.home().await;
    let events = bench.store.events_for(&home.admin, EventId::new(0), 100).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["room.created", "room.created", "user.joined", "room.created", "room.listed"]);
    assert_eq!(events.iter().map(|event| event.id.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let head = bench.store.log_head().await.unwrap();
    assert_eq!(head.last_id, EventId::new(5));
    assert_eq!(head.epoch, bench.store.epoch());
    let commons = bench.store.commons().await.unwrap().unwrap();
    assert_eq!(events[0].room, commons);
    assert_eq!(bench.store.load_room(commons).await.unwrap().unwrap().head, Seq::new(3));
    let bench = bench.reopened().await;
    assert_eq!(bench.store.log_head().await.unwrap(), head, "the epoch stays");
}

/// Proves DB-10.
async fn a_refused_write_leaves_its_neighbours_and_no_hole(bench: Bench) {
    let home = bench.home().await;
    let guest = bench.person("Guy", Role::Guest).await;
    let before = bench.store.log_head().await.unwrap().last_id.get();
    let write = |actor, text| by(actor, post(home.general, Uuid::new_v4(), text));
    let outcome =
        bench.batch(vec![write(&home.admin, "one"), write(&guest, "no"), write(&home.admin, "two")]);
    let outcome = outcome.await;
    assert_eq!(code(&outcome[1]), Some(RejectionCode::NotFound));
    let ids: Vec<i64> = outcome
        .into_iter()
        .filter_map(|verdict| match verdict {
            Ok(Verdict::Accepted { events, .. }) => Some(events[0].event.id.get()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [before + 1, before + 2]);
    let page = bench.store.history(home.general, HistoryPage::Newest, 10).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

/// Proves DB-08, DB-10.
async fn a_failing_statement_fails_only_its_own_write(bench: Bench) {
    let home = bench.home().await;
    let explode = if bench.is_sqlite() {
        "CREATE TRIGGER explode BEFORE INSERT ON messages WHEN new.body = 'boom'
         BEGIN SELECT RAISE(ABORT, 'kaboom'); END"
    } else {
        "CREATE FUNCTION explode() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF new.body = 'boom' THEN RAISE EXCEPTION 'kaboom'; END IF; RETURN new; END $$;
         CREATE TRIGGER explode BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION explode()"
    };
    bench.sql(explode).unwrap();
    let before = bench.store.log_head().await.unwrap().last_id.get();
    let id = Uuid::new_v4();
    let write = |text| by(&home.admin, post(home.general, Uuid::new_v4(), text));
    let outcome =
        bench.batch(vec![write("one"), by(&home.admin, post(home.general, id, "boom")), write("two")]).await;
    assert!(matches!(&outcome[1], Err(StoreError::Corrupt(text)) if text.contains("kaboom")), "{outcome:?}");
    for (at, verdict) in outcome.into_iter().enumerate() {
        if at != 1 {
            accepted(verdict);
        }
    }
    assert_eq!(bench.store.log_head().await.unwrap().last_id.get(), before + 2);
    assert_eq!(bench.count("SELECT count(*) FROM events"), before + 2);
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 2);
    bench
        .sql(if bench.is_sqlite() { "DROP TRIGGER explode" } else { "DROP FUNCTION explode CASCADE" })
        .unwrap();
    let (ack, _) = bench.does(&home.admin, post(home.general, id, "boom")).await;
    let Ack::Posted { position, duplicate: false, .. } = ack else { panic!("{ack:?}") };
    assert_eq!(position.seq, Seq::new(4), "no hole in the room either");
}

/// Proves DB-02.
async fn two_hundred_writers_meet_no_lock(bench: Bench) {
    let home = bench.home().await;
    let writers: Vec<_> = (0..200)
        .map(|n| {
            let (store, admin, general) = (bench.store.clone(), home.admin.clone(), home.general);
            tokio::spawn(async move {
                let write = by(&admin, post(general, Uuid::new_v4(), &format!("message {n}")));
                let outcome = store.submit(vec![write], NOW).unwrap();
                // Readers and the other kind of write at the same time.
                store.history(general, HistoryPage::Newest, 5).await.unwrap();
                let key = SessionKey::Token([u8::try_from(n).unwrap(); 32]);
                store.touch_session(key, None, NOW, Some(NOW)).await.unwrap();
                accepted(outcome.await.unwrap().pop().unwrap());
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 200);
    assert_eq!(bench.count("SELECT last_seq FROM rooms WHERE kind = 'open'"), 201);
    assert_eq!(bench.store.stats().troubles, 0);
}

/// Two nodes on one server: ids are in the order of commit and no seq is given twice.
async fn parallel_stores_share_one_log_on_a_server(bench: Bench) {
    if bench.is_sqlite() {
        return;
    }
    let home = bench.home().await;
    let other = super::bench::open(&bench.options);
    assert_eq!(other.epoch(), bench.store.epoch());
    let first = bench.store.log_head().await.unwrap().last_id.get();
    let mut outcomes = Vec::new();
    for n in 0..50 {
        for store in [&bench.store, &other] {
            let write = by(&home.admin, post(home.general, Uuid::new_v4(), &n.to_string()));
            outcomes.push(store.submit(vec![write], NOW).unwrap());
        }
    }
    let mut positions = Vec::new();
    for outcome in outcomes {
        let (_, events) = accepted(outcome.await.unwrap().pop().unwrap());
        positions.push((events[0].event.id.get(), events[0].event.seq.get()));
    }
    positions.sort_unstable();
    let expected: Vec<_> = (1..=100).map(|n| (first + n, 1 + n)).collect();
    assert_eq!(positions, expected);
    other.close().await;
}

/// Proves DB-14.
async fn events_are_never_changed(bench: Bench) {
    bench.home().await;
    for sql in ["UPDATE events SET payload = '{}' WHERE id = 1", "DELETE FROM events WHERE id = 1"] {
        let error = bench.sql(sql).unwrap_err().to_string();
        assert!(error.contains("events are never"), "{error}");
    }
}

async fn what_was_acknowledged_survives_a_drop(bench: Bench) {
    let home = bench.home().await;
    let id = Uuid::new_v4();
    let write = by(&home.admin, post(home.general, id, "hi"));
    let outcome = bench.store.submit(vec![write], NOW).unwrap();
    let (_, events) = accepted(outcome.await.unwrap().pop().unwrap());
    let epoch = bench.store.epoch();
    let bench = bench.reopened_after_drop();
    assert_eq!(bench.store.epoch(), epoch);
    let stored = bench.store.room_events(home.general, Seq::new(1), 10).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].payload, *events[0].payload, "the very bytes");
    assert_eq!((stored[0].id, stored[0].seq, stored[0].at), (events[0].event.id, Seq::new(2), NOW));
}

async fn a_full_queue_says_so(bench: Bench) {
    let Bench { store, mut options, .. } = bench;
    store.close().await;
    options.write_queue = 2;
    let store = super::bench::open(&options);
    // Holds the writer up, so that the queue fills.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    store.on_commit(Box::new({
        let gate = std::sync::Mutex::new(gate);
        move |_| {
            gate.lock().unwrap().recv().ok();
        }
    }));
    let mut queued = vec![store.submit(Vec::new(), NOW).unwrap()];
    while store.stats().write_queue > 0 {
        std::thread::yield_now();
    }
    let error = loop {
        match store.submit(Vec::new(), NOW) {
            Ok(outcome) => queued.push(outcome),
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::Full);
    assert_eq!(queued.len(), 3);
    assert_eq!(store.stats().write_queue, 2);
    drop(go);
    for outcome in queued {
        outcome.await.unwrap();
    }
    assert_eq!(store.stats().write_queue, 0);
}

async fn a_closed_store_refuses(bench: Bench) {
    let home = bench.home().await;
    let queued = bench.store.submit(vec![by(&home.admin, post(home.general, Uuid::new_v4(), "hi"))], NOW);
    bench.store.close().await;
    accepted(queued.unwrap().await.unwrap().pop().unwrap());
    let refused = bench.store.submit(Vec::new(), NOW).err();
    assert!(matches!(refused, Some(StoreError::Unavailable(_))), "{refused:?}");
    if bench.is_sqlite() {
        let wal = bench.file().with_extension("db-wal");
        assert_eq!(std::fs::metadata(wal).map_or(0, |file| file.len()), 0, "the log is in the database");
    }
}

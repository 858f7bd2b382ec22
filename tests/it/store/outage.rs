//! When the database doesn't answer: what is said, and that it goes on afterwards.

use super::bench::{Bench, NOW, accepted, by, open, post};
use super::contracts;
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use hearth::domain::{Ack, EventBody, RoomId, Seq};
use hearth::storage::{Database, HistoryPage, StorageOptions, Store, StoreError};
use std::time::Duration;
use uuid::Uuid;

contracts!(
    a_lock_that_is_not_given_is_unavailable,
    a_dead_connection_is_replaced,
    a_connection_that_dies_in_the_batch_wrote_nothing,
    a_connection_that_dies_in_the_commit_leaves_it_unknown,
    a_commit_that_is_refused_wrote_nothing,
    a_full_read_queue_says_so,
    a_transaction_that_the_database_ended_costs_the_connection,
    a_panic_in_a_write_fails_that_write_alone,
    a_panic_of_the_writer_is_survived,
);

/// Somebody else's connection with a transaction on the log's head.
enum Other {
    Pg(PgConnection),
    Sqlite(SqliteConnection),
}

impl Other {
    fn holding_the_log(bench: &Bench) -> Self {
        match &bench.options.database {
            Database::Sqlite { path } => {
                let mut conn = SqliteConnection::establish(&path.display().to_string()).unwrap();
                conn.batch_execute("BEGIN IMMEDIATE").unwrap();
                Self::Sqlite(conn)
            }
            Database::Postgres { url } => {
                let mut conn = PgConnection::establish(&url.to_string()).unwrap();
                conn.batch_execute("BEGIN; SELECT * FROM log_head FOR UPDATE").unwrap();
                Self::Pg(conn)
            }
        }
    }

    fn run(&mut self, sql: &str) {
        match self {
            Self::Pg(conn) => conn.batch_execute(sql).unwrap(),
            Self::Sqlite(conn) => conn.batch_execute(sql).unwrap(),
        }
    }
}

/// Ends every other connection to this database.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Proves TEST-03.
async fn a_lock_that_is_not_given_is_unavailable(bench: Bench) {
    let home = bench.home().await;
    bench.store.close().await;
    // A connection has to be made within it, too.
    let patience = Duration::from_secs(1);
    let store = open(&StorageOptions { patience, ..bench.options.clone() });
    let mut other = Other::holding_the_log(&bench);
    let id = Uuid::new_v4();
    let write = || {
        vec![by(&home.admin, post(home.general, id, "hi")), by(&home.admin, post(RoomId::new(99), id, "x"))]
    };
    let outcome = store.submit(write(), NOW).unwrap().await.unwrap();
    for result in outcome {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
    // Readers go on meanwhile.
    assert_eq!(store.history(home.general, HistoryPage::Newest, 10).await.unwrap().messages.len(), 0);
    other.run("ROLLBACK");
    let mut outcome = store.submit(write(), NOW).unwrap().await.unwrap();
    let (ack, _) = accepted(outcome.remove(0));
    assert!(matches!(ack, Ack::Posted { duplicate: false, .. }));
    store.close().await;
}

async fn a_dead_connection_is_replaced(bench: Bench) {
    if bench.is_sqlite() {
        return;
    }
    let home = bench.home().await;
    bench.sql(TERMINATE).unwrap();
    bench.posts(&home.admin, home.general, "written by a new connection").await;
    assert_eq!(bench.store.history(home.general, HistoryPage::Newest, 10).await.unwrap().messages.len(), 1);
}

/// Proves DB-08.
async fn a_connection_that_dies_in_the_batch_wrote_nothing(bench: Bench) {
    if bench.is_sqlite() {
        return;
    }
    let home = bench.home().await;
    let mut other = Other::holding_the_log(&bench);
    let id = Uuid::new_v4();
    let write =
        || vec![by(&home.admin, post(home.general, id, "hi")), by(&home.admin, post(home.general, id, "hi"))];
    let outcome = bench.store.submit(write(), NOW).unwrap();
    while bench.count(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
        AND datname = current_database()",
    ) == 0
    {
        tokio::task::yield_now().await;
    }
    // Not the one that holds the lock, or the batch would go through.
    other.run(TERMINATE);
    for result in outcome.await.unwrap() {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
    other.run("ROLLBACK");
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 0);
    let outcome = bench.batch(write()).await;
    assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
}

async fn a_connection_that_dies_in_the_commit_leaves_it_unknown(bench: Bench) {
    if bench.is_sqlite() {
        return;
    }
    let home = bench.home().await;
    at_commit(&bench, "PERFORM pg_terminate_backend(pg_backend_pid())");
    let write = |text| by(&home.admin, post(home.general, Uuid::new_v4(), text));
    let outcome = bench.batch(vec![write("one"), write("two")]).await;
    for result in outcome {
        assert!(matches!(result, Err(StoreError::OutcomeUnknown(_))), "{result:?}");
    }
    bench.sql("DROP FUNCTION at_commit CASCADE").unwrap();
    assert_eq!(
        bench.posts(&home.admin, home.general, "three").await.seq,
        Seq::new(2),
        "it was not committed"
    );
}

/// Proves DB-08.
async fn a_commit_that_is_refused_wrote_nothing(bench: Bench) {
    if bench.is_sqlite() {
        return;
    }
    let home = bench.home().await;
    at_commit(&bench, "IF new.body = 'bad' THEN RAISE unique_violation; END IF");
    let write = |text| by(&home.admin, post(home.general, Uuid::new_v4(), text));
    let mut outcome = bench.batch(vec![write("good"), write("bad"), write("fine")]).await;
    let refused = outcome.remove(1);
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    for result in outcome {
        accepted(result);
    }
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 2);
}

/// The statement ends the transaction, on PostgreSQL with the connection: there is nothing left to roll back, and whoever says so
/// is asked nothing more.
///
/// Proves TEST-03.
async fn a_transaction_that_the_database_ended_costs_the_connection(bench: Bench) {
    let home = bench.home().await;
    let ending = if bench.is_sqlite() {
        "CREATE TRIGGER ending AFTER INSERT ON messages WHEN new.body = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'boom'); END"
    } else {
        "CREATE FUNCTION ending() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF new.body = 'bad' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN new; END $$;
         CREATE TRIGGER ending AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION ending()"
    };
    bench.sql(ending).unwrap();
    for text in ["one", "two"] {
        let bad = bench.one(by(&home.admin, post(home.general, Uuid::new_v4(), "bad"))).await;
        assert!(matches!(bad, Err(StoreError::Unavailable(_))), "nothing was written: {bad:?}");
        bench.posts(&home.admin, home.general, text).await;
    }
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 2);
    assert_eq!(bench.count("SELECT count(*) FROM events WHERE kind = 'message.posted'"), 2);
}

/// Makes PostgreSQL do `what` when a transaction that inserted messages commits.
fn at_commit(bench: &Bench, what: &str) {
    let sql = format!(
        "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN new; END $$;
         CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION at_commit()"
    );
    bench.sql(&sql).unwrap();
}

async fn a_full_read_queue_says_so(bench: Bench) {
    bench.store.close().await;
    let store = open(&StorageOptions { readers: 1, read_queue: 2, ..bench.options.clone() });
    // No blocking thread is free until the gate opens, so that nobody is served meanwhile.
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
    for _ in 0..super::BLOCKING_THREADS {
        let gate = std::sync::Arc::clone(&gate);
        tokio::task::spawn_blocking(move || gate.lock().unwrap().recv().is_ok());
    }
    let reads: Vec<_> = (0..10).map(|_| store.account()).collect();
    let mut reads = std::pin::pin!(futures_util::future::join_all(reads));
    tokio::select! {
        biased;
        results = &mut reads => panic!("{results:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(store.stats().read_queue, 2);
    drop(open_gate);
    let results = reads.await;
    let full = results.iter().filter(|result| **result == Err(StoreError::Full)).count();
    assert_eq!(full, 7, "one reads, two wait: {results:?}");
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    assert_eq!(store.stats().read_queue, 0);
    assert!(store.account().await.is_ok());
    store.close().await;
}

/// Proves TEST-03, DB-08.
async fn a_panic_in_a_write_fails_that_write_alone(bench: Bench) {
    let home = bench.home().await;
    bench.store.close().await;
    let encode = |body: &EventBody| {
        let text = format!("{body:?}");
        assert!(!text.contains("walrus"), "nobody encodes a walrus");
        "{}".to_owned()
    };
    let store = Store::open(bench.options.clone(), encode).unwrap();
    let write = |text| by(&home.admin, post(home.general, Uuid::new_v4(), text));
    let outcome = store.submit(vec![write("one"), write("walrus"), write("two")], NOW).unwrap();
    let mut outcome = outcome.await.unwrap();
    let failed = outcome.remove(1);
    assert!(matches!(failed, Err(StoreError::Corrupt(_))), "{failed:?}");
    outcome.into_iter().for_each(|result| drop(accepted(result)));
    assert_eq!(bench.count("SELECT count(*) FROM messages"), 2);
    assert_eq!(bench.count("SELECT count(*) FROM events WHERE kind = 'message.posted'"), 2);
    assert!(store.health().await.unwrap().writer_alive);
    store.close().await;
}

/// Proves TEST-03.
async fn a_panic_of_the_writer_is_survived(bench: Bench) {
    let home = bench.home().await;
    bench.store.close().await;
    let store = open(&bench.options);
    let first = std::sync::atomic::AtomicBool::new(true);
    store.on_commit(Box::new(move |_| {
        assert!(!first.swap(false, std::sync::atomic::Ordering::Relaxed), "whoever counts may fail");
    }));
    let id = Uuid::new_v4();
    let write = || vec![by(&home.admin, post(home.general, id, "hi"))];
    let lost = store.submit(write(), NOW).unwrap().await;
    assert!(lost.is_err(), "nobody knows the outcome: {lost:?}");
    let (ack, _) = accepted(store.submit(write(), NOW).unwrap().await.unwrap().remove(0));
    assert!(matches!(ack, Ack::Posted { duplicate: true, .. }), "it was committed: {ack:?}");
    assert!(store.health().await.unwrap().writer_alive);
    store.close().await;
}

//! The database under the store: settings, lock, constraints, migrations, indexes.

use super::bench::{Bench, encode, post};
use super::contracts;
use diesel::result::{DatabaseErrorKind, Error};
use hearth::domain::NewRoomKind;
use hearth::storage::{Database, PostgresUrl, StorageOptions, Store, StoreError, Synchronous, migrate};
use std::os::unix::fs::PermissionsExt;
use uuid::Uuid;

contracts!(
    the_settings_are_in_effect,
    a_second_process_is_refused,
    direct_violations_fail,
    migrations_go_down_and_up,
    drift_is_named,
    history_is_read_by_index,
    the_write_ahead_log_stays_bounded,
    health_tells_what_is_missing,
);

/// Proves DB-01.
async fn the_settings_are_in_effect(bench: Bench) {
    let health = bench.store.health().await.unwrap();
    assert!(health.is_ready(), "{health:?}");
    let setting = |health: &hearth::storage::Health, name: &str| -> String {
        let found = health.settings.iter().find(|(has, _)| has == name);
        found.unwrap_or_else(|| panic!("{name}: {health:?}")).1.clone()
    };
    if bench.is_sqlite() {
        assert_eq!(health.database, "sqlite");
        for (name, value) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("foreign_keys", "1"),
            ("busy_timeout", "5000"),
            ("wal_autocheckpoint", "0"),
        ] {
            assert_eq!(setting(&health, name), value, "{name}");
        }
        for file in [bench.file(), bench.file().with_extension("db.lock")] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    } else {
        assert_eq!(health.database, "postgres");
        for (name, value) in
            [("fsync", "on"), ("synchronous_commit", "on"), ("lock_timeout", "5s"), ("lc_messages", "C")]
        {
            assert_eq!(setting(&health, name), value, "{name}");
        }
    }
    bench.store.close().await;
    let options = StorageOptions { synchronous: Synchronous::Normal, ..bench.options.clone() };
    let store = super::bench::open(&options);
    let health = store.health().await.unwrap();
    let (name, value) = if bench.is_sqlite() { ("synchronous", "1") } else { ("synchronous_commit", "off") };
    assert_eq!(setting(&health, name), value);
}

/// Proves DB-07.
async fn a_second_process_is_refused(bench: Bench) {
    if !bench.is_sqlite() {
        // PostgreSQL is for several nodes.
        drop(super::bench::open(&bench.options));
        return;
    }
    let locked = StoreError::Locked { path: bench.file() };
    assert_eq!(Store::open(bench.options.clone(), encode).err(), Some(locked.clone()));
    assert_eq!(migrate::status(&bench.options), Err(locked.clone()));
    assert_eq!(migrate::revert(&bench.options), Err(locked.clone()));
    assert!(locked.to_string().contains(&bench.file().display().to_string()), "{locked}");
    drop(bench.reopened().await);
}

/// Proves DB-14.
async fn direct_violations_fail(bench: Bench) {
    let home = bench.home().await;
    bench.posts(&home.admin, home.general, "hi").await;
    bench.creates(&home.admin, NewRoomKind::Direct, None, &[]).await;
    for sql in [
        "INSERT INTO accounts (id, name, join_code, created_at) VALUES (2, 'x', 'x', 0)",
        "INSERT INTO accounts (id, name, join_code, created_at) VALUES (1, 'x', 'x', 0)",
        "UPDATE accounts SET name = ''",
        "UPDATE users SET role = 'king'",
        "UPDATE users SET status = 'asleep'",
        "UPDATE users SET password_hash = NULL",
        "UPDATE users SET name = NULL",
        "INSERT INTO users (name, role, email, password_hash, created_at) VALUES
         ('x', 'member', 'ann@example.org', 'h', 0)",
        "INSERT INTO users (name, role, email, password_hash, created_at) VALUES ('x', 'bot', 'x@x', 'h', 0)",
        "INSERT INTO rooms (kind, created_at) VALUES ('commons', 0)",
        "INSERT INTO rooms (kind, created_at) VALUES ('cellar', 0)",
        "INSERT INTO rooms (kind, created_at) VALUES ('open', 0)",
        "INSERT INTO rooms (kind, created_at) VALUES ('direct', 0)",
        "INSERT INTO rooms (kind, direct_key, created_at) VALUES ('direct', '1', 0)",
        "INSERT INTO rooms (kind, created_at) VALUES ('inbox', 0)",
        "INSERT INTO rooms (kind, owner_id, created_at) VALUES ('inbox', 1, 0)",
        "INSERT INTO rooms (kind, name, created_by, created_at) VALUES ('open', 'x', 999, 0)",
        "UPDATE rooms SET name = 'x' WHERE kind = 'commons'",
        "UPDATE rooms SET last_seq = -1",
        "UPDATE rooms SET deleted_at = 1, deleted_by = 1 WHERE kind = 'direct'",
        "UPDATE rooms SET deleted_at = 1 WHERE kind = 'open'",
        "INSERT INTO memberships (room_id, user_id, created_at) VALUES (1, 999, 0)",
        "INSERT INTO memberships (room_id, user_id, created_at) VALUES (999, 1, 0)",
        "INSERT INTO memberships (room_id, user_id, created_at) SELECT room_id, user_id, 0 FROM memberships",
        "INSERT INTO events (id, room_id, seq, kind, payload, at) VALUES (100, 1, 1, 'x', '', 0)",
        "INSERT INTO events (id, room_id, seq, kind, payload, at) VALUES (1, 1, 100, 'x', '', 0)",
        "INSERT INTO events (id, room_id, seq, kind, payload, at) VALUES (100, 1, 0, 'x', '', 0)",
        "INSERT INTO events (id, room_id, seq, kind, payload, at) VALUES (100, 999, 1, 'x', '', 0)",
        "INSERT INTO messages (id, room_id, seq, author_id, client_message_id, digest, body, created_at)
         SELECT 1, room_id, 1, author_id, client_message_id, digest, 'again', 0 FROM messages",
        "INSERT INTO messages (id, room_id, seq, author_id, client_message_id, digest, body, created_at)
         SELECT 999, 1, 1, author_id, client_message_id, digest, 'no event', 0 FROM messages",
        "UPDATE messages SET version = 2",
        "UPDATE messages SET body = ''",
        "UPDATE messages SET deleted_at = 1",
        "UPDATE log_head SET id = 2",
        "UPDATE log_head SET last_id = -1",
        "INSERT INTO read_marks (user_id, room_id, seq, updated_at) VALUES (1, 1, 0, 0)",
        "INSERT INTO bot_keys (user_id, key_hash, created_at) SELECT 999, digest, 0 FROM messages",
        "INSERT INTO webhooks (user_id, url, updated_at) VALUES (999, 'http://a', 0)",
        "INSERT INTO webhooks (user_id, url, updated_at) VALUES (1, '', 0)",
        "INSERT INTO outbox (event_id, topic, payload, next_attempt_at, created_at) VALUES (999, '', '', 0, 0)",
    ] {
        match bench.sql(sql) {
            Err(Error::DatabaseError(
                DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation,
                _,
            )) => {}
            // diesel's SQLite names only some kinds after a batch of statements.
            Err(error) if error.to_string().contains("constraint failed") => {}
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// Proves DB-16.
async fn migrations_go_down_and_up(bench: Bench) {
    let home = bench.home().await;
    bench.posts(&home.admin, home.general, "hi").await;
    let Bench { store, options, .. } = &bench;
    store.close().await;
    let status = migrate::status(options).unwrap();
    assert_eq!((status.pending.len(), status.differences.as_slice()), (0, [].as_slice()), "{status:?}");
    let all = status.applied;
    assert!(!all.is_empty());
    for version in all.iter().rev() {
        assert_eq!(&migrate::revert(options).unwrap(), version);
    }
    let status = migrate::status(options).unwrap();
    assert_eq!((status.applied.len(), &status.pending, status.differences), (0, &all, Vec::new()));
    assert_eq!(migrate::run(options).unwrap(), all);
    assert_eq!(migrate::run(options).unwrap(), [] as [String; 0]);
    let status = migrate::status(options).unwrap();
    assert_eq!((status.applied, status.pending, status.differences), (all, Vec::new(), Vec::new()));
    let store = super::bench::open(options);
    assert_ne!(store.epoch(), bench.store.epoch(), "another log");
    store.close().await;
}

/// Proves DB-16.
async fn drift_is_named(bench: Bench) {
    bench.store.close().await;
    let rename = if bench.is_sqlite() {
        "DROP INDEX messages_history;
         CREATE INDEX history ON messages (room_id, id) WHERE deleted_at IS NULL"
    } else {
        "ALTER INDEX messages_history RENAME TO history"
    };
    bench.sql(rename).unwrap();
    bench.sql("ALTER TABLE users ADD COLUMN shoe_size INTEGER").unwrap();
    bench.sql("CREATE TABLE leftovers (id INTEGER)").unwrap();
    let trigger = if bench.is_sqlite() { "" } else { " ON events" };
    bench.sql(&format!("DROP TRIGGER events_refuse_delete{trigger}")).unwrap();
    let differences = migrate::status(&bench.options).unwrap().differences;
    for expected in ["index messages_history", "index history", "users", "leftovers", "events_refuse_delete"]
    {
        assert!(differences.iter().any(|line| line.contains(expected)), "{expected}: {differences:#?}");
    }
}

/// Proves DB-18.
async fn history_is_read_by_index(bench: Bench) {
    let home = bench.home().await;
    for n in 0..20 {
        let room = bench.creates(&home.admin, NewRoomKind::Open, Some(&n.to_string()), &[]).await.id;
        let writes = (0..50)
            .map(|n: i32| super::bench::by(&home.admin, post(room, Uuid::new_v4(), &format!("message {n}"))));
        bench.batch(writes.collect()).await;
    }
    bench.sql("ANALYZE").unwrap();
    for (sql, index) in [
        (
            "SELECT * FROM messages INNER JOIN users ON messages.author_id = users.id WHERE room_id = 10
             AND messages.id < 900 AND deleted_at IS NULL ORDER BY messages.id DESC LIMIT 10",
            "messages_history",
        ),
        (
            "SELECT * FROM messages INNER JOIN users ON messages.author_id = users.id WHERE room_id = 10
             AND messages.id > 500 AND deleted_at IS NULL ORDER BY messages.id LIMIT 10",
            "messages_history",
        ),
        (
            "SELECT count(*) FROM messages WHERE room_id = 10 AND seq > 45 AND deleted_at IS NULL
             AND author_id <> 1",
            "messages_unread",
        ),
        (
            "SELECT * FROM events WHERE room_id = 10 AND seq > 20 AND seq <= 40 ORDER BY seq LIMIT 10",
            "events_room_id_seq",
        ),
        ("SELECT * FROM events WHERE id > 900 ORDER BY id LIMIT 10", "events_pkey"),
    ] {
        let plan = bench.plan(sql);
        let by_rowid = index == "events_pkey" && plan.contains("USING INTEGER PRIMARY KEY");
        assert!(plan.contains(index) || by_rowid, "{sql}: {plan}");
        for slow in
            ["SCAN messages", "SCAN events", "Seq Scan on messages", "Seq Scan on events", "TEMP B-TREE"]
        {
            assert!(!plan.contains(slow), "{sql}: {plan}");
        }
    }
}

async fn the_write_ahead_log_stays_bounded(bench: Bench) {
    if !bench.is_sqlite() {
        return;
    }
    let home = bench.home().await;
    bench.store.close().await;
    let limit = 256 * 1024;
    let options = StorageOptions { checkpoint_bytes: limit, ..bench.options.clone() };
    let store = super::bench::open(&options);
    let wal = bench.file().with_extension("db-wal");
    let body = "word ".repeat(500);
    let mut largest = 0;
    for _ in 0..200 {
        let writes =
            (0..10).map(|_| super::bench::by(&home.admin, post(home.general, Uuid::new_v4(), &body)));
        store.submit(writes.collect(), super::bench::NOW).unwrap().await.unwrap();
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    // One commit may go far over four times the limit, when the search index merges; the next finds it emptied.
    assert!(largest < 16 * limit, "{largest}");
    assert!(std::fs::metadata(bench.file()).unwrap().len() > 32 * limit, "copied into the database");
}

async fn health_tells_what_is_missing(bench: Bench) {
    let applied = bench.count("SELECT count(*) FROM __diesel_schema_migrations");
    bench.sql("DELETE FROM __diesel_schema_migrations").unwrap();
    let health = bench.store.health().await.unwrap();
    assert!(!health.is_ready());
    assert_eq!(i64::try_from(health.pending.len()), Ok(applied));
    assert!(health.writer_alive);
    bench.store.close().await;
    assert!(!bench.store.health().await.unwrap().writer_alive);
}

/// Proves OBS-03.
#[test]
fn an_unreachable_server_is_told_without_its_password() {
    let url = PostgresUrl::new("postgres://ann:s3cret@127.0.0.1:1/hearth");
    let options = StorageOptions {
        patience: std::time::Duration::from_millis(200),
        ..StorageOptions::new(Database::Postgres { url })
    };
    let error = Store::open(options.clone(), encode).err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!format!("{error} {error:?} {options:?}").contains("s3cret"));
}

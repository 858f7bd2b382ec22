//! A room with a million messages is read as fast as any other: by index, never from the beginning.

use super::bench::{Bench, Home};
use super::contracts;
use hearth::domain::{MessageId, RoomId, Seq};
use hearth::storage::{HistoryPage, RoomFilter};

contracts!(a_million_messages_are_read_by_index);

const MANY: i64 = 1_000_000;

/// One message of so many has the rare word; of the others, every second the common one.
const RARE: i64 = 50_000;

/// Posts behind the store's back: what it would write, in two statements.
fn fill(bench: &Bench, home: &Home, count: i64) -> i64 {
    let head = bench.count("SELECT last_id FROM log_head");
    let first = bench.count(&format!("SELECT last_seq FROM rooms WHERE id = {}", home.general));
    let (room, author) = (home.general, home.admin.id);
    let (numbers, key, digest) = if bench.is_sqlite() {
        (
            format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"),
            "CAST(printf('%016d', i) AS BLOB)",
            "zeroblob(32)",
        )
    } else {
        (
            format!("WITH n (i) AS (SELECT generate_series(1, {count}))"),
            "convert_to(lpad(i::text, 16, '0'), 'UTF8')",
            "decode(repeat('00', 32), 'hex')",
        )
    };
    // Foreign keys aren't what is asked here, nor is SQLite's search index, whose plan depends on nothing that is in it. They would
    // take most of the time.
    let quiet = if bench.is_sqlite() {
        "DROP TRIGGER messages_search_insert; PRAGMA foreign_keys = OFF;"
    } else {
        "SET session_replication_role = replica;"
    };
    // As in real text there are many words between the rare and the common: the planner guesses from them how rare the unknown is.
    let body = format!(
        "CASE WHEN i % {RARE} = 0 THEN 'rare' WHEN i % 2 = 0 THEN 'common' ELSE 'w' || (i % 997) END"
    );
    bench
        .sql(&format!(
            "{quiet}
             INSERT INTO events (id, room_id, seq, kind, actor_id, payload, at)
                 {numbers} SELECT {head} + i, {room}, {first} + i, 'message.posted', {author}, '{{}}', i FROM n;
             INSERT INTO messages (id, room_id, seq, author_id, client_message_id, digest, body, created_at)
                 {numbers} SELECT {head} + i, {room}, {first} + i, {author}, {key}, {digest}, {body}, i FROM n;
             UPDATE rooms SET last_seq = {first} + {count} WHERE id = {room};
             UPDATE log_head SET last_id = {head} + {count};
             ANALYZE"
        ))
        .unwrap();
    head + count
}

/// Proves DB-18.
async fn a_million_messages_are_read_by_index(bench: Bench) {
    let home = bench.home().await;
    let last = fill(&bench, &home, MANY);
    let (room, middle) = (home.general, last - MANY / 2);
    let sqlite = bench.is_sqlite();
    for (sql, index) in [
        (
            format!(
                "SELECT * FROM messages INNER JOIN users ON messages.author_id = users.id WHERE room_id = {room}
                 AND messages.id < {middle} AND deleted_at IS NULL ORDER BY messages.id DESC LIMIT 50"
            ),
            ["messages_history", "messages_pkey"],
        ),
        (
            format!(
                "SELECT * FROM messages INNER JOIN users ON messages.author_id = users.id WHERE room_id = {room}
                 AND messages.id > {middle} AND deleted_at IS NULL ORDER BY messages.id LIMIT 50"
            ),
            ["messages_history", "messages_pkey"],
        ),
        (
            format!("SELECT * FROM events WHERE room_id = {room} AND seq > 500000 ORDER BY seq LIMIT 50"),
            ["events_room_id_seq", "events_room_id_seq"],
        ),
        (format!("SELECT * FROM events WHERE id > {middle} ORDER BY id LIMIT 50"), ["events_pkey", "PRIMARY KEY"]),
    ] {
        let plan = bench.plan(&sql);
        assert!(index.iter().any(|index| plan.contains(index)) || (sqlite && plan.contains("PRIMARY KEY")), "{plan}");
        for slow in ["SCAN messages", "SCAN events", "Seq Scan on messages", "Seq Scan on events", "Sort", "TEMP B-TREE"] {
            assert!(!plan.contains(slow), "{sql}: {plan}");
        }
    }
    searching_asks_the_index(&bench, &home).await;
    let store = &bench.store;
    let newest = store.history(room, HistoryPage::Newest, 50).await.unwrap();
    let ids = |messages: &[hearth::storage::Message]| -> Vec<i64> {
        messages.iter().map(|message| message.id.get()).collect()
    };
    assert_eq!(ids(&newest.messages), (last - 49..=last).collect::<Vec<_>>(), "oldest first");
    let before = store.history(room, HistoryPage::Before(MessageId::new(middle)), 50).await.unwrap();
    assert_eq!(ids(&before.messages), (middle - 50..middle).collect::<Vec<_>>());
    let after = store.history(room, HistoryPage::After(MessageId::new(middle)), 50).await.unwrap();
    assert_eq!(ids(&after.messages), (middle + 1..=middle + 50).collect::<Vec<_>>());
    let events = store.room_events(room, Seq::new(500_000), 50).await.unwrap();
    assert_eq!(
        events.iter().map(|event| event.seq.get()).collect::<Vec<_>>(),
        (500_001..=500_050).collect::<Vec<_>>()
    );
    let view = store
        .room_views(&home.admin, RoomFilter { ids: Some(vec![room]), system: false }, None, 1)
        .await
        .unwrap();
    assert_eq!(view[0].card.id, RoomId::new(room.get()));
    // It goes on being written to.
    if !sqlite {
        assert_eq!(bench.posts(&home.admin, room, "the next").await.id.get(), last + 1);
    }
}

/// Neither a rare nor a common word costs a look at all messages.
async fn searching_asks_the_index(bench: &Bench, home: &Home) {
    if bench.is_sqlite() {
        // A word that half of them have: the index gives the newest first, and no more of them than are wanted.
        let plan = bench.plan(
            "SELECT messages.id FROM search INNER JOIN messages ON messages.id = search.rowid
             INNER JOIN rooms ON rooms.id = messages.room_id
             WHERE search.search = 'word' ORDER BY search.rowid DESC LIMIT 50",
        );
        assert!(plan.starts_with("SCAN search VIRTUAL TABLE") && !plan.contains("TEMP B-TREE"), "{plan}");
        return;
    }
    // Few have the rare word, and the search index knows which. Of those who have the common one the newest are wanted, so that
    // going back from the last message finds a page of them at once.
    for (word, index, most) in [
        ("rare", "Bitmap Index Scan on messages_search", MANY / RARE),
        ("common", "Index Scan Backward using messages_pkey", MANY),
    ] {
        let me = home.admin.id;
        let plan = bench.plan(&format!(
            "SELECT messages.id, body, users.name FROM messages INNER JOIN users ON users.id = messages.author_id
             INNER JOIN rooms ON rooms.id = messages.room_id
             WHERE messages.deleted_at IS NULL
             AND rooms.deleted_at IS NULL AND ((rooms.kind = 'open' OR rooms.kind = 'commons') AND TRUE OR EXISTS (
                 SELECT 1 FROM memberships WHERE memberships.room_id = rooms.id AND memberships.user_id = {me}
             ))
             AND messages.search @@ websearch_to_tsquery('pg_catalog.english', '\"{word}\"')
             ORDER BY messages.id DESC LIMIT 50"
        ));
        assert!(plan.contains(index) && !plan.contains("Seq Scan on messages"), "{plan}");
        let found = bench.store.search(&home.admin, word, 50).await.unwrap();
        assert_eq!(found.len(), usize::try_from(most.min(50)).unwrap());
        assert!(found.iter().all(|message| message.body == word), "{word}");
        assert!(found.is_sorted_by(|a, b| a.id > b.id), "the newest first");
    }
}

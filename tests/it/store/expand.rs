//! Expand and contract: what the previous release says to the database still works on this one's schema (DB-17).

use super::bench::Bench;
use super::contracts;

contracts!(the_statements_of_the_first_release_work_on_this_schema);

/// What the release with only the first migration writes and reads, as it says it. A migration that breaks one of these
/// has to wait until no such release runs any more.
const WRITES: &[&str] = &[
    "INSERT INTO users (id, name, role, email, password_hash, created_at)
     VALUES (500, 'Old', 'member', 'old@example.org', 'h', 0)",
    "INSERT INTO sessions (id, token_hash, user_id, device, created_at, last_active_at, expires_at)
     SELECT 500, digest, 500, 'x', 0, 0, 9 FROM messages LIMIT 1",
    "UPDATE sessions SET last_active_at = 1, expires_at = 10 WHERE id = 500",
    "UPDATE sessions SET revoked_at = 1 WHERE user_id = 500 AND revoked_at IS NULL",
    "INSERT INTO users (id, name, role, created_at) VALUES (501, 'Old bot', 'bot', 0)",
    "INSERT INTO bot_keys (id, user_id, key_hash, created_at) SELECT 500, 501, digest, 0 FROM messages LIMIT 1",
    "UPDATE bot_keys SET revoked_at = 1 WHERE user_id = 501 AND revoked_at IS NULL",
    "INSERT INTO rooms (id, kind, name, created_by, created_at) VALUES (500, 'closed', 'Old room', 500, 0)",
    "INSERT INTO rooms (id, kind, owner_id, created_at) VALUES (501, 'inbox', 500, 0)",
    "INSERT INTO rooms (id, kind, direct_key, created_by, created_at) VALUES (502, 'direct', '500-501', 500, 0)",
    "INSERT INTO memberships (room_id, user_id, added_by, created_at) VALUES (500, 500, 500, 0)",
    "INSERT INTO events (id, room_id, seq, kind, actor_id, payload, at)
     VALUES (5000, 500, 1, 'message.posted', 500, '{}', 0), (5001, 500, 2, 'message.edited', 500, '{}', 0)",
    "INSERT INTO messages (id, room_id, seq, author_id, client_message_id, digest, body, created_at)
     SELECT 5000, 500, 1, 500, client_message_id, digest, 'old walrus', 0 FROM messages LIMIT 1",
    "UPDATE messages SET body = 'old badger', version = 2, edited_at = 1, edited_by = 500, edit_event_id = 5001
     WHERE id = 5000",
    "UPDATE rooms SET last_seq = 2 WHERE id = 500",
    "UPDATE log_head SET last_id = 5001 WHERE id = 1",
    "INSERT INTO read_marks (user_id, room_id, seq, updated_at) VALUES (500, 500, 1, 0)",
    "UPDATE read_marks SET seq = 2, updated_at = 1 WHERE user_id = 500 AND room_id = 500",
    "INSERT INTO outbox (id, event_id, topic, payload, next_attempt_at, created_at)
     VALUES (500, 5000, 'webhook', '501', 0, 0)",
    "UPDATE outbox SET attempts = 1, lease_until = 1 WHERE id = 500",
    "DELETE FROM outbox WHERE id = 500",
    "UPDATE accounts SET name = 'Older', settings = '{}' WHERE id = 1",
    "UPDATE users SET name = 'Older', password_hash = 'i', last_seen_at = 1 WHERE id = 500",
];

/// Each gives one row.
const READS: &[&str] = &[
    "SELECT name, join_code, settings, created_at FROM accounts WHERE id = 1",
    "SELECT id, name, role, email, status, created_at FROM users WHERE email = 'old@example.org'",
    "SELECT id, token_hash, device, created_at, last_active_at, expires_at FROM sessions WHERE id = 500",
    "SELECT users.id, users.name, users.role, bot_keys.key_hash FROM bot_keys
     JOIN users ON users.id = bot_keys.user_id WHERE bot_keys.user_id = 501",
    "SELECT id, kind, name, direct_key, owner_id, created_by, created_at, last_seq, deleted_at FROM rooms
     WHERE id = 500",
    "SELECT room_id, user_id, added_by, created_at FROM memberships WHERE room_id = 500 AND user_id = 500",
    "SELECT id, room_id, seq, kind, actor_id, payload, at FROM events WHERE room_id = 500 AND seq > 1",
    "SELECT m.id, m.seq, m.client_message_id, m.body, m.version, m.created_at, m.edited_at, u.name, u.role
     FROM messages m JOIN users u ON u.id = m.author_id WHERE m.room_id = 500 AND m.deleted_at IS NULL
     ORDER BY m.id DESC LIMIT 10",
    "SELECT seq FROM read_marks WHERE user_id = 500 AND room_id = 500",
    "SELECT epoch, last_id FROM log_head WHERE id = 1 AND last_id = 5001",
];

/// Proves DB-17.
async fn the_statements_of_the_first_release_work_on_this_schema(bench: Bench) {
    let home = bench.home().await;
    bench.posts(&home.admin, home.general, "new walrus").await;
    for sql in WRITES {
        bench.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for sql in READS {
        let rows = bench.count(&format!("SELECT count(*) FROM ({sql}) AS one"));
        assert_eq!(rows, 1, "{sql}");
    }
    let search = if bench.is_sqlite() {
        "SELECT count(*) FROM messages WHERE id IN (SELECT rowid FROM search WHERE search MATCH '\"badger\"')"
    } else {
        "SELECT count(*) FROM messages WHERE search @@ websearch_to_tsquery('pg_catalog.english', 'badger')"
    };
    assert_eq!(bench.count(search), 1);
    // And this release goes on where that one stopped.
    let next = bench.posts(&home.admin, home.general, "newer walrus").await;
    assert_eq!(next.id.get(), 5002);
}

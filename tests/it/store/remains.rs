//! What is over is cleared away: to the millisecond, a few rows at a time, and nothing else.

use super::bench::{Bench, NOW};
use super::contracts;
use hearth::domain::{Role, Timestamp};
use hearth::storage::Remains;
use std::time::Duration;

contracts!(
    each_kind_goes_exactly_on_time,
    what_is_over_goes_in_small_batches,
    a_session_outlasts_its_tokens,
    used_up_invitations_go_with_their_rooms,
);

const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);

async fn clear(bench: &Bench, what: Remains, now: Timestamp, batch: usize) -> usize {
    bench.store.clear_away(what, now, KEEP, batch).await.unwrap()
}

fn left(bench: &Bench, what: Remains) -> i64 {
    bench.count(&format!("SELECT count(*) FROM {}", what.as_str()))
}

/// A digest of its own for each row.
fn hash(bench: &Bench, byte: i64) -> String {
    let digits = format!("{byte:02x}").repeat(32);
    if bench.is_sqlite() { format!("x'{digits}'") } else { format!("'\\x{digits}'") }
}

/// Rows that are over at `NOW`, each in every way there is, and one of each kind that lives.
async fn furnish(bench: &Bench) {
    let home = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await.id.get();
    let ann = home.admin.id.get();
    let (over, later) = (NOW.as_millis(), NOW.after(KEEP * 10).as_millis());
    let mut sql = String::new();
    for (n, expires, revoked) in [(1, over, None), (2, later, Some(over)), (3, later, None)] {
        let (hash, revoked) = (hash(bench, n), revoked.map_or("NULL".to_owned(), |at: i64| at.to_string()));
        let until =
            if expires == later && revoked != "NULL" { "NULL".to_owned() } else { expires.to_string() };
        sql += &format!(
            "INSERT INTO sessions (id, token_hash, user_id, device, created_at, last_active_at, expires_at, revoked_at)
             VALUES ({n}, {hash}, {bob}, '', 0, 0, {expires}, {revoked});
             INSERT INTO bot_keys (id, user_id, key_hash, created_at, expires_at, revoked_at)
             VALUES ({n}, {bob}, {hash}, 0, {until}, {revoked});
             INSERT INTO invites (id, code, role, created_by, created_at, expires_at, revoked_at)
             VALUES ({n}, 'code{n}', 'member', {ann}, 0, {until}, {revoked});
             INSERT INTO transfers (id, token_hash, user_id, created_by, kind, created_at, expires_at, used_at)
             VALUES ({n}, {hash}, {bob}, {bob}, 'device', 0, {expires}, {revoked});"
        );
    }
    for (n, expires) in [(1, over), (2, later), (3, later)] {
        let hash = hash(bench, n);
        sql += &format!(
            "INSERT INTO refresh_tokens (id, token_hash, session_id, created_at, expires_at)
             VALUES ({n}, {hash}, 3, 0, {expires});"
        );
    }
    sql += &format!(
        "INSERT INTO bans (id, user_id, banned_by, created_at, lifted_at, lifted_by) VALUES (1, {bob}, {ann}, 0, {over}, {ann});
         INSERT INTO bans (id, user_id, banned_by, created_at) VALUES (2, {bob}, {ann}, 0);
         INSERT INTO banned_addresses (ban_id, address) VALUES (1, '192.0.2.1'), (1, '192.0.2.2'), (2, '192.0.2.1');"
    );
    bench.sql(&sql).unwrap();
}

/// Proves AUTH-11.
async fn each_kind_goes_exactly_on_time(bench: Bench) {
    furnish(&bench).await;
    for (what, end, over) in [
        // A used link goes when it would have expired.
        (Remains::Transfers, NOW, 1),
        (Remains::RefreshTokens, NOW.after(KEEP), 1),
        (Remains::Sessions, NOW.after(KEEP), 2),
        (Remains::BotKeys, NOW.after(KEEP), 2),
        (Remains::Invites, NOW.after(KEEP), 2),
    ] {
        let before = left(&bench, what);
        assert_eq!(clear(&bench, what, end.before(MILLISECOND), 100).await, 0, "{what:?}");
        assert_eq!(left(&bench, what), before, "{what:?}");
        assert_eq!(clear(&bench, what, end, 100).await, over, "{what:?}");
        assert_eq!(left(&bench, what), before - i64::try_from(over).unwrap(), "{what:?}");
        assert_eq!(clear(&bench, what, end, 100).await, 0, "{what:?}");
        let living = format!("SELECT count(*) FROM {} WHERE id = 3", what.as_str());
        assert_eq!(bench.count(&living), 1, "{what:?}");
    }
    let addresses = Remains::BannedAddresses;
    assert_eq!(clear(&bench, addresses, NOW.before(MILLISECOND), 100).await, 0);
    assert_eq!(clear(&bench, addresses, NOW, 100).await, 1);
    assert_eq!(left(&bench, addresses), 1, "the living ban keeps its own");
    assert_eq!(bench.count("SELECT count(*) FROM bans"), 2, "what was done stays known");
    assert_eq!(clear(&bench, addresses, NOW, 100).await, 0);
}

/// The newest stays, over or not, until there is a newer one: numbers that the trail knows aren't given again.
///
/// Proves AUTH-11.
async fn what_is_over_goes_in_small_batches(bench: Bench) {
    bench.home().await;
    let now = NOW.as_millis();
    for n in 1..=8 {
        let hash = hash(&bench, n);
        bench
            .sql(&format!(
                "INSERT INTO transfers (id, token_hash, user_id, created_by, kind, created_at, expires_at)
                 VALUES ({n}, {hash}, 1, 1, 'device', 0, {now})"
            ))
            .unwrap();
    }
    for (cleared, rest) in [(3, 5), (3, 2), (1, 1), (0, 1)] {
        assert_eq!(clear(&bench, Remains::Transfers, NOW, 3).await, cleared);
        assert_eq!(left(&bench, Remains::Transfers), rest);
    }
    assert_eq!(bench.count("SELECT max(id) FROM transfers"), 8);
}

/// A family of tokens goes before its session, however many they are.
///
/// Proves AUTH-11.
async fn a_session_outlasts_its_tokens(bench: Bench) {
    furnish(&bench).await;
    let end = NOW.after(KEEP);
    let later = end.after(KEEP).as_millis();
    for n in 10..15 {
        let hash = hash(&bench, n);
        // Not over by themselves: their session is.
        bench
            .sql(&format!(
                "INSERT INTO refresh_tokens (id, token_hash, session_id, created_at, expires_at)
                 VALUES ({n}, {hash}, 2, 0, {later})"
            ))
            .unwrap();
    }
    assert_eq!(clear(&bench, Remains::Sessions, end, 100).await, 1, "the one without tokens");
    assert_eq!(clear(&bench, Remains::RefreshTokens, end, 4).await, 4);
    assert_eq!(clear(&bench, Remains::RefreshTokens, end, 4).await, 2);
    assert_eq!(clear(&bench, Remains::Sessions, end, 100).await, 1);
    assert_eq!((left(&bench, Remains::RefreshTokens), left(&bench, Remains::Sessions)), (2, 1));
}

/// Proves AUTH-11.
async fn used_up_invitations_go_with_their_rooms(bench: Bench) {
    let home = bench.home().await;
    // Made long ago; what counts is when it was used up, as far as that is known.
    let (general, now, long_ago) = (home.general, NOW.as_millis(), NOW.before(KEEP * 10).as_millis());
    bench
        .sql(&format!(
            "INSERT INTO invites (id, code, role, created_by, created_at, max_uses, uses, last_used_at) VALUES
                 (0, 'z', 'guest', 1, {now}, 2, 2, NULL),
                 (1, 'a', 'guest', 1, {long_ago}, 2, 2, {now}), (2, 'b', 'guest', 1, {long_ago}, 2, 1, {long_ago}),
                 (3, 'c', 'guest', 1, {long_ago}, NULL, 9, {long_ago}), (4, 'd', 'guest', 1, {long_ago}, NULL, 0, NULL);
             INSERT INTO invite_rooms (invite_id, room_id) VALUES (1, {general}), (2, {general})"
        ))
        .unwrap();
    let end = NOW.after(KEEP);
    assert_eq!(clear(&bench, Remains::Invites, end.before(MILLISECOND), 100).await, 0);
    assert_eq!(clear(&bench, Remains::Invites, end, 100).await, 2);
    assert_eq!(bench.count("SELECT count(*) FROM invites WHERE id <= 1"), 0);
    assert_eq!((left(&bench, Remains::Invites), bench.count("SELECT count(*) FROM invite_rooms")), (3, 1));
}

//! Refresh tokens: hashed, found by index, good for one pair, and given away by being shown twice.

use super::bench::{Bench, Home, NOW, accepted, kinds, refused};
use super::contracts;
use super::sessions::{change, session, trail};
use hearth::domain::command::Recorded;
use hearth::domain::{
    Ack, BegunBy, Ending, NewRefresh, NewSession, Rejection, RejectionCode, Role, Session, SessionChange,
    Timestamp, UserId, Via,
};
use hearth::storage::{SessionKey, SessionState, StoreError, Verdict, Write};
use std::sync::Arc;
use std::time::Duration;

contracts!(
    a_token_is_stored_hashed_and_found_by_index,
    a_token_gives_one_pair_and_shown_again_ends_its_session,
    two_tabs_stay_in,
    a_token_ends_with_its_time_and_its_session,
    a_token_that_is_used_all_the_time_is_stolen,
);

const OVERLAP: Duration = Duration::from_secs(10);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn next(token: u8) -> NewRefresh {
    NewRefresh { token_hash: [token; 32], lifetime: MONTH }
}

/// Signs an API client in; its refresh token is `token`.
fn sign_in(user: UserId, token: u8) -> Write {
    let new = NewSession { begun_by: BegunBy::Tokens, lifetime: MONTH, ..session(user, token) };
    change(SessionChange::Begin { new, password_hash: None, refresh: Some(next(token)) }, Via::Nobody)
}

fn refresh(shown: u8, to: u8) -> Write {
    change(SessionChange::Refresh { shown: [shown; 32], next: next(to), overlap: OVERLAP }, Via::Nobody)
}

/// One write at that moment.
async fn at(bench: &Bench, now: Timestamp, write: Write) -> Result<Verdict, StoreError> {
    bench.store.submit(vec![write], now).unwrap().await.unwrap().pop().unwrap()
}

async fn begun(bench: &Bench, write: Write) -> Arc<Session> {
    match accepted(bench.one(write).await).0 {
        Ack::SessionBegun(session) => session,
        ack => panic!("{ack:?}"),
    }
}

async fn refreshed(bench: &Bench, now: Timestamp, shown: u8, to: u8) -> Arc<Session> {
    match accepted(at(bench, now, refresh(shown, to)).await) {
        (Ack::Refreshed { session, .. }, events) => {
            assert!(events.is_empty(), "{events:?}");
            session
        }
        other => panic!("{other:?}"),
    }
}

async fn refuses(bench: &Bench, now: Timestamp, shown: u8) -> Rejection {
    refused(at(bench, now, refresh(shown, 99)).await)
}

async fn reused(bench: &Bench, now: Timestamp, shown: u8) -> Vec<Recorded> {
    match accepted(at(bench, now, refresh(shown, 99)).await) {
        (Ack::TokenReused, events) => events,
        other => panic!("{other:?}"),
    }
}

/// Proves AUTH-04.
async fn a_token_is_stored_hashed_and_found_by_index(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let family = begun(&bench, sign_in(admin.id, 1)).await;
    refreshed(&bench, NOW, 1, 2).await;
    let (user, until) = (admin.id.get(), NOW.after(MONTH).as_millis());
    let rows = |condition: &str| {
        bench.count(&format!(
            "SELECT count(*) FROM refresh_tokens INNER JOIN sessions ON sessions.id = session_id
             WHERE session_id = {} AND user_id = {user} AND refresh_tokens.expires_at = {until} AND {condition}",
            family.id
        ))
    };
    let hash = |token: u8| {
        let hex = format!("{token:02x}").repeat(32);
        if bench.is_sqlite() { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
    };
    let used = format!("used_at = {}", NOW.as_millis());
    assert_eq!(rows(&format!("refresh_tokens.token_hash = {} AND {used}", hash(1))), 1);
    assert_eq!(rows(&format!("refresh_tokens.token_hash = {} AND used_at IS NULL", hash(2))), 1, "rotated");
    let random = if bench.is_sqlite() { "randomblob(32)" } else { "sha256(n::text::bytea)" };
    let insert = format!(
        "INSERT INTO refresh_tokens (token_hash, session_id, created_at, expires_at)
         WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 5000)
         SELECT {random}, {}, 0, {until} FROM many",
        family.id
    );
    bench.sql(&insert).unwrap();
    bench.sql("ANALYZE").unwrap();
    for (sql, index) in [
        (
            format!(
                "SELECT * FROM refresh_tokens INNER JOIN sessions ON sessions.id = refresh_tokens.session_id
                 WHERE refresh_tokens.token_hash = {}",
                hash(2)
            ),
            "refresh_tokens_token_hash",
        ),
        ("DELETE FROM refresh_tokens WHERE expires_at < 7".to_owned(), "refresh_tokens_expires_at"),
    ] {
        let plan = bench.plan(&sql);
        assert!(plan.contains(index), "{sql}: {plan}");
        for slow in ["SCAN refresh_tokens", "Seq Scan on refresh_tokens"] {
            assert!(!plan.contains(slow), "{sql}: {plan}");
        }
    }
}

/// Proves AUTH-05.
async fn a_token_gives_one_pair_and_shown_again_ends_its_session(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let family = begun(&bench, sign_in(admin.id, 1)).await;
    let other = begun(&bench, sign_in(admin.id, 50)).await;
    let later = NOW.after(OVERLAP);
    let session = refreshed(&bench, NOW, 1, 2).await;
    assert_eq!(session.id, family.id);
    let session = refreshed(&bench, later, 2, 3).await;
    assert_eq!((session.id, session.expires_at), (family.id, later.after(MONTH)), "30 days from now on");
    let key = SessionKey::Id(family.id);
    let SessionState::Living(listed, _) = bench.store.session(key, later).await.unwrap() else { panic!() };
    assert_eq!(listed, *session);
    let events = reused(&bench, later, 1).await;
    assert_eq!(kinds(&events), ["session.ended"]);
    assert_eq!(bench.store.session(key, later).await.unwrap(), SessionState::Revoked);
    for token in [1, 2, 3] {
        assert_eq!(refuses(&bench, later, token).await.code, RejectionCode::TokenRevoked, "{token}");
    }
    assert_eq!(refreshed(&bench, later, 50, 51).await.id, other.id, "another client goes on");
    let target = format!("target_kind = 'session' AND target_id = {} AND actor_id = {}", family.id, admin.id);
    assert_eq!(trail(&bench, "token.reused", &format!("{target} AND address = '192.0.2.7'")), 1);
    assert_eq!(trail(&bench, "session.ended", &format!(r#"{target} AND detail = '{{"by":"reuse"}}'"#)), 1);
}

/// Proves AUTH-09.
async fn two_tabs_stay_in(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let family = begun(&bench, sign_in(admin.id, 1)).await;
    // In one batch, and at the last moment of the overlap.
    let outcome = bench.batch(vec![refresh(1, 2), refresh(1, 3)]).await;
    for verdict in outcome {
        let Ack::Refreshed { session, .. } = accepted(verdict).0 else { panic!("refreshed") };
        assert_eq!(session.id, family.id);
    }
    let last = Timestamp::from_millis(NOW.after(OVERLAP).as_millis() - 1);
    refreshed(&bench, last, 1, 4).await;
    for token in [2, 3, 4] {
        assert_eq!(refreshed(&bench, last, token, 10 + token).await.id, family.id);
    }
    assert_eq!(bench.store.sessions_of(admin.id, NOW).await.unwrap().len(), 1);
    reused(&bench, NOW.after(OVERLAP), 1).await;
}

async fn a_token_ends_with_its_time_and_its_session(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    let bob = bench.person("Bob", Role::Member).await;
    assert_eq!(refuses(&bench, NOW, 9).await.code, RejectionCode::TokenInvalid);
    begun(&bench, sign_in(admin.id, 1)).await;
    assert_eq!(refuses(&bench, NOW.after(MONTH), 1).await.code, RejectionCode::TokenExpired);
    refreshed(&bench, Timestamp::from_millis(NOW.after(MONTH).as_millis() - 1), 1, 2).await;
    let ended = begun(&bench, sign_in(admin.id, 3)).await;
    let end = SessionChange::End { user: admin.id, which: Ending::One(ended.id) };
    drop(accepted(bench.one(change(end, Via::Session(ended.id))).await));
    assert_eq!(refuses(&bench, NOW, 3).await.code, RejectionCode::TokenRevoked);
    begun(&bench, sign_in(bob.id, 4)).await;
    bench.sql("UPDATE users SET status = 'deactivated' WHERE name = 'Bob'").unwrap();
    assert_eq!(refuses(&bench, NOW, 4).await.code, RejectionCode::TokenRevoked);
}

async fn a_token_that_is_used_all_the_time_is_stolen(bench: Bench) {
    let Home { admin, .. } = bench.home().await;
    begun(&bench, sign_in(admin.id, 1)).await;
    for to in 2..52 {
        refreshed(&bench, NOW, 1, to).await;
    }
    reused(&bench, NOW, 1).await;
    assert_eq!(refuses(&bench, NOW, 51).await.code, RejectionCode::TokenRevoked);
}

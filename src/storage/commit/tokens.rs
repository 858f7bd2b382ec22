//! Refresh tokens: each is good for one pair of tokens, and showing it again gives away that somebody else has it (AUTH-05).

use super::sessions::{self, Why};
use super::tx::Tx;
use super::{Done, Halt};
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, BegunBy, Ending, NewRefresh, Rejection, RejectionCode, Session,
    SessionId, Timestamp, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{refresh_tokens, sessions as session_rows};
use diesel::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Pairs that one token gives within its overlap (count); over it, it is taken for stolen.
const MOST_PAIRS: i64 = 50;

/// A refresh token with its session.
struct Shown {
    id: i64,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    revoked: bool,
    session: Session,
}

/// A token for a session that was just begun or refreshed.
pub(super) fn insert(tx: &mut Tx<'_>, session: SessionId, new: &NewRefresh) -> Result<(), StoreError> {
    let query = diesel::insert_into(refresh_tokens::table).values((
        refresh_tokens::token_hash.eq(new.token_hash.to_vec()),
        refresh_tokens::session_id.eq(session.get()),
        refresh_tokens::created_at.eq(tx.now.as_millis()),
        refresh_tokens::expires_at.eq(tx.now.after(new.lifetime).as_millis()),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

/// Puts `next` in the place of the token that was shown. Within `overlap` of its first use it may be shown again, by another tab or by
/// whoever got no answer, and gives a pair of its own each time. After that its session ends.
pub(super) fn refresh(tx: &mut Tx<'_>, shown: &[u8; 32], next: &NewRefresh, overlap: Duration) -> Done {
    let Some(found) = find(tx, shown)? else {
        return Err(Rejection::new(RejectionCode::TokenInvalid, "this refresh token is nobody's").into());
    };
    let user = found.session.user;
    let person = if found.revoked { None } else { tx.active_person(user)? };
    let Some(person) = person else {
        return Err(Rejection::new(RejectionCode::TokenRevoked, "this session has ended").into());
    };
    if found.expires_at <= tx.now || found.session.expires_at <= tx.now {
        return Err(Rejection::new(RejectionCode::TokenExpired, "this refresh token has expired").into());
    }
    match found.used_at {
        None => {
            let query = diesel::update(refresh_tokens::table.find(found.id))
                .set(refresh_tokens::used_at.eq(tx.now.as_millis()));
            on!(&mut *tx.conn, |c| query.execute(c))?;
        }
        Some(first) if tx.now < first.after(overlap) && pairs_since(tx, &found, first)? < MOST_PAIRS => {}
        Some(_) => return give_up(tx, user, found.session.id),
    }
    insert(tx, found.session.id, next)?;
    let (now, expires_at) = (tx.now, tx.now.after(next.lifetime));
    let address = tx.origin.address.or(found.session.address);
    let query = diesel::update(session_rows::table.find(found.session.id.get())).set((
        session_rows::last_active_at.eq(now.as_millis()),
        session_rows::expires_at.eq(expires_at.as_millis()),
        session_rows::address.eq(address.map(|address| address.to_string())),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let session = Session { address, last_active_at: now, expires_at, ..found.session };
    Ok((Ack::Refreshed { session: Arc::new(session), person }, Vec::new()))
}

/// Somebody has a token that isn't theirs; who of the two, nobody can tell. The session ends for both.
fn give_up(tx: &mut Tx<'_>, user: UserId, session: SessionId) -> Done {
    let note = AuditNote::new(AuditAction::TokenReused, AuditTarget::Session(session));
    tx.audit(Some(user), &note)?;
    let (_, events) = sessions::end(tx, user, Ending::One(session), Why::Reuse)?;
    Ok((Ack::TokenReused, events))
}

fn pairs_since(tx: &mut Tx<'_>, shown: &Shown, first: Timestamp) -> Result<i64, Halt> {
    let query = refresh_tokens::table
        .filter(refresh_tokens::session_id.eq(shown.session.id.get()))
        .filter(refresh_tokens::id.gt(shown.id))
        .filter(refresh_tokens::created_at.ge(first.as_millis()))
        .count();
    Ok(on!(&mut *tx.conn, |c| query.get_result(c))?)
}

fn find(tx: &mut Tx<'_>, hash: &[u8; 32]) -> Result<Option<Shown>, StoreError> {
    type Token = (i64, i64, Option<i64>);
    type Row = (i64, i64, String, Option<String>, i64, i64, i64, Option<i64>);
    let query = refresh_tokens::table
        .inner_join(session_rows::table)
        .filter(refresh_tokens::token_hash.eq(hash.to_vec()))
        .select((
            (refresh_tokens::id, refresh_tokens::expires_at, refresh_tokens::used_at),
            (
                session_rows::id,
                session_rows::user_id,
                session_rows::device,
                session_rows::address,
                session_rows::created_at,
                session_rows::last_active_at,
                session_rows::expires_at,
                session_rows::revoked_at,
            ),
        ));
    let row: Option<(Token, Row)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(row.map(|((id, expires_at, used_at), row)| {
        let (session, user, device, address, created_at, last_active_at, ends_at, revoked_at) = row;
        Shown {
            id,
            expires_at: Timestamp::from_millis(expires_at),
            used_at: used_at.map(Timestamp::from_millis),
            revoked: revoked_at.is_some(),
            session: Session {
                id: SessionId::new(session),
                user: UserId::new(user),
                device,
                address: address.and_then(|text| text.parse().ok()),
                begun_by: BegunBy::Tokens,
                created_at: Timestamp::from_millis(created_at),
                last_active_at: Timestamp::from_millis(last_active_at),
                expires_at: Timestamp::from_millis(ends_at),
            },
        }
    }))
}

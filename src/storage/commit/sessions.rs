//! Sessions begin and end in the transaction that tells of it: the row, the user's inbox, the audit trail.

use super::tokens;
use super::tx::Tx;
use super::{Done, Halt, transfers};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, BegunBy, Ending, EventBody, NewSession, PasswordProof,
    Rejection, RejectionCode, Session, SessionChange, SessionId, TransferKind, UserId, Via,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{sessions, users};
use diesel::prelude::*;
use std::sync::Arc;

/// Characters of a device's description that are kept.
const DEVICE_CHARS: usize = 200;

/// Why a session ended, as the audit trail has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its user wanted it so.
    Asked,
    /// There is a new password.
    Password,
    /// One of its refresh tokens was shown twice.
    Reuse,
    /// The user has as many as one may have, and it wasn't used for longest.
    TooMany,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "user",
            Self::Password => "password",
            Self::Reuse => "reuse",
            Self::TooMany => "limit",
        }
    }
}

/// Carries out a change of sessions.
pub(super) fn change(tx: &mut Tx<'_>, change: &SessionChange) -> Done {
    match change {
        SessionChange::Begin { new, password_hash, refresh } => {
            if let Some(checked) = password_hash {
                must_still_be(tx, new.user, checked)?;
            }
            let (session, events) = begin(tx, new)?;
            if let Some(refresh) = refresh {
                tokens::insert(tx, session.id, refresh)?;
            }
            Ok((Ack::SessionBegun(session), events))
        }
        SessionChange::Refresh { shown, next, overlap } => tokens::refresh(tx, shown, next, *overlap),
        SessionChange::Redeem { new, link_hash } => transfers::redeem(tx, new, link_hash),
        SessionChange::End { user, which } => {
            must_live(tx)?;
            if let Ending::One(one) = which
                && !living(tx, *user)?.contains(one)
            {
                return Err(Rejection::not_found("session").into());
            }
            let (ended, events) = end(tx, *user, *which, Why::Asked)?;
            Ok((Ack::SessionsEnded(ended), events))
        }
        SessionChange::SetPassword { user, password_hash, proof, keep } => {
            must_live(tx)?;
            let by = proves(tx, *user, proof)?;
            let query = diesel::update(users::table.find(user.get()))
                .set(users::password_hash.eq(password_hash.as_str()));
            on!(&mut *tx.conn, |c| query.execute(c))?;
            let note = AuditNote::new(AuditAction::PasswordChanged, AuditTarget::User(*user));
            tx.audit(actor(tx, *user), &note.with("by", by))?;
            let (ended, events) = end(tx, *user, Ending::AllBut(*keep), Why::Password)?;
            Ok((Ack::SessionsEnded(ended), events))
        }
    }
}

/// Whether `proof` lets set the password of `user`; how, for the audit trail.
fn proves(tx: &mut Tx<'_>, user: UserId, proof: &PasswordProof) -> Result<&'static str, Halt> {
    let Some(stored) = password_of(tx, user)? else {
        return Err(Rejection::forbidden("this account has no password").into());
    };
    match proof {
        PasswordProof::Operator => Ok("operator"),
        PasswordProof::Current(checked) if *checked == stored => Ok("user"),
        PasswordProof::Current(_) => Err(refused().into()),
        PasswordProof::Recovery(within) => {
            let since = tx.now.before(*within);
            let recovered = match tx.origin.via {
                Via::Session(session) => {
                    let query = sessions::table
                        .find(session.get())
                        .filter(sessions::user_id.eq(user.get()))
                        .filter(sessions::begun_by.eq(BegunBy::Recovery.as_str()))
                        .filter(sessions::created_at.gt(since.as_millis()))
                        .select(sessions::id);
                    let found: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
                    found.is_some()
                }
                _ => false,
            };
            if recovered {
                Ok("recovery")
            } else {
                Err(Rejection::invalid("current_password", "is missing").into())
            }
        }
    }
}

/// Who does it, for the audit trail.
fn actor(tx: &Tx<'_>, user: UserId) -> Option<UserId> {
    match tx.origin.via {
        Via::Operator | Via::System => None,
        Via::Session(_) | Via::BotKey(_) | Via::Nobody => Some(user),
    }
}

fn password_of(tx: &mut Tx<'_>, user: UserId) -> Result<Option<String>, StoreError> {
    let query = users::table.find(user.get()).select(users::password_hash);
    let stored: Option<Option<String>> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(stored.flatten())
}

/// Begins a session of somebody active. The other devices hear of it, unless it is the user's first of all.
pub(super) fn begin(tx: &mut Tx<'_>, new: &NewSession) -> Result<(Arc<Session>, Vec<Recorded>), Halt> {
    if tx.active_person(new.user)?.is_none() {
        return Err(refused().into());
    }
    let living = living(tx, new.user)?;
    let excess = (living.len() + 1).saturating_sub(new.most.max(1));
    let mut events = Vec::new();
    for session in living.into_iter().take(excess) {
        events.push(end_one(tx, new.user, session, Why::TooMany)?);
    }
    // PostgreSQL takes no NUL.
    let device: String = new.device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS).collect();
    let (now, expires_at) = (tx.now, tx.now.after(new.lifetime));
    let query = diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(new.token_hash.to_vec()),
            sessions::user_id.eq(new.user.get()),
            sessions::device.eq(&device),
            sessions::begun_by.eq(new.begun_by.as_str()),
            sessions::address.eq(tx.origin.address.map(|address| address.to_string())),
            sessions::created_at.eq(now.as_millis()),
            sessions::last_active_at.eq(now.as_millis()),
            sessions::expires_at.eq(expires_at.as_millis()),
        ))
        .returning(sessions::id);
    let id: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    let session = Arc::new(Session {
        id: SessionId::new(id),
        user: new.user,
        device,
        address: tx.origin.address,
        begun_by: new.begun_by,
        created_at: now,
        last_active_at: now,
        expires_at,
    });
    let note = AuditNote::new(AuditAction::SessionBegun, AuditTarget::Session(session.id));
    tx.audit(Some(new.user), &note.with("begun_by", new.begun_by.as_str()))?;
    if !new.begun_by.is_first() {
        let inbox = tx.inbox(new.user)?;
        let begun = EventBody::SessionBegun { session: Arc::clone(&session) };
        events.push(tx.record(inbox, Some(new.user), begun)?);
    }
    Ok((session, events))
}

/// Ends sessions of `user`; gives those that lived. Each end is an event, by which the sequencer closes the session's sockets.
pub(super) fn end(
    tx: &mut Tx<'_>,
    user: UserId,
    which: Ending,
    why: Why,
) -> Result<(Vec<SessionId>, Vec<Recorded>), StoreError> {
    let mut ended = living(tx, user)?;
    ended.retain(|id| match which {
        Ending::One(one) => *id == one,
        Ending::AllBut(kept) => Some(*id) != kept,
    });
    let mut events = Vec::with_capacity(ended.len());
    for session in &ended {
        events.push(end_one(tx, user, *session, why)?);
    }
    // Whoever is sent away may have made a link while they were in. Who only leaves goes on by theirs.
    let leaves = matches!(which, Ending::One(one) if tx.origin.via == Via::Session(one));
    match why {
        Why::Password => transfers::end(tx, user, &TransferKind::ALL)?,
        _ if leaves => return Ok((ended, events)),
        _ => transfers::end(tx, user, &[TransferKind::Device])?,
    }
    transfers::end_made_by(tx, user)?;
    Ok((ended, events))
}

/// Ends all sessions of `user` without a word: for somebody who is no longer there to hear it, and whose sockets all close.
pub(super) fn revoke_all(tx: &mut Tx<'_>, user: UserId) -> Result<(), StoreError> {
    let unrevoked =
        sessions::table.filter(sessions::user_id.eq(user.get())).filter(sessions::revoked_at.is_null());
    let query = diesel::update(unrevoked).set(sessions::revoked_at.eq(tx.now.as_millis()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    transfers::end(tx, user, &TransferKind::ALL)?;
    transfers::end_made_by(tx, user)
}

fn end_one(tx: &mut Tx<'_>, user: UserId, session: SessionId, why: Why) -> Result<Recorded, StoreError> {
    let query =
        diesel::update(sessions::table.find(session.get())).set(sessions::revoked_at.eq(tx.now.as_millis()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let note = AuditNote::new(AuditAction::SessionEnded, AuditTarget::Session(session));
    let actor = actor(tx, user);
    tx.audit(actor, &note.with("by", why.as_str()))?;
    let inbox = tx.inbox(user)?;
    tx.record(inbox, actor, EventBody::SessionEnded { session })
}

/// The living sessions of a user, the one that wasn't used for longest first.
fn living(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<SessionId>, StoreError> {
    let query = sessions::table
        .filter(sessions::user_id.eq(user.get()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(tx.now.as_millis()))
        .order((sessions::last_active_at, sessions::id))
        .select(sessions::id);
    let ids: Vec<i64> = on!(&mut *tx.conn, |c| query.load(c))?;
    Ok(ids.into_iter().map(SessionId::new).collect())
}

/// Who was signed out a moment ago signs nobody else out.
pub(super) fn must_live(tx: &mut Tx<'_>) -> Result<(), Halt> {
    let Via::Session(session) = tx.origin.via else { return Ok(()) };
    let query =
        sessions::table.find(session.get()).filter(sessions::revoked_at.is_null()).select(sessions::id);
    let found: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    match found {
        Some(_) => Ok(()),
        None => Err(Rejection::new(RejectionCode::TokenRevoked, "this session has ended").into()),
    }
}

/// A password that was right before another took its place opens nothing any more.
fn must_still_be(tx: &mut Tx<'_>, user: UserId, checked: &str) -> Result<(), Halt> {
    if password_of(tx, user)?.as_deref() == Some(checked) { Ok(()) } else { Err(refused().into()) }
}

fn refused() -> Rejection {
    Rejection::new(RejectionCode::Unauthenticated, "please sign in")
}

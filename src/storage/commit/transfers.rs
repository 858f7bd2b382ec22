//! Links that sign in once are made and used up in the transaction that tells of it.

use super::tx::Tx;
use super::{Done, sessions};
use crate::domain::Status;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Command, NewSession, NewTransfer, Person, Rejection, Role,
    Subject, TransferId, TransferKind, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::transfers::usable;
use crate::storage::schema::{transfers, users};
use diesel::prelude::*;

/// Makes a link in the place of an older one of the same user and kind: whoever makes another has lost the first, or doesn't trust it any more.
/// So nobody has more than one of each kind.
pub(super) fn create(tx: &mut Tx<'_>, actor: &Person, command: &Command, new: &NewTransfer) -> Done {
    sessions::must_live(tx)?;
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let query = users::table.find(new.user.get()).select((users::role, users::status));
    let found: Option<(String, String)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let Some((role, status)) = found else { return Err(Rejection::not_found("user").into()) };
    match new.kind {
        TransferKind::Device if new.user != actor.id => {
            return Err(Rejection::forbidden("one takes only oneself to another device").into());
        }
        // Or an admin's computer that was left alone would be enough to set the admin's password.
        TransferKind::Recovery if new.user == actor.id => {
            return Err(
                Rejection::forbidden("another admin, or the command line, lets an admin back in").into()
            );
        }
        TransferKind::Device | TransferKind::Recovery => {}
    }
    if matches!(Role::parse(&role), None | Some(Role::Bot | Role::Assistant)) {
        return Err(Rejection::forbidden("only people sign in by a link").into());
    }
    if status != Status::Active.as_str() {
        return Err(Rejection::forbidden("this user is deactivated or banned").into());
    }
    let expires_at = tx.now.after(new.lifetime);
    let query = diesel::insert_into(transfers::table)
        .values((
            transfers::token_hash.eq(new.token_hash.as_slice()),
            transfers::user_id.eq(new.user.get()),
            transfers::created_by.eq(actor.id.get()),
            transfers::kind.eq(new.kind.as_str()),
            transfers::created_at.eq(tx.now.as_millis()),
            transfers::expires_at.eq(expires_at.as_millis()),
        ))
        .returning(transfers::id);
    let id: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    // After the new one, so that it can't get a number that the audit trail knows as another's.
    let older = transfers::table
        .filter(transfers::user_id.eq(new.user.get()))
        .filter(transfers::kind.eq(new.kind.as_str()))
        .filter(transfers::id.ne(id));
    let query = diesel::delete(older);
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let note = AuditNote::new(AuditAction::TransferCreated, AuditTarget::Transfer(TransferId::new(id)))
        .with("kind", new.kind.as_str())
        .with("for", new.user.to_string());
    tx.audit(Some(actor.id), &note)?;
    Ok((Ack::TransferCreated { expires_at }, Vec::new()))
}

/// Begins `new` by the link of that token, which is used up with it: whoever comes second in the order of commit finds it so.
pub(super) fn redeem(tx: &mut Tx<'_>, new: &NewSession, link_hash: &[u8; 32]) -> Done {
    let link = usable(tx.conn, link_hash, tx.now)?
        .filter(|link| link.user.id == new.user && link.kind.begun_by() == new.begun_by);
    let Some(link) = link else { return Err(Rejection::gone("link").into()) };
    let (session, events) = sessions::begin(tx, new)?;
    let query =
        diesel::update(transfers::table.find(link.id.get())).set(transfers::used_at.eq(tx.now.as_millis()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let note = AuditNote::new(AuditAction::TransferRedeemed, AuditTarget::Transfer(link.id))
        .with("kind", link.kind.as_str())
        .with("session", session.id.to_string());
    tx.audit(Some(new.user), &note)?;
    Ok((Ack::SessionBegun(session), events))
}

/// Ends the links back in that `admin` made for others and that aren't used yet: whoever isn't trusted any more, or whose sessions
/// are, may have made one to come back as somebody else.
pub(super) fn end_made_by(tx: &mut Tx<'_>, admin: UserId) -> Result<(), StoreError> {
    let now = tx.now.as_millis();
    let unused = transfers::table
        .filter(transfers::created_by.eq(admin.get()))
        .filter(transfers::kind.eq(TransferKind::Recovery.as_str()))
        .filter(transfers::used_at.is_null())
        .filter(transfers::expires_at.gt(now));
    let query = diesel::update(unused).set(transfers::expires_at.eq(now));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

/// Ends the links of `user` that aren't used yet: they are as good as expired.
pub(super) fn end(tx: &mut Tx<'_>, user: UserId, kinds: &[TransferKind]) -> Result<(), StoreError> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let now = tx.now.as_millis();
    let unused = transfers::table
        .filter(transfers::user_id.eq(user.get()))
        .filter(transfers::kind.eq_any(kinds))
        .filter(transfers::used_at.is_null())
        .filter(transfers::expires_at.gt(now));
    let query = diesel::update(unused).set(transfers::expires_at.eq(now));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

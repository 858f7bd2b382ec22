//! Links that sign in once are made and used up in the transaction that tells of it.

use super::Done;
use super::tx::Tx;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Command, NewTransfer, Person, Rejection, Role, Subject,
    TransferId, TransferKind,
};
use crate::storage::conn::on;
use crate::storage::queries::people::Status;
use crate::storage::schema::{transfers, users};
use diesel::prelude::*;

/// Makes a link in the place of an older one of the same user and kind: whoever makes another has lost the first, or doesn't trust it any more.
/// So nobody has more than one of each kind.
pub(super) fn create(tx: &mut Tx<'_>, actor: &Person, command: &Command, new: &NewTransfer) -> Done {
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

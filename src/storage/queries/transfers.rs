//! Links that sign in once, as those who open them see them.

use super::audit;
use super::people::{PersonRow, person};
use crate::domain::{
    AuditAction, AuditNote, AuditTarget, Origin, Person, Status, Timestamp, TransferId, TransferKind, UserId,
};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{transfers, users};
use diesel::prelude::*;

/// A link that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub id: TransferId,
    /// Who is signed in by it.
    pub user: Person,
    pub kind: TransferKind,
    pub expires_at: Timestamp,
}

impl Store {
    /// The link of a token, if it can still be used: not used yet, not expired, of an active user. One that another took the place of, or
    /// that was cleared away, is as much over as these.
    pub async fn transfer(
        &self,
        token_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<Transfer>, StoreError> {
        self.read(move |conn| usable(conn, &token_hash, now)).await
    }

    /// Writes to the audit trail that the link of that token let nobody in any more.
    pub async fn note_refused_link(
        &self,
        token_hash: [u8; 32],
        origin: Origin,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |conn| {
            let query = transfers::table.filter(transfers::token_hash.eq(token_hash.as_slice())).select((
                transfers::id,
                transfers::user_id,
                transfers::used_at,
            ));
            let row: Option<(i64, i64, Option<i64>)> = on!(&mut *conn, |c| query.first(c)).optional()?;
            let note = match row {
                Some((id, user, used_at)) => {
                    let target = AuditTarget::Transfer(TransferId::new(id));
                    AuditNote::new(AuditAction::TransferRefused, target)
                        .with("reason", if used_at.is_some() { "used" } else { "over" })
                        .with("for", UserId::new(user).to_string())
                }
                // Another took its place, or it was cleared away.
                None => AuditNote::bare(AuditAction::TransferRefused).with("reason", "over"),
            };
            audit::insert(conn, None, origin, &note, now)
        })
        .await
    }
}

/// The link of a token, if it can be used at `now`.
pub(in crate::storage) fn usable(
    conn: &mut Conn,
    token_hash: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Transfer>, StoreError> {
    let query = transfers::table
        .inner_join(users::table.on(users::id.eq(transfers::user_id)))
        .filter(transfers::token_hash.eq(token_hash.as_slice()))
        .filter(transfers::used_at.is_null())
        .filter(transfers::expires_at.gt(now.as_millis()))
        .filter(users::status.eq(Status::Active.as_str()))
        .select((
            transfers::id,
            transfers::kind,
            transfers::expires_at,
            (users::id, users::name, users::role),
        ));
    let row: Option<(i64, String, i64, PersonRow)> = on!(conn, |c| query.first(c)).optional()?;
    let Some((id, kind, expires_at, user)) = row else { return Ok(None) };
    let kind = TransferKind::parse(&kind).ok_or_else(|| StoreError::nonsense("transfers.kind", kind))?;
    Ok(Some(Transfer {
        id: TransferId::new(id),
        user: person(user)?,
        kind,
        expires_at: Timestamp::from_millis(expires_at),
    }))
}

//! Which key signs, for the audit trail: the key itself is never here.

use super::audit::insert;
use crate::domain::{AuditAction, AuditNote, Origin, Timestamp};
use crate::storage::Store;
use crate::storage::commit::once::wait_in_line;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::audit;
use diesel::prelude::*;
use serde_json::Value;

impl Store {
    /// Writes to the audit trail that the key of that id signs from now on, unless that is what the trail says last; so it may be told
    /// again, at each start and by each node.
    pub async fn note_signing_key(&self, id: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |conn| {
            wait_in_line(conn)?;
            let query = audit::table
                .filter(audit::action.eq(AuditAction::SigningKeyRotated.as_str()))
                .order((audit::at.desc(), audit::id.desc()))
                .select(audit::detail);
            let last: Option<String> = on!(&mut *conn, |c| query.first(c)).optional()?;
            let before = last.and_then(|detail| {
                let detail: Value = serde_json::from_str(&detail).ok()?;
                detail.get("to")?.as_str().map(str::to_owned)
            });
            if before.as_ref() == Some(&id) {
                return Ok(());
            }
            let note = AuditNote::bare(AuditAction::SigningKeyRotated);
            let note = match before {
                Some(before) => note.with("from", before),
                None => note,
            };
            insert(conn, None, Origin::SYSTEM, &note.with("to", id), now)
        })
        .await
    }
}

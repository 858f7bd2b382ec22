//! The audit trail: written with what it tells of, never changed (AUD-02).

use crate::domain::{AuditNote, AuditTarget, Origin, RoomId, Timestamp, UserId};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::audit;
use diesel::prelude::*;
use serde_json::{Map, Value};

/// Writes what `actor` did, in the transaction that does it.
pub(in crate::storage) fn insert(
    conn: &mut Conn,
    actor: Option<UserId>,
    origin: Origin,
    note: &AuditNote,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail: Map<String, Value> =
        note.detail.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
    let query = diesel::insert_into(audit::table).values((
        audit::at.eq(now.as_millis()),
        audit::actor_id.eq(actor.map(UserId::get)),
        audit::via.eq(origin.via.as_str()),
        audit::credential_id.eq(origin.via.credential()),
        audit::action.eq(note.action.as_str()),
        audit::target_kind.eq(note.target.map(AuditTarget::kind)),
        audit::target_id.eq(note.target.map(AuditTarget::id)),
        audit::room_id.eq(note.room.map(RoomId::get)),
        audit::address.eq(origin.address.map(|address| address.to_string())),
        audit::detail.eq(Value::Object(detail).to_string()),
    ));
    on!(conn, |c| query.execute(c))?;
    Ok(())
}

//! The audit trail: written with what it tells of, never changed (AUD-02).

use crate::domain::{AuditNote, AuditTarget, Origin, RoomId, Timestamp, UserId};
use crate::storage::conn::Conn;
use crate::storage::error::StoreError;
use crate::storage::schema::audit;
use diesel::prelude::*;
use serde_json::{Map, Value};

/// Rows per statement: PostgreSQL takes at most 65,535 parameters.
const CHUNK: usize = 1000;

/// An entry to be written.
#[derive(Insertable)]
#[diesel(table_name = audit, treat_none_as_default_value = false)]
pub(in crate::storage) struct NewRow {
    at: i64,
    actor_id: Option<i64>,
    via: &'static str,
    credential_id: Option<i64>,
    action: &'static str,
    target_kind: Option<&'static str>,
    target_id: Option<i64>,
    room_id: Option<i64>,
    address: Option<String>,
    detail: String,
}

impl NewRow {
    /// What `actor` did.
    pub(in crate::storage) fn new(
        actor: Option<UserId>,
        origin: Origin,
        note: &AuditNote,
        now: Timestamp,
    ) -> Self {
        let detail: Map<String, Value> = note
            .detail
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
            .collect();
        Self {
            at: now.as_millis(),
            actor_id: actor.map(UserId::get),
            via: origin.via.as_str(),
            credential_id: origin.via.credential(),
            action: note.action.as_str(),
            target_kind: note.target.map(AuditTarget::kind),
            target_id: note.target.map(AuditTarget::id),
            room_id: note.room.map(RoomId::get),
            address: origin.address.map(|address| address.to_string()),
            detail: Value::Object(detail).to_string(),
        }
    }
}

/// Writes what `actor` did, in the transaction that does it.
pub(in crate::storage) fn insert(
    conn: &mut Conn,
    actor: Option<UserId>,
    origin: Origin,
    note: &AuditNote,
    now: Timestamp,
) -> Result<(), StoreError> {
    insert_all(conn, &[NewRow::new(actor, origin, note, now)])
}

/// Writes many: one by one on SQLite, which keeps the statement, in few statements on PostgreSQL, which is far away.
pub(in crate::storage) fn insert_all(conn: &mut Conn, rows: &[NewRow]) -> Result<(), StoreError> {
    match conn {
        Conn::Pg(c) => {
            for chunk in rows.chunks(CHUNK) {
                diesel::insert_into(audit::table).values(chunk).execute(c)?;
            }
        }
        Conn::Sqlite(c) => {
            for row in rows {
                diesel::insert_into(audit::table).values(row).execute(c)?;
            }
        }
    }
    Ok(())
}

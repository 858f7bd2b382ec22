//! Many rows at once. SQLite is called row by row, which costs it no journey and lets it keep the statement;
//! PostgreSQL gets them in few statements.

use super::tx::{EventRow, MessageRow, Original, OriginalRow, PostKey};
use crate::domain::{RoomId, UserId};
use crate::storage::conn::Conn;
use crate::storage::error::StoreError;
use crate::storage::schema::{events, messages, rooms};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary};
use diesel::{PgConnection, sql_query};
use std::collections::HashMap;
use uuid::Uuid;

/// Rows per statement: PostgreSQL takes at most 65,535 parameters.
const CHUNK: usize = 1000;

pub(super) fn insert_events(conn: &mut Conn, rows: &[EventRow<'_>]) -> Result<(), StoreError> {
    match conn {
        Conn::Pg(c) => {
            for chunk in rows.chunks(CHUNK) {
                diesel::insert_into(events::table).values(chunk).execute(c)?;
            }
        }
        Conn::Sqlite(c) => {
            for row in rows {
                diesel::insert_into(events::table).values(row).execute(c)?;
            }
        }
    }
    Ok(())
}

pub(super) fn insert_messages(conn: &mut Conn, rows: &[MessageRow<'_>]) -> Result<(), StoreError> {
    match (conn, rows) {
        // One is the normal case of a calm server, and its statement stays prepared.
        (Conn::Sqlite(c), [row]) => {
            diesel::insert_into(messages::table).values(row).execute(c)?;
        }
        // Each statement makes the search index write a segment of its own: many rows share one.
        (Conn::Sqlite(c), rows) => {
            for chunk in rows.chunks(CHUNK) {
                diesel::insert_into(messages::table).values(chunk).execute(c)?;
            }
        }
        (Conn::Pg(c), rows) => {
            for chunk in rows.chunks(CHUNK) {
                diesel::insert_into(messages::table).values(chunk).execute(c)?;
            }
        }
    }
    Ok(())
}

/// Writes `rooms.last_seq` of (room, seq).
pub(super) fn update_heads(conn: &mut Conn, heads: &[(i64, i64)]) -> Result<(), StoreError> {
    match conn {
        Conn::Pg(c) => {
            let (ids, seqs): (Vec<i64>, Vec<i64>) = heads.iter().copied().unzip();
            sql_query(
                "UPDATE rooms SET last_seq = heads.seq FROM unnest($1, $2) AS heads (id, seq)
                 WHERE rooms.id = heads.id",
            )
            .bind::<Array<BigInt>, _>(ids)
            .bind::<Array<BigInt>, _>(seqs)
            .execute(c)?;
        }
        Conn::Sqlite(c) => {
            for (id, seq) in heads {
                diesel::update(rooms::table.find(id)).set(rooms::last_seq.eq(seq)).execute(c)?;
            }
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    room_id: i64,
    #[diesel(sql_type = BigInt)]
    author_id: i64,
    #[diesel(sql_type = Binary)]
    client_message_id: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
}

/// Looks up all `keys`; those not found are there with `None`.
pub(super) fn originals(
    conn: &mut PgConnection,
    keys: &[PostKey],
) -> Result<HashMap<PostKey, Option<Original>>, StoreError> {
    let rooms: Vec<i64> = keys.iter().map(|(room, _, _)| room.get()).collect();
    let authors: Vec<i64> = keys.iter().map(|(_, author, _)| author.get()).collect();
    let ids: Vec<&[u8]> = keys.iter().map(|(_, _, id)| id.as_bytes().as_slice()).collect();
    let rows: Vec<Found> = sql_query(
        "SELECT m.room_id, m.author_id, m.client_message_id, m.id, m.seq, m.created_at, m.digest
         FROM unnest($1, $2, $3) AS keys (room_id, author_id, client_message_id)
         JOIN messages m USING (room_id, author_id, client_message_id)",
    )
    .bind::<Array<BigInt>, _>(rooms)
    .bind::<Array<BigInt>, _>(authors)
    .bind::<Array<Binary>, _>(ids)
    .load(conn)?;
    let mut originals: HashMap<PostKey, Option<Original>> = keys.iter().map(|key| (*key, None)).collect();
    for row in rows {
        let id = Uuid::from_slice(&row.client_message_id)
            .map_err(|error| StoreError::nonsense("client_message_id", error))?;
        let key = (RoomId::new(row.room_id), UserId::new(row.author_id), id);
        let row: OriginalRow = (row.id, row.seq, row.created_at, row.digest);
        originals.insert(key, Some(row.try_into()?));
    }
    Ok(originals)
}

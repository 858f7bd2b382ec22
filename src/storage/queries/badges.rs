//! How a room stands for several of its readers, in one statement.

use crate::domain::{Badge, RoomId, Seq, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{read_marks, users};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

/// Readers asked for at once: a statement takes a bounded number of parameters.
const READERS: usize = 1_000;

impl Store {
    /// Where each of `readers` stands in `room`: head, mark and count of each belong together.
    pub async fn badges(
        &self,
        room: RoomId,
        readers: Vec<UserId>,
    ) -> Result<Vec<(UserId, Badge)>, StoreError> {
        self.read(move |conn| {
            let mut found = Vec::with_capacity(readers.len());
            for some in readers.chunks(READERS) {
                found.extend(badges(conn, room, some)?);
            }
            Ok(found)
        })
        .await
    }
}

fn badges(conn: &mut Conn, room: RoomId, readers: &[UserId]) -> Result<Vec<(UserId, Badge)>, StoreError> {
    let head =
        sql::<BigInt>("(SELECT last_seq FROM rooms WHERE id = ").bind::<BigInt, _>(room.get()).sql(")");
    let unread = sql::<BigInt>("(SELECT count(*) FROM messages WHERE messages.room_id = ")
        .bind::<BigInt, _>(room.get())
        .sql(
            " AND messages.seq > coalesce(read_marks.seq, 0) AND messages.deleted_at IS NULL \
             AND messages.author_id <> users.id)",
        );
    let mark = read_marks::user_id.eq(users::id).and(read_marks::room_id.eq(room.get()));
    let ids: Vec<i64> = readers.iter().map(|reader| reader.get()).collect();
    let query = users::table.left_join(read_marks::table.on(mark)).filter(users::id.eq_any(ids)).select((
        users::id,
        head,
        read_marks::seq.nullable(),
        unread,
    ));
    let rows: Vec<(i64, i64, Option<i64>, i64)> = on!(conn, |c| query.load(c))?;
    Ok(rows
        .into_iter()
        .map(|(reader, head, read, unread)| {
            let (head, read) = (Seq::new(head), Seq::new(read.unwrap_or_default()));
            (UserId::new(reader), Badge { head, read, unread })
        })
        .collect())
}

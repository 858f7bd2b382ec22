//! How far somebody has read: monotonic, and heard on their other devices.

use super::Done;
use super::tx::Tx;
use crate::domain::{
    Ack, Command, EventBody, Person, Rejection, Role, RoomId, RoomKind, Seq, Subject, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::rooms as room_queries;
use crate::storage::schema::{read_marks, rooms};
use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

/// Moves the mark forward, never back; says how many messages are left.
pub(super) fn mark(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId, seq: Seq) -> Done {
    tx.decide(room, actor, command, None, &Subject::Unknown)?;
    if seq < Seq::default() || seq > tx.room(room)?.head {
        return Err(Rejection::invalid("seq", "is not in this room").into());
    }
    tx.flush()?;
    let query = read_marks::table.find((actor.id.get(), room.get())).select(read_marks::seq);
    let found: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let before = Seq::new(found.unwrap_or_default());
    let mut events = Vec::new();
    if seq > before {
        write(tx, actor.id, room, seq)?;
        let inbox = tx.inbox(actor.id)?;
        events.push(tx.record(inbox, Some(actor.id), EventBody::ReadMarked { room, read: seq })?);
    }
    let read = seq.max(before);
    let unread = room_queries::unread(tx.conn, room, actor.id, read)?;
    Ok((Ack::Read { room, read, unread }, events))
}

/// Whoever comes new has nothing to catch up on: the open rooms count as read up to their heads.
pub(super) fn begin(tx: &mut Tx<'_>, newcomer: &Person) -> Result<(), StoreError> {
    if newcomer.role == Role::Guest {
        return Ok(());
    }
    // What this batch recorded so far was said before, too.
    tx.write_heads()?;
    let open = rooms::table
        .filter(rooms::kind.eq(RoomKind::Open.as_str()))
        .filter(rooms::deleted_at.is_null())
        // A room has a head once its first event is written.
        .filter(rooms::last_seq.gt(0))
        // A guest who becomes a member may have read in some of them.
        .filter(not(exists(
            read_marks::table
                .filter(read_marks::room_id.eq(rooms::id))
                .filter(read_marks::user_id.eq(newcomer.id.get())),
        )))
        .select((
            newcomer.id.get().into_sql::<BigInt>(),
            rooms::id,
            rooms::last_seq,
            tx.now.as_millis().into_sql::<BigInt>(),
        ));
    let query = open.insert_into(read_marks::table).into_columns((
        read_marks::user_id,
        read_marks::room_id,
        read_marks::seq,
        read_marks::updated_at,
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

/// Whoever is added to a room starts with what is said from then on.
pub(super) fn catch_up(tx: &mut Tx<'_>, newcomer: UserId, room: RoomId) -> Result<(), StoreError> {
    let head = tx.room(room)?.head;
    write(tx, newcomer, room, head)
}

fn write(tx: &mut Tx<'_>, reader: UserId, room: RoomId, seq: Seq) -> Result<(), StoreError> {
    let query = diesel::insert_into(read_marks::table)
        .values((
            read_marks::user_id.eq(reader.get()),
            read_marks::room_id.eq(room.get()),
            read_marks::seq.eq(seq.get()),
            read_marks::updated_at.eq(tx.now.as_millis()),
        ))
        .on_conflict((read_marks::user_id, read_marks::room_id))
        .do_update()
        .set((read_marks::seq.eq(seq.get()), read_marks::updated_at.eq(tx.now.as_millis())));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

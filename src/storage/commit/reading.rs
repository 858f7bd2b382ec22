//! How far somebody has read: monotonic, and heard on their other devices.

use super::Done;
use super::tx::Tx;
use crate::domain::{Ack, Command, EventBody, Person, Rejection, RoomId, Seq, Subject};
use crate::storage::conn::on;
use crate::storage::queries::rooms as room_queries;
use crate::storage::schema::read_marks;
use diesel::prelude::*;

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
        let query = diesel::insert_into(read_marks::table)
            .values((
                read_marks::user_id.eq(actor.id.get()),
                read_marks::room_id.eq(room.get()),
                read_marks::seq.eq(seq.get()),
                read_marks::updated_at.eq(tx.now.as_millis()),
            ))
            .on_conflict((read_marks::user_id, read_marks::room_id))
            .do_update()
            .set((read_marks::seq.eq(seq.get()), read_marks::updated_at.eq(tx.now.as_millis())));
        on!(&mut *tx.conn, |c| query.execute(c))?;
        let inbox = tx.inbox(actor.id)?;
        events.push(tx.record(inbox, Some(actor.id), EventBody::ReadMarked { room, read: seq })?);
    }
    let read = seq.max(before);
    let unread = room_queries::unread(tx.conn, room, actor.id, read)?;
    Ok((Ack::Read { room, read, unread }, events))
}

//! What a message causes outside, written in its own transaction (DB-09).

use super::tx::Tx;
use crate::domain::webhook::mentioned;
use crate::domain::{EventId, Person, Role, RoomId, RoomKind, UserId};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::queries::outbox::{NEVER, WEBHOOK};
use crate::storage::schema::{memberships, outbox, users, webhooks};
use diesel::prelude::*;
use std::sync::Arc;

/// A bot with a webhook.
pub(super) type Hooked = (UserId, Arc<str>);

/// Something to be delivered once the event is committed.
pub(super) struct Delivery {
    pub(super) event: EventId,
    pub(super) bot: UserId,
}

/// Notes who is to be told of a new message: in a direct room all its bots, elsewhere those that are members and
/// mentioned. What bots and assistants say tells nobody: no loop can begin.
pub(super) fn announce(
    tx: &mut Tx<'_>,
    author: &Person,
    room: RoomId,
    event: EventId,
    body: &str,
) -> Result<(), StoreError> {
    if !tx.has_webhooks || matches!(author.role, Role::Bot | Role::Assistant) {
        return Ok(());
    }
    let kind = tx.room(room)?.kind;
    let bots = hooked(tx)?;
    let mut told: Vec<UserId> = if kind == RoomKind::Direct {
        bots.iter().map(|(bot, _)| *bot).collect()
    } else {
        let names: Vec<&str> = bots.iter().map(|(_, name)| &**name).collect();
        mentioned(body, &names).into_iter().filter_map(|at| Some(bots.get(at)?.0)).collect()
    };
    if !told.is_empty() && kind != RoomKind::Open {
        let ids: Vec<i64> = told.iter().map(|bot| bot.get()).collect();
        let query = memberships::table
            .filter(memberships::room_id.eq(room.get()))
            .filter(memberships::user_id.eq_any(ids))
            .select(memberships::user_id);
        let members: Vec<i64> = on!(&mut *tx.conn, |c| query.load(c))?;
        told.retain(|bot| members.contains(&bot.get()));
    }
    tx.deliveries.extend(told.into_iter().map(|bot| Delivery { event, bot }));
    Ok(())
}

/// The active bots with a webhook, read once per batch.
fn hooked(tx: &mut Tx<'_>) -> Result<Arc<[Hooked]>, StoreError> {
    if let Some(known) = &tx.hooked {
        return Ok(Arc::clone(known));
    }
    let query = webhooks::table
        .inner_join(users::table)
        .filter(users::status.eq("active"))
        .order(users::id)
        .select((users::id, users::name));
    let rows: Vec<(i64, String)> = on!(&mut *tx.conn, |c| query.load(c))?;
    let found: Arc<[Hooked]> = rows.into_iter().map(|(id, name)| (UserId::new(id), name.into())).collect();
    tx.hooked = Some(Arc::clone(&found));
    Ok(found)
}

#[derive(Insertable)]
#[diesel(table_name = outbox)]
struct Row {
    event_id: i64,
    topic: &'static str,
    payload: String,
    next_attempt_at: i64,
    created_at: i64,
    dead_at: Option<i64>,
    last_error: Option<&'static str>,
}

/// Inserts what is to be delivered. Over `most` that wait, it is a dead letter at once: no message is refused for it.
pub(super) fn insert(
    conn: &mut Conn,
    deliveries: &[Delivery],
    now: i64,
    most: usize,
) -> Result<(), StoreError> {
    if deliveries.is_empty() {
        return Ok(());
    }
    let query = outbox::table.filter(outbox::dead_at.is_null()).count();
    let waiting: i64 = on!(&mut *conn, |c| query.get_result(c))?;
    let free = most.saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
    if deliveries.len() > free {
        tracing::warn!(waiting, most, "the outbox is full; webhooks become dead letters");
    }
    let rows: Vec<Row> = deliveries
        .iter()
        .enumerate()
        .map(|(at, delivery)| {
            let is_dead = at >= free;
            Row {
                event_id: delivery.event.get(),
                topic: WEBHOOK,
                payload: delivery.bot.to_string(),
                next_attempt_at: if is_dead { NEVER } else { now },
                created_at: now,
                dead_at: is_dead.then_some(now),
                last_error: is_dead.then_some("the outbox was full"),
            }
        })
        .collect();
    match conn {
        Conn::Pg(c) => {
            // PostgreSQL takes at most 65,535 parameters.
            for chunk in rows.chunks(1000) {
                diesel::insert_into(outbox::table).values(chunk).execute(c)?;
            }
        }
        Conn::Sqlite(c) => {
            for row in &rows {
                diesel::insert_into(outbox::table).values(row).execute(c)?;
            }
        }
    }
    Ok(())
}

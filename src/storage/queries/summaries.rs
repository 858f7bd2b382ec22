//! Summaries of rooms, and where there is something to sum up. What knows a message goes with it: none that is here has to be hidden.

use super::limited;
use crate::domain::{MessageId, Role, RoomId, RunId, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{assistants, messages, runs, summaries, users};
use diesel::dsl::{exists, max, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool};

/// What was said from one message to another, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub id: i64,
    pub start: MessageId,
    pub end: MessageId,
    pub run: RunId,
    pub assistant: UserId,
    pub body: String,
    /// It is about all that was said up to its end.
    pub whole: bool,
    pub created_at: Timestamp,
}

type Row = (i64, i64, i64, i64, i64, String, bool, i64);

impl From<Row> for Summary {
    fn from((id, start, end, run, assistant, body, whole, created_at): Row) -> Self {
        Self {
            id,
            start: MessageId::new(start),
            end: MessageId::new(end),
            run: RunId::new(run),
            assistant: UserId::new(assistant),
            body,
            whole,
            created_at: Timestamp::from_millis(created_at),
        }
    }
}

/// Rooms in which something was said lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Talk {
    pub rooms: Vec<RoomId>,
    /// The last message that was looked at.
    pub until: MessageId,
}

#[derive(QueryableByName)]
struct Said {
    #[diesel(sql_type = BigInt)]
    room_id: i64,
    #[diesel(sql_type = BigInt)]
    last_id: i64,
}

/// Whether a message is one that summaries are about: not one of them itself, nor an answer of which nothing came.
pub(in crate::storage) fn is_heard() -> SqlLiteral<Bool> {
    sql::<Bool>(
        "NOT EXISTS (SELECT 1 FROM runs told WHERE told.message_id = messages.id
                     AND (told.kind = 'summary' OR told.state IN ('failed', 'cancelled')))",
    )
}

/// Whether a person asked an assistant something in a room since its address leads to whom it leads now.
pub(in crate::storage) fn was_asked(
    conn: &mut Conn,
    room: RoomId,
    assistant: UserId,
) -> Result<bool, StoreError> {
    let programs = [Role::Bot.as_str(), Role::Assistant.as_str()];
    let asked = runs::table
        .inner_join(users::table.on(runs::asker_id.eq(users::id.nullable())))
        .inner_join(assistants::table.on(assistants::user_id.eq(runs::assistant_id)))
        .filter(runs::room_id.eq(room.get()))
        .filter(runs::assistant_id.eq(assistant.get()))
        .filter(users::role.ne_all(programs))
        .filter(runs::created_at.gt(assistants::base_url_changed_at))
        .order(runs::id.desc())
        .select(runs::id);
    let last: Option<i64> = on!(conn, |c| asked.first(c)).optional()?;
    Ok(last.is_some())
}

/// The summaries of a room, with their columns.
macro_rules! kept {
    ($room:expr) => {
        summaries::table
            .inner_join(runs::table.on(runs::id.eq(summaries::run_id)))
            .filter(summaries::room_id.eq($room.get()))
            .select((
                summaries::id,
                summaries::start_id,
                summaries::end_id,
                summaries::run_id,
                runs::assistant_id,
                summaries::body,
                summaries::whole,
                summaries::created_at,
            ))
    };
}

impl Store {
    /// Summaries of a room before `before`, the latest first.
    pub async fn summaries(
        &self,
        room: RoomId,
        before: i64,
        limit: usize,
    ) -> Result<Vec<Summary>, StoreError> {
        self.read(move |conn| {
            let query = kept!(room)
                .filter(summaries::id.lt(before))
                .order(summaries::id.desc())
                .limit(limited(limit));
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            Ok(rows.into_iter().map(Summary::from).collect())
        })
        .await
    }

    /// The summary of everything that reaches furthest, but ends before `before`.
    pub async fn summary_until(
        &self,
        room: RoomId,
        before: MessageId,
    ) -> Result<Option<Summary>, StoreError> {
        self.read(move |conn| {
            let query = kept!(room)
                .filter(summaries::whole.eq(true))
                .filter(summaries::end_id.lt(before.get()))
                .order(summaries::end_id.desc());
            let row: Option<Row> = on!(conn, |c| query.first(c)).optional()?;
            Ok(row.map(Summary::from))
        })
        .await
    }

    /// Up to which message a room is summed up.
    pub async fn summed_up_until(&self, room: RoomId) -> Result<MessageId, StoreError> {
        self.read(move |conn| {
            let query = summaries::table
                .filter(summaries::room_id.eq(room.get()))
                .filter(summaries::whole.eq(true))
                .select(max(summaries::end_id));
            let end: Option<i64> = on!(conn, |c| query.first(c))?;
            Ok(MessageId::new(end.unwrap_or_default()))
        })
        .await
    }

    /// Whether a person asked an assistant something in a room since its address leads to whom it leads now.
    pub async fn was_asked(&self, room: RoomId, assistant: UserId) -> Result<bool, StoreError> {
        self.read(move |conn| was_asked(conn, room, assistant)).await
    }

    /// Whether anything stands in a room between these two.
    pub async fn is_said_between(
        &self,
        room: RoomId,
        after: MessageId,
        before: MessageId,
    ) -> Result<bool, StoreError> {
        self.read(move |conn| {
            let between = messages::table
                .filter(messages::room_id.eq(room.get()))
                .filter(messages::id.gt(after.get()))
                .filter(messages::id.lt(before.get()))
                .filter(messages::deleted_at.is_null())
                .filter(is_heard());
            let query = diesel::select(exists(between));
            Ok(on!(conn, |c| query.get_result(c))?)
        })
        .await
    }

    /// Rooms that still are in which something was said after `after`: of the next `limit` messages.
    pub async fn talked_in(&self, after: MessageId, limit: usize) -> Result<Talk, StoreError> {
        self.read(move |conn: &mut Conn| {
            let query = sql_query(
                "SELECT m.room_id AS room_id, MAX(m.id) AS last_id
                 FROM (SELECT id, room_id FROM messages WHERE id > $1 ORDER BY id LIMIT $2) m
                 JOIN rooms r ON r.id = m.room_id AND r.deleted_at IS NULL
                 GROUP BY m.room_id",
            )
            .bind::<BigInt, _>(after.get())
            .bind::<BigInt, _>(limited(limit));
            let said: Vec<Said> = on!(&mut *conn, |c| query.load(c))?;
            let until = messages::table
                .filter(messages::id.gt(after.get()))
                .order(messages::id)
                .offset(limited(limit.saturating_sub(1)))
                .select(messages::id);
            // A page that isn't full ends with the last there is.
            let until: Option<i64> = on!(conn, |c| until.first(c)).optional()?;
            let last = said.iter().map(|said| said.last_id).max();
            let until = until.or(last).unwrap_or_else(|| after.get());
            let rooms = said.into_iter().map(|said| RoomId::new(said.room_id)).collect();
            Ok(Talk { rooms, until: MessageId::new(until) })
        })
        .await
    }
}

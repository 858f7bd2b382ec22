//! Messages and pages of history. Deleted ones are in no answer.

use super::limited;
use super::people::{PersonRow, person};
use super::rooms::readable;
use super::runs::{self, Run};
use crate::domain::{MessageId, Person, Role, RoomId, Seq, Timestamp};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{messages, rooms, users};
use diesel::prelude::*;
use uuid::Uuid;

/// A message as it stands, with its author's current name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub room: RoomId,
    pub seq: Seq,
    pub author: Person,
    pub client_message_id: Uuid,
    pub body: String,
    pub version: i32,
    pub at: Timestamp,
    pub edited_at: Option<Timestamp>,
    /// The run whose answer it is, if it is an assistant's.
    pub run: Option<Box<Run>>,
}

/// Which part of a room's history. The id named is a place; its message need not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryPage {
    /// The last ones.
    Newest,
    /// Those just before it, without it.
    Before(MessageId),
    /// Those just after it, without it.
    After(MessageId),
    /// It and its neighbours, half before and half after.
    Around(MessageId),
}

/// Messages, oldest first, and whether there are more in the page's direction (`Around`: before it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pub messages: Vec<Message>,
    pub more: bool,
}

impl Store {
    /// A page of a room's history.
    pub async fn history(&self, room: RoomId, page: HistoryPage, limit: usize) -> Result<Page, StoreError> {
        self.read(move |conn| {
            let mut found = match page {
                HistoryPage::Newest => before(conn, room, MessageId::new(i64::MAX), limit),
                HistoryPage::Before(id) => before(conn, room, id, limit),
                HistoryPage::After(id) => after(conn, room, id, limit),
                HistoryPage::Around(id) => {
                    let older = before(conn, room, id, limit / 2)?;
                    let next = MessageId::new(id.get().saturating_sub(1));
                    let mut messages = older.messages;
                    messages.extend(after(conn, room, next, limit.saturating_sub(limit / 2))?.messages);
                    Ok(Page { messages, more: older.more })
                }
            }?;
            with_runs(conn, &mut found.messages)?;
            Ok(found)
        })
        .await
    }

    /// One message, if it isn't deleted, nor its room.
    pub async fn message(&self, message: MessageId) -> Result<Option<Message>, StoreError> {
        self.read(move |conn| {
            let query = messages::table
                .inner_join(users::table)
                .inner_join(rooms::table)
                .filter(messages::id.eq(message.get()))
                .filter(messages::deleted_at.is_null())
                .filter(rooms::deleted_at.is_null())
                .select(COLUMNS);
            let row: Option<Row> = on!(conn, |c| query.first(c)).optional()?;
            let mut found: Vec<Message> = row.into_iter().map(Message::try_from).collect::<Result<_, _>>()?;
            with_runs(conn, &mut found)?;
            Ok(found.pop())
        })
        .await
    }

    /// The room of a message, deleted or not, if `person` may read it.
    pub async fn room_of_message(
        &self,
        person: &Person,
        message: MessageId,
    ) -> Result<Option<RoomId>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let query = messages::table
                .inner_join(rooms::table)
                .filter(messages::id.eq(message.get()))
                .filter(readable!(person))
                .select(messages::room_id);
            let room: Option<i64> = on!(conn, |c| query.first(c)).optional()?;
            Ok(room.map(RoomId::new))
        })
        .await
    }
}

/// Puts the runs to the messages of assistants. Without any it asks nothing.
pub(super) fn with_runs(conn: &mut Conn, messages: &mut [Message]) -> Result<(), StoreError> {
    let theirs = messages.iter().filter(|message| message.author.role == Role::Assistant);
    let ids: Vec<i64> = theirs.map(|message| message.id.get()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut runs = runs::of_messages(conn, &ids)?;
    for message in messages {
        message.run = runs.remove(&message.id.get()).map(Box::new);
    }
    Ok(())
}

fn before(conn: &mut Conn, room: RoomId, id: MessageId, limit: usize) -> Result<Page, StoreError> {
    let query = messages::table
        .inner_join(users::table)
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::id.lt(id.get()))
        .filter(messages::deleted_at.is_null())
        .order(messages::id.desc())
        .limit(limited(limit.saturating_add(1)))
        .select(COLUMNS);
    let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
    let mut page = page(rows, limit)?;
    page.messages.reverse();
    Ok(page)
}

fn after(conn: &mut Conn, room: RoomId, id: MessageId, limit: usize) -> Result<Page, StoreError> {
    let query = messages::table
        .inner_join(users::table)
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::id.gt(id.get()))
        .filter(messages::deleted_at.is_null())
        .order(messages::id.asc())
        .limit(limited(limit.saturating_add(1)))
        .select(COLUMNS);
    let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
    page(rows, limit)
}

/// One row too many was asked for, to see whether there are more.
fn page(rows: Vec<Row>, limit: usize) -> Result<Page, StoreError> {
    let more = rows.len() > limit;
    let messages = rows.into_iter().take(limit).map(Message::try_from).collect::<Result<_, _>>()?;
    Ok(Page { messages, more })
}

/// The columns of a [`Row`].
pub(super) type Columns = (
    messages::id,
    messages::room_id,
    messages::seq,
    (users::id, users::name, users::role),
    messages::client_message_id,
    messages::body,
    messages::version,
    messages::created_at,
    messages::edited_at,
);

/// The columns of a [`Row`].
pub(super) const COLUMNS: Columns = (
    messages::id,
    messages::room_id,
    messages::seq,
    (users::id, users::name, users::role),
    messages::client_message_id,
    messages::body,
    messages::version,
    messages::created_at,
    messages::edited_at,
);

pub(super) type Row = (i64, i64, i64, PersonRow, Vec<u8>, String, i32, i64, Option<i64>);

impl TryFrom<Row> for Message {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let (id, room, seq, author, client_message_id, body, version, at, edited_at) = row;
        let client_message_id = Uuid::from_slice(&client_message_id)
            .map_err(|error| StoreError::nonsense("messages.client_message_id", error))?;
        Ok(Self {
            id: MessageId::new(id),
            room: RoomId::new(room),
            seq: Seq::new(seq),
            author: person(author)?,
            client_message_id,
            body,
            version,
            at: Timestamp::from_millis(at),
            edited_at: edited_at.map(Timestamp::from_millis),
            run: None,
        })
    }
}

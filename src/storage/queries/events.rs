//! The log: its head, a room's part of it, and one reader's part of it.

use super::limited;
use super::rooms::readable;
use crate::domain::{Epoch, EventId, Person, RoomId, Seq, Timestamp};
use crate::storage::Store;
use crate::storage::cache::Cache;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{events, log_head, rooms};
use diesel::prelude::*;
use uuid::Uuid;

/// Which log this is, and its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    pub epoch: Epoch,
    pub last_id: EventId,
}

/// An event as it was written; `kind` and `payload` are the wire's `type` and `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub id: EventId,
    pub room: RoomId,
    pub seq: Seq,
    pub at: Timestamp,
    pub kind: String,
    /// JSON text.
    pub payload: String,
}

impl Store {
    /// The log's name and its last event, as readers see it.
    pub async fn log_head(&self) -> Result<LogHead, StoreError> {
        let epoch = self.epoch();
        self.read(move |conn| {
            let query = log_head::table.find(1).select(log_head::last_id);
            let last_id: i64 = on!(conn, |c| query.first(c))?;
            Ok(LogHead { epoch, last_id: EventId::new(last_id) })
        })
        .await
    }

    /// The same as of the last commit that was answered: a reader may see the next one already, so this is where to go on from and
    /// nothing to judge a position by.
    pub async fn answered_head(&self) -> Result<LogHead, StoreError> {
        match self.cache().and_then(Cache::last_id) {
            Some(last_id) => Ok(LogHead { epoch: self.epoch(), last_id }),
            None => self.log_head().await,
        }
    }

    /// Events of a room after `after`, in order.
    pub async fn room_events(
        &self,
        room: RoomId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |conn| room_events(conn, room, after, Seq::new(i64::MAX), limit)).await
    }

    /// Events of a room after `after` up to and with `upto`, in order.
    pub async fn room_events_between(
        &self,
        room: RoomId,
        after: Seq,
        upto: Seq,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |conn| room_events(conn, room, after, upto, usize::MAX)).await
    }

    /// Events after `after` of all rooms that `person` may read, in the order of the log.
    pub async fn events_for(
        &self,
        person: &Person,
        after: EventId,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let query = events::table
                .inner_join(rooms::table)
                .filter(events::id.gt(after.get()))
                .filter(readable!(person))
                .order(events::id)
                .limit(limited(limit))
                .select(COLUMNS);
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            Ok(rows.into_iter().map(StoredEvent::from).collect())
        })
        .await
    }
}

/// Names the log if it has no name yet.
pub(in crate::storage) fn begin_log(conn: &mut Conn) -> Result<Epoch, StoreError> {
    let query = diesel::insert_into(log_head::table)
        .values((
            log_head::id.eq(1),
            log_head::epoch.eq(Uuid::new_v4().as_bytes().as_slice().to_vec()),
            log_head::last_id.eq(0),
        ))
        .on_conflict_do_nothing();
    on!(&mut *conn, |c| query.execute(c))?;
    let query = log_head::table.find(1).select(log_head::epoch);
    let epoch: Vec<u8> = on!(conn, |c| query.first(c))?;
    let epoch = Uuid::from_slice(&epoch).map_err(|error| StoreError::nonsense("log_head.epoch", error))?;
    Ok(Epoch(epoch))
}

fn room_events(
    conn: &mut Conn,
    room: RoomId,
    after: Seq,
    upto: Seq,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let query = events::table
        .filter(events::room_id.eq(room.get()))
        .filter(events::seq.gt(after.get()))
        .filter(events::seq.le(upto.get()))
        .order(events::seq)
        .limit(limited(limit))
        .select(COLUMNS);
    let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
    Ok(rows.into_iter().map(StoredEvent::from).collect())
}

type Columns = (events::id, events::room_id, events::seq, events::at, events::kind, events::payload);
const COLUMNS: Columns =
    (events::id, events::room_id, events::seq, events::at, events::kind, events::payload);
type Row = (i64, i64, i64, i64, String, String);

impl From<Row> for StoredEvent {
    fn from((id, room, seq, at, kind, payload): Row) -> Self {
        Self {
            id: EventId::new(id),
            room: RoomId::new(room),
            seq: Seq::new(seq),
            at: Timestamp::from_millis(at),
            kind,
            payload,
        }
    }
}

//! Rooms, who is in them, and how much of them is unread.

use super::limited;
use super::people::{PersonRow, person};
use crate::domain::{Members, Person, Room, RoomCard, RoomId, RoomKind, Seq, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::cache::{Cache, Known};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{memberships, messages, read_marks, rooms, users};
use diesel::define_sql_function;
use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};
use std::collections::HashMap;
use std::sync::Arc;

/// Which rooms of those one may read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomFilter {
    /// Only these.
    pub ids: Option<Vec<RoomId>>,
    /// The inbox and the commons too.
    pub system: bool,
}

/// A room as one of its readers sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// With the members if it is a direct room.
    pub card: RoomCard,
    pub head: Seq,
    /// How far the reader has read.
    pub read: Seq,
    /// Messages of others after that, deleted ones apart.
    pub unread: i64,
}

define_sql_function! {
    /// The number, or the other one if there is none.
    fn coalesce(number: Nullable<BigInt>, other: BigInt) -> BigInt;
}

/// Whether a row of `rooms` is there for `$person` to read, as a diesel condition. Always the same text, so that statements with it
/// stay prepared.
macro_rules! readable {
    ($person:expr) => {
        $crate::storage::schema::rooms::deleted_at.is_null().and(
            $crate::storage::queries::rooms::is_for_all()
                .and(diesel::IntoSql::into_sql::<diesel::sql_types::Bool>(
                    $person.role != $crate::domain::Role::Guest,
                ))
                .or(diesel::dsl::exists(
                    $crate::storage::schema::memberships::table
                        .filter(
                            $crate::storage::schema::memberships::room_id
                                .eq($crate::storage::schema::rooms::id),
                        )
                        .filter($crate::storage::schema::memberships::user_id.eq($person.id.get())),
                )),
        )
    };
}
pub(super) use readable;

impl Store {
    /// The room with all explicit members, deleted or not, to decide on.
    pub async fn load_room(&self, room: RoomId) -> Result<Option<Room>, StoreError> {
        self.read(move |conn| {
            let query = rooms::table.find(room.get()).select(ROOM_COLUMNS);
            let row: Option<RoomRow> = on!(&mut *conn, |c| query.first(c)).optional()?;
            let Some(mut loaded) = row.map(room_from).transpose()? else { return Ok(None) };
            let query =
                memberships::table.filter(memberships::room_id.eq(room.get())).select(memberships::user_id);
            let ids: Vec<i64> = on!(conn, |c| query.load(c))?;
            loaded.members = Members(ids.into_iter().map(UserId::new).collect());
            Ok(Some(loaded))
        })
        .await
    }

    /// The commons; none before the first run.
    pub async fn commons(&self) -> Result<Option<RoomId>, StoreError> {
        if let Some(commons) = self.inner.commons.get() {
            return Ok(Some(*commons));
        }
        let found = self.read(commons).await?;
        // It never changes once it is there.
        Ok(found.map(|commons| *self.inner.commons.get_or_init(|| commons)))
    }

    /// Rooms that `person` may read, by id, from the one after `after` on.
    pub async fn room_views(
        &self,
        person: &Person,
        filter: RoomFilter,
        after: Option<RoomId>,
        limit: usize,
    ) -> Result<Vec<RoomView>, StoreError> {
        let person = person.clone();
        self.read(move |conn| views(conn, &person, &filter, after, limit)).await
    }

    /// All rooms that `person` may read, by id: `limit` of them at most, but in any case the inbox and the commons, by which one
    /// learns of the others.
    pub async fn standing(&self, person: &Person, limit: usize) -> Result<Arc<[RoomView]>, StoreError> {
        // The stamp first: a change after it makes what is read before or after it void.
        let stamp = self.cache().map(Cache::rooms);
        let known = self.cache().map_or(Known::Nothing, |cache| cache.standing(person));
        let all = RoomFilter { ids: None, system: true };
        let rooms: Arc<[RoomView]> = match known {
            Known::But(rooms, moved) if moved.is_empty() => return Ok(rooms),
            Known::But(rooms, moved) => {
                let filter = RoomFilter { ids: Some(moved), ..all };
                let mut anew = self.room_views(person, filter, None, limit).await?.into_iter().peekable();
                let merge = |view: &RoomView| match anew.next_if(|new| new.card.id == view.card.id) {
                    Some(new) => new,
                    None => view.clone(),
                };
                rooms.iter().map(merge).collect()
            }
            Known::Nothing => {
                let rooms = self.room_views(person, all, None, limit).await?;
                let is_short = rooms.len() >= limit;
                if is_short { self.with_system_rooms(person, rooms).await?.into() } else { rooms.into() }
            }
        };
        if let (Some(cache), Some(stamp), true) = (self.cache(), stamp, rooms.len() < limit) {
            cache.keep_standing(person, stamp, Arc::clone(&rooms));
        }
        Ok(rooms)
    }

    /// The same rooms, the inbox and the commons in place of the last.
    async fn with_system_rooms(
        &self,
        person: &Person,
        rooms: Vec<RoomView>,
    ) -> Result<Vec<RoomView>, StoreError> {
        let (me, limit) = (person.id.get(), rooms.len());
        let ids = self.read(move |conn| {
            let mine = rooms::kind.eq(RoomKind::Commons.as_str()).or(rooms::owner_id.eq(me));
            let query = rooms::table.filter(mine).select(rooms::id);
            let ids: Vec<i64> = on!(conn, |c| query.load(c))?;
            Ok(ids.into_iter().map(RoomId::new).collect())
        });
        let filter = RoomFilter { ids: Some(ids.await?), system: true };
        let mut first = self.room_views(person, filter, None, limit).await?;
        first.extend(rooms.into_iter().filter(|view| !view.card.kind.is_system()));
        first.truncate(limit);
        Ok(first)
    }

    /// Who was added to the room by name, active or not, by id. Rooms for all have nobody but guests here.
    pub async fn members(&self, room: RoomId) -> Result<Vec<Person>, StoreError> {
        self.read(move |conn| Ok(members_of(conn, &[room.get()])?.remove(&room).unwrap_or_default())).await
    }

    /// The head of a room that `person` may read; none too when there is no such room.
    pub async fn readable_head(&self, person: &Person, room: RoomId) -> Result<Option<Seq>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let query = rooms::table.find(room.get()).filter(readable!(person)).select(rooms::last_seq);
            let head: Option<i64> = on!(conn, |c| query.first(c)).optional()?;
            Ok(head.map(Seq::new))
        })
        .await
    }

    /// All rooms `person` may read, inbox and commons included, by id.
    pub async fn readable_room_ids(&self, person: &Person) -> Result<Vec<RoomId>, StoreError> {
        let person = person.clone();
        self.read(move |conn| {
            let query = rooms::table.filter(readable!(person)).order(rooms::id).select(rooms::id);
            let ids: Vec<i64> = on!(conn, |c| query.load(c))?;
            Ok(ids.into_iter().map(RoomId::new).collect())
        })
        .await
    }
}

/// The columns of a [`RoomRow`].
pub(in crate::storage) type RoomColumns = (
    rooms::id,
    rooms::kind,
    rooms::name,
    rooms::created_by,
    rooms::created_at,
    rooms::deleted_at,
    rooms::last_seq,
);

/// The columns of a [`RoomRow`].
pub(in crate::storage) const ROOM_COLUMNS: RoomColumns = (
    rooms::id,
    rooms::kind,
    rooms::name,
    rooms::created_by,
    rooms::created_at,
    rooms::deleted_at,
    rooms::last_seq,
);

pub(in crate::storage) type RoomRow = (i64, String, Option<String>, Option<i64>, i64, Option<i64>, i64);

/// The room of a row, without members.
pub(in crate::storage) fn room_from(row: RoomRow) -> Result<Room, StoreError> {
    let (id, kind, name, created_by, created_at, deleted_at, last_seq) = row;
    Ok(Room {
        id: RoomId::new(id),
        kind: RoomKind::parse(&kind).ok_or_else(|| StoreError::nonsense("rooms.kind", kind))?,
        name: name.map(Into::into),
        created_by: created_by.map(UserId::new),
        created_at: Timestamp::from_millis(created_at),
        deleted: deleted_at.is_some(),
        head: Seq::new(last_seq),
        members: Members::default(),
    })
}

/// The commons; none before the first run.
pub(in crate::storage) fn commons(conn: &mut Conn) -> Result<Option<RoomId>, StoreError> {
    let query = rooms::table.filter(rooms::kind.eq(RoomKind::Commons.as_str())).select(rooms::id);
    let found: Option<i64> = on!(conn, |c| query.first(c)).optional()?;
    Ok(found.map(RoomId::new))
}

/// The direct room with that key, with its members.
pub(in crate::storage) fn direct(conn: &mut Conn, key: &str) -> Result<Option<RoomCard>, StoreError> {
    let query = rooms::table.filter(rooms::direct_key.eq(key)).select(ROOM_COLUMNS);
    let row: Option<RoomRow> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some(room) = row.map(room_from).transpose()? else { return Ok(None) };
    let members = members_of(conn, &[room.id.get()])?.remove(&room.id).unwrap_or_default();
    Ok(Some(card(room, members)))
}

/// Messages of others after `read`, deleted ones apart.
pub(in crate::storage) fn unread(
    conn: &mut Conn,
    room: RoomId,
    reader: UserId,
    read: Seq,
) -> Result<i64, StoreError> {
    let query = messages::table
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::seq.gt(read.get()))
        .filter(messages::deleted_at.is_null())
        .filter(messages::author_id.ne(reader.get()))
        .count();
    Ok(on!(conn, |c| query.get_result(c))?)
}

/// [`RoomKind::is_for_all`] of a row.
#[diesel::dsl::auto_type]
pub(super) fn is_for_all() -> _ {
    let (open, commons): (&'static str, &'static str) = (RoomKind::Open.as_str(), RoomKind::Commons.as_str());
    rooms::kind.eq(open).or(rooms::kind.eq(commons))
}

fn card(room: Room, members: Vec<Person>) -> RoomCard {
    RoomCard {
        id: room.id,
        kind: room.kind,
        name: room.name,
        created_by: room.created_by,
        created_at: room.created_at,
        members,
    }
}

fn views(
    conn: &mut Conn,
    person: &Person,
    filter: &RoomFilter,
    after: Option<RoomId>,
    limit: usize,
) -> Result<Vec<RoomView>, StoreError> {
    // The reader's own mark and count, per room: as one statement, because a server is a journey away.
    let unread = messages::table
        .filter(messages::room_id.eq(rooms::id))
        .filter(messages::seq.gt(coalesce(read_marks::seq.nullable(), 0)))
        .filter(messages::deleted_at.is_null())
        .filter(messages::author_id.ne(person.id.get()))
        .select(count_star())
        .single_value();
    let mine = read_marks::room_id.eq(rooms::id).and(read_marks::user_id.eq(person.id.get()));
    let (inbox, commons) = (RoomKind::Inbox.as_str(), RoomKind::Commons.as_str());
    let wanted = filter.system.into_sql::<Bool>().or(rooms::kind.ne(inbox).and(rooms::kind.ne(commons)));
    let query = rooms::table
        .left_join(read_marks::table.on(mine))
        .filter(readable!(person))
        .filter(wanted)
        .filter(rooms::id.gt(after.unwrap_or_default().get()))
        .order(rooms::id)
        .limit(limited(limit))
        .select((ROOM_COLUMNS, read_marks::seq.nullable(), unread));
    let rows: Vec<(RoomRow, Option<i64>, Option<i64>)> = match &filter.ids {
        None => on!(&mut *conn, |c| query.load(c))?,
        Some(ids) => {
            let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
            on!(&mut *conn, |c| query.filter(rooms::id.eq_any(ids)).load(c))?
        }
    };
    let direct: Vec<i64> = rows
        .iter()
        .filter(|((_, kind, ..), ..)| kind == RoomKind::Direct.as_str())
        .map(|((id, ..), ..)| *id)
        .collect();
    let mut members = members_of(conn, &direct)?;
    rows.into_iter()
        .map(|(row, read, unread)| {
            let room = room_from(row)?;
            let members = members.remove(&room.id).unwrap_or_default();
            let (head, read) = (room.head, Seq::new(read.unwrap_or_default()));
            Ok(RoomView { card: card(room, members), head, read, unread: unread.unwrap_or_default() })
        })
        .collect()
}

fn members_of(conn: &mut Conn, ids: &[i64]) -> Result<HashMap<RoomId, Vec<Person>>, StoreError> {
    let mut members: HashMap<RoomId, Vec<Person>> = HashMap::new();
    if ids.is_empty() {
        return Ok(members);
    }
    let query = memberships::table
        .inner_join(users::table.on(users::id.eq(memberships::user_id)))
        .filter(memberships::room_id.eq_any(ids))
        .order((memberships::room_id, memberships::user_id))
        .select((memberships::room_id, (users::id, users::name, users::role)));
    let rows: Vec<(i64, PersonRow)> = on!(conn, |c| query.load(c))?;
    for (room, row) in rows {
        members.entry(RoomId::new(room)).or_default().push(person(row)?);
    }
    Ok(members)
}

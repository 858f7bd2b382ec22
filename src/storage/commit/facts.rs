//! What a batch knows of people and rooms: loaded once, kept current by the batch's own events.

use super::Write;
use crate::domain::{Person, Role, Room, RoomId, RoomKind, UserId};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::queries::people::{PersonRow, person};
use crate::storage::queries::rooms::{self as room_queries, RoomRow, room_from};
use crate::storage::schema::{memberships, rooms, users};
use diesel::PgConnection;
use diesel::prelude::*;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// Inboxes one statement asks for (count), well below what a statement of SQLite may bind.
const INBOXES: usize = 500;

/// Rows as of this transaction. Rooms hold only the members that were asked for.
#[derive(Default)]
pub(super) struct Facts {
    /// Active people; `None` was looked up and is nobody, or not active.
    people: HashMap<UserId, Option<Person>>,
    rooms: HashMap<RoomId, Option<Room>>,
    /// Memberships that were looked up.
    asked: HashSet<(RoomId, UserId)>,
    commons: Option<RoomId>,
    inboxes: HashMap<UserId, RoomId>,
}

impl Facts {
    /// The user as the store has them, if active.
    pub(super) fn active_person(
        &mut self,
        conn: &mut Conn,
        user: UserId,
    ) -> Result<Option<Person>, StoreError> {
        if let Some(known) = self.people.get(&user) {
            return Ok(known.clone());
        }
        let query = users::table.find(user.get()).filter(users::status.eq("active")).select((
            users::id,
            users::name,
            users::role,
        ));
        let row: Option<PersonRow> = on!(conn, |c| query.first(c)).optional()?;
        let found = row.map(person).transpose()?;
        self.people.insert(user, found.clone());
        Ok(found)
    }

    /// Takes over a person as this batch left them.
    pub(super) fn put_person(&mut self, person: Person) {
        self.people.insert(person.id, Some(person));
    }

    /// This batch sent somebody away.
    pub(super) fn forget_person(&mut self, user: UserId) {
        self.people.insert(user, None);
    }

    /// The room, deleted or not, with those members that were asked for.
    pub(super) fn room(&mut self, conn: &mut Conn, room: RoomId) -> Result<Option<&mut Room>, StoreError> {
        let known = match self.rooms.entry(room) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let query = rooms::table.find(room.get()).select(room_queries::ROOM_COLUMNS);
                let row: Option<RoomRow> = on!(conn, |c| query.first(c)).optional()?;
                unknown.insert(row.map(room_from).transpose()?)
            }
        };
        Ok(known.as_mut())
    }

    /// Takes over a room that this batch made, with all its members.
    pub(super) fn put_room(&mut self, room: Room) {
        self.asked.extend(room.members.0.iter().map(|user| (room.id, *user)));
        self.rooms.insert(room.id, Some(room));
    }

    /// Makes the room know whether `user` was added to it by name.
    pub(super) fn load_membership(
        &mut self,
        conn: &mut Conn,
        room: RoomId,
        user: UserId,
    ) -> Result<(), StoreError> {
        if !self.asked.insert((room, user)) {
            return Ok(());
        }
        // Nearly every post goes to an open room, where only guests have rows.
        let needs_row = match self.people.get(&user) {
            Some(Some(person)) => person.role == Role::Guest,
            _ => true,
        };
        if !needs_row && self.room(conn, room)?.is_some_and(|room| room.kind.is_for_all()) {
            return Ok(());
        }
        let query = memberships::table.find((room.get(), user.get())).select(memberships::user_id);
        let found: Option<i64> = on!(&mut *conn, |c| query.first(c)).optional()?;
        if found.is_some()
            && let Some(room) = self.room(conn, room)?
        {
            room.members.0.insert(user);
        }
        Ok(())
    }

    /// The one commons.
    pub(super) fn commons(&mut self, conn: &mut Conn) -> Result<RoomId, StoreError> {
        if let Some(commons) = self.commons {
            return Ok(commons);
        }
        let found = room_queries::commons(conn)?;
        let commons = found.ok_or_else(|| StoreError::Corrupt("there is no commons".to_owned()))?;
        self.commons = Some(commons);
        Ok(commons)
    }

    /// The inbox of `user`.
    pub(super) fn inbox(&mut self, conn: &mut Conn, user: UserId) -> Result<RoomId, StoreError> {
        if let Some(inbox) = self.inboxes.get(&user) {
            return Ok(*inbox);
        }
        let query = rooms::table
            .filter(rooms::owner_id.eq(user.get()))
            .filter(rooms::kind.eq(RoomKind::Inbox.as_str()))
            .select(rooms::id);
        let found: Option<i64> = on!(conn, |c| query.first(c)).optional()?;
        let inbox = found.ok_or_else(|| StoreError::nonsense("no inbox for user", user))?;
        self.inboxes.insert(user, RoomId::new(inbox));
        Ok(RoomId::new(inbox))
    }

    /// Loads the inboxes of `users` that aren't known yet.
    pub(super) fn load_inboxes(&mut self, conn: &mut Conn, users: &[UserId]) -> Result<(), StoreError> {
        let unknown: Vec<i64> =
            users.iter().filter(|user| !self.inboxes.contains_key(user)).map(|user| user.get()).collect();
        for some in unknown.chunks(INBOXES) {
            let query = rooms::table
                .filter(rooms::owner_id.eq_any(some))
                .filter(rooms::kind.eq(RoomKind::Inbox.as_str()))
                .select((rooms::owner_id, room_queries::ROOM_COLUMNS));
            let found: Vec<(Option<i64>, RoomRow)> = on!(&mut *conn, |c| query.load(c))?;
            for (owner, row) in found {
                let room = room_from(row)?;
                if let Some(owner) = owner {
                    self.inboxes.insert(UserId::new(owner), room.id);
                }
                // What this batch knows already is newer.
                self.rooms.entry(room.id).or_insert(Some(room));
            }
        }
        Ok(())
    }

    /// Loads the actors and rooms of a batch with one statement each.
    pub(super) fn preload(&mut self, conn: &mut PgConnection, writes: &[Write]) -> Result<(), StoreError> {
        let mut actors = HashSet::new();
        let mut named = HashSet::new();
        for write in writes {
            if let Write::Command { by, command } = write {
                actors.insert(by.person.id.get());
                named.extend(command.room().map(RoomId::get));
            }
        }
        let found: Vec<PersonRow> = users::table
            .filter(users::id.eq_any(&actors))
            .filter(users::status.eq("active"))
            .select((users::id, users::name, users::role))
            .load(conn)?;
        self.people.extend(actors.into_iter().map(|id| (UserId::new(id), None)));
        for row in found {
            self.put_person(person(row)?);
        }
        let found: Vec<RoomRow> =
            rooms::table.filter(rooms::id.eq_any(&named)).select(room_queries::ROOM_COLUMNS).load(conn)?;
        self.rooms.extend(named.into_iter().map(|id| (RoomId::new(id), None)));
        for row in found {
            let room = room_from(row)?;
            self.rooms.insert(room.id, Some(room));
        }
        Ok(())
    }
}

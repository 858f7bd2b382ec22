//! Invitations, by code and as a list.

use super::limited;
use super::people::{PersonRow, person};
use crate::domain::{InviteCode, InviteId, InviteState, Person, Role, RoomId, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{invite_rooms, invites, users};
use diesel::prelude::*;
use std::collections::HashMap;

/// What a code is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub id: InviteId,
    pub code: InviteCode,
    pub role: Role,
    pub created_by: UserId,
    pub created_at: Timestamp,
    pub state: InviteState,
    pub rooms: Vec<RoomId>,
}

impl Store {
    /// The invitation of a code, whether it still holds or not.
    pub async fn invite_by_code(&self, code: InviteCode) -> Result<Option<Invite>, StoreError> {
        self.read(move |conn| by_code(conn, &code)).await
    }

    /// An invitation, and who made it.
    pub async fn invite(&self, invite: InviteId) -> Result<Option<(Invite, Person)>, StoreError> {
        self.read(move |conn| Ok(list(conn, Some(invite), None, 1)?.pop())).await
    }

    /// Invitations that weren't taken back, the newest first, from the one before `before` on, each with who made it.
    pub async fn invites(
        &self,
        before: Option<InviteId>,
        limit: usize,
    ) -> Result<Vec<(Invite, Person)>, StoreError> {
        self.read(move |conn| list(conn, None, before, limit)).await
    }
}

type Columns = (
    invites::id,
    invites::code,
    invites::role,
    invites::created_by,
    invites::created_at,
    invites::expires_at,
    invites::max_uses,
    invites::uses,
    invites::revoked_at,
);

const COLUMNS: Columns = (
    invites::id,
    invites::code,
    invites::role,
    invites::created_by,
    invites::created_at,
    invites::expires_at,
    invites::max_uses,
    invites::uses,
    invites::revoked_at,
);

type Row = (i64, String, String, i64, i64, Option<i64>, Option<i64>, i64, Option<i64>);

/// The invitation of a code.
pub(in crate::storage) fn by_code(conn: &mut Conn, code: &InviteCode) -> Result<Option<Invite>, StoreError> {
    // What can't be a code isn't looked up: PostgreSQL takes no NUL.
    if !code.reveal().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(None);
    }
    let query = invites::table.filter(invites::code.eq(code.reveal())).select(COLUMNS);
    let row: Option<Row> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some(row) = row else { return Ok(None) };
    let rooms = rooms_of(conn, &[row.0])?.remove(&row.0).unwrap_or_default();
    invite(row, rooms).map(Some)
}

fn list(
    conn: &mut Conn,
    only: Option<InviteId>,
    before: Option<InviteId>,
    limit: usize,
) -> Result<Vec<(Invite, Person)>, StoreError> {
    let (least, most) = only.map_or((i64::MIN, i64::MAX), |only| (only.get(), only.get()));
    let query = invites::table
        .inner_join(users::table.on(users::id.eq(invites::created_by)))
        .filter(invites::revoked_at.is_null())
        .filter(invites::id.between(least, most))
        .filter(invites::id.lt(before.map_or(i64::MAX, InviteId::get)))
        .order(invites::id.desc())
        .limit(limited(limit))
        .select((COLUMNS, (users::id, users::name, users::role)));
    let rows: Vec<(Row, PersonRow)> = on!(&mut *conn, |c| query.load(c))?;
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.0).collect();
    let mut rooms = rooms_of(conn, &ids)?;
    rows.into_iter()
        .map(|(row, maker)| {
            let rooms = rooms.remove(&row.0).unwrap_or_default();
            Ok((invite(row, rooms)?, person(maker)?))
        })
        .collect()
}

fn rooms_of(conn: &mut Conn, ids: &[i64]) -> Result<HashMap<i64, Vec<RoomId>>, StoreError> {
    let query = invite_rooms::table
        .filter(invite_rooms::invite_id.eq_any(ids))
        .order((invite_rooms::invite_id, invite_rooms::room_id))
        .select((invite_rooms::invite_id, invite_rooms::room_id));
    let rows: Vec<(i64, i64)> = on!(conn, |c| query.load(c))?;
    let mut rooms: HashMap<i64, Vec<RoomId>> = HashMap::new();
    for (invite, room) in rows {
        rooms.entry(invite).or_default().push(RoomId::new(room));
    }
    Ok(rooms)
}

fn invite(row: Row, rooms: Vec<RoomId>) -> Result<Invite, StoreError> {
    let (id, code, role, created_by, created_at, expires_at, max_uses, uses, revoked_at) = row;
    let count =
        |count: i64| u32::try_from(count).map_err(|_range| StoreError::nonsense("a count of invite", id));
    Ok(Invite {
        id: InviteId::new(id),
        code: InviteCode::new(code),
        role: Role::parse(&role).ok_or_else(|| StoreError::nonsense("invites.role", role))?,
        created_by: UserId::new(created_by),
        created_at: Timestamp::from_millis(created_at),
        state: InviteState {
            is_revoked: revoked_at.is_some(),
            expires_at: expires_at.map(Timestamp::from_millis),
            max_uses: max_uses.map(count).transpose()?,
            uses: count(uses)?,
        },
        rooms,
    })
}

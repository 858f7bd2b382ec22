//! The account and its people.

use super::limited;
use crate::domain::{Person, Role, RoomKind, Status, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{accounts, memberships, rooms, users};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use std::fmt;

/// The one account.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// The invite code: a secret of those who invite.
    pub join_code: String,
    /// A JSON object, as text.
    pub settings: String,
    pub created_at: Timestamp,
}

/// A user as they see themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub person: Person,
    /// Lower case; bots have none.
    pub email: Option<String>,
    /// What they say of themselves; may be empty.
    pub bio: String,
    pub status: Status,
    pub created_at: Timestamp,
    /// When they last were connected, exact to `presence.last_seen_s`; none before the first time.
    pub last_seen_at: Option<Timestamp>,
}

/// What a password is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub person: Person,
    pub password_hash: String,
    pub status: Status,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("person", &self.person).field("status", &self.status).finish()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish()
    }
}

/// Whom somebody knows of.
struct Circle {
    me: i64,
    /// All of them.
    everybody: bool,
    /// Those of open rooms, where everybody but guests is.
    members: bool,
    /// Those who were added to these rooms by name.
    rooms: Vec<i64>,
}

impl Circle {
    /// Guests know those they share a room with, everybody else knows everybody (AUTH-16).
    fn of(conn: &mut Conn, asker: &Person) -> Result<Self, StoreError> {
        let me = asker.id.get();
        if asker.role != Role::Guest {
            return Ok(Self { me, everybody: true, members: true, rooms: Vec::new() });
        }
        let query = memberships::table
            .inner_join(rooms::table)
            .filter(memberships::user_id.eq(me))
            .filter(rooms::deleted_at.is_null())
            .select((rooms::id, rooms::kind));
        let found: Vec<(i64, String)> = on!(conn, |c| query.load(c))?;
        let members = found.iter().any(|(_, kind)| kind == RoomKind::Open.as_str());
        Ok(Self { me, everybody: false, members, rooms: found.into_iter().map(|(id, _)| id).collect() })
    }
}

/// Whether a row of `users` is in the circle, as a diesel condition.
macro_rules! known {
    ($circle:expr) => {
        $circle
            .everybody
            .into_sql::<Bool>()
            .or(users::id.eq($circle.me))
            .or($circle.members.into_sql::<Bool>().and(users::role.ne(Role::Guest.as_str())))
            .or(exists(
                memberships::table
                    .filter(memberships::user_id.eq(users::id))
                    .filter(memberships::room_id.eq_any($circle.rooms)),
            ))
    };
}

impl Store {
    /// The account; none before the first run.
    pub async fn account(&self) -> Result<Option<Account>, StoreError> {
        self.read(account).await
    }

    /// A user of any status.
    pub async fn person(&self, user: UserId) -> Result<Option<Profile>, StoreError> {
        self.read(move |conn| {
            let query = users::table.find(user.get()).select(PROFILE_COLUMNS);
            let row: Option<ProfileRow> = on!(conn, |c| query.first(c)).optional()?;
            row.map(profile).transpose()
        })
        .await
    }

    /// The users that `asker` knows of, by id, from the one after `after` on; those who left or were sent away too, if `former` says so.
    pub async fn people(
        &self,
        asker: &Person,
        former: bool,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<Profile>, StoreError> {
        let asker = asker.clone();
        self.read(move |conn| {
            let circle = Circle::of(conn, &asker)?;
            let query = users::table
                .filter(users::id.gt(after.unwrap_or_default().get()))
                .filter(former.into_sql::<Bool>().or(users::status.eq(Status::Active.as_str())))
                .filter(known!(circle))
                .order(users::id)
                .limit(limited(limit))
                .select(PROFILE_COLUMNS);
            let rows: Vec<ProfileRow> = on!(conn, |c| query.load(c))?;
            rows.into_iter().map(profile).collect()
        })
        .await
    }

    /// A user of any status whom `asker` knows of.
    pub async fn person_known_to(&self, asker: &Person, user: UserId) -> Result<Option<Profile>, StoreError> {
        let asker = asker.clone();
        self.read(move |conn| {
            let circle = Circle::of(conn, &asker)?;
            let query = users::table.find(user.get()).filter(known!(circle)).select(PROFILE_COLUMNS);
            let row: Option<ProfileRow> = on!(conn, |c| query.first(c)).optional()?;
            row.map(profile).transpose()
        })
        .await
    }

    /// What the password of `email` is checked against, whatever the user's status.
    pub async fn credentials(&self, email: &str) -> Result<Option<Credentials>, StoreError> {
        let email = normalised(email);
        self.read(move |conn| credentials(conn, &email)).await
    }

    /// What the user's own password is checked against; none when they have none.
    pub async fn password_hash(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.read(move |conn| {
            let query = users::table.find(user.get()).select(users::password_hash);
            let found: Option<Option<String>> = on!(conn, |c| query.first(c)).optional()?;
            Ok(found.flatten())
        })
        .await
    }
}

/// Id, name, role.
pub(in crate::storage) type PersonRow = (i64, String, String);

/// The columns of a [`ProfileRow`].
pub(super) type ProfileColumns = (
    (users::id, users::name, users::role),
    users::email,
    users::bio,
    users::status,
    users::created_at,
    users::last_seen_at,
);

/// The columns of a [`ProfileRow`].
pub(super) const PROFILE_COLUMNS: ProfileColumns = (
    (users::id, users::name, users::role),
    users::email,
    users::bio,
    users::status,
    users::created_at,
    users::last_seen_at,
);

pub(super) type ProfileRow = (PersonRow, Option<String>, String, String, i64, Option<i64>);

/// The person of a row.
pub(in crate::storage) fn person((id, name, role): PersonRow) -> Result<Person, StoreError> {
    let role = Role::parse(&role).ok_or_else(|| StoreError::nonsense("users.role", role))?;
    Ok(Person { id: UserId::new(id), name: name.into(), role })
}

pub(super) fn profile(row: ProfileRow) -> Result<Profile, StoreError> {
    let (row, email, bio, status, created_at, last_seen_at) = row;
    Ok(Profile {
        person: person(row)?,
        email,
        bio,
        status: status_from(&status)?,
        created_at: Timestamp::from_millis(created_at),
        last_seen_at: last_seen_at.map(Timestamp::from_millis),
    })
}

/// The status of a row.
pub(in crate::storage) fn status_from(name: &str) -> Result<Status, StoreError> {
    Status::parse(name).ok_or_else(|| StoreError::nonsense("users.status", name))
}

/// What the password of an address as it is stored is checked against.
pub(super) fn credentials(conn: &mut Conn, email: &str) -> Result<Option<Credentials>, StoreError> {
    let query = users::table.filter(users::email.eq(email)).select((
        (users::id, users::name, users::role),
        users::password_hash,
        users::status,
    ));
    let row: Option<(PersonRow, Option<String>, String)> = on!(conn, |c| query.first(c)).optional()?;
    let Some((row, Some(password_hash), status)) = row else { return Ok(None) };
    Ok(Some(Credentials { person: person(row)?, password_hash, status: status_from(&status)? }))
}

/// The one account.
pub(in crate::storage) fn account(conn: &mut Conn) -> Result<Option<Account>, StoreError> {
    let query = accounts::table.find(1).select((
        accounts::name,
        accounts::join_code,
        accounts::settings,
        accounts::created_at,
    ));
    let row: Option<(String, String, String, i64)> = on!(conn, |c| query.first(c)).optional()?;
    Ok(row.map(|(name, join_code, settings, created_at)| Account {
        name,
        join_code,
        settings,
        created_at: Timestamp::from_millis(created_at),
    }))
}

/// An address as it is stored and compared.
pub(in crate::storage) fn normalised(email: &str) -> String {
    email.trim().to_lowercase()
}

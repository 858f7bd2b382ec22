//! The account and its people.

use super::limited;
use crate::domain::{Person, Role, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{accounts, users};
use diesel::prelude::*;
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

/// Whether a user may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Active,
    /// Left; what they wrote stays.
    Deactivated,
    /// Sent away.
    Banned,
}

impl Status {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Banned => "banned",
        }
    }

    fn parse(name: &str) -> Result<Self, StoreError> {
        [Self::Active, Self::Deactivated, Self::Banned]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| StoreError::nonsense("users.status", name))
    }
}

/// A user as they see themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub person: Person,
    /// Lower case; bots have none.
    pub email: Option<String>,
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

    /// Active users by id, from the one after `after` on.
    pub async fn people(&self, after: Option<UserId>, limit: usize) -> Result<Vec<Profile>, StoreError> {
        self.read(move |conn| {
            let query = users::table
                .filter(users::id.gt(after.unwrap_or_default().get()))
                .filter(users::status.eq(Status::Active.as_str()))
                .order(users::id)
                .limit(limited(limit))
                .select(PROFILE_COLUMNS);
            let rows: Vec<ProfileRow> = on!(conn, |c| query.load(c))?;
            rows.into_iter().map(profile).collect()
        })
        .await
    }

    /// What the password of `email` is checked against, whatever the user's status.
    pub async fn credentials(&self, email: &str) -> Result<Option<Credentials>, StoreError> {
        let email = normalised(email);
        self.read(move |conn| {
            let query = users::table.filter(users::email.eq(email)).select((
                (users::id, users::name, users::role),
                users::password_hash,
                users::status,
            ));
            let row: Option<(PersonRow, Option<String>, String)> =
                on!(conn, |c| query.first(c)).optional()?;
            let Some((row, Some(password_hash), status)) = row else { return Ok(None) };
            Ok(Some(Credentials { person: person(row)?, password_hash, status: Status::parse(&status)? }))
        })
        .await
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
    users::status,
    users::created_at,
    users::last_seen_at,
);

/// The columns of a [`ProfileRow`].
pub(super) const PROFILE_COLUMNS: ProfileColumns = (
    (users::id, users::name, users::role),
    users::email,
    users::status,
    users::created_at,
    users::last_seen_at,
);

pub(super) type ProfileRow = (PersonRow, Option<String>, String, i64, Option<i64>);

/// The person of a row.
pub(in crate::storage) fn person((id, name, role): PersonRow) -> Result<Person, StoreError> {
    let role = Role::parse(&role).ok_or_else(|| StoreError::nonsense("users.role", role))?;
    Ok(Person { id: UserId::new(id), name: name.into(), role })
}

pub(super) fn profile(row: ProfileRow) -> Result<Profile, StoreError> {
    let (row, email, status, created_at, last_seen_at) = row;
    Ok(Profile {
        person: person(row)?,
        email,
        status: Status::parse(&status)?,
        created_at: Timestamp::from_millis(created_at),
        last_seen_at: last_seen_at.map(Timestamp::from_millis),
    })
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

//! Sessions as they are looked up and listed; `commit/sessions.rs` begins and ends them. Only the hash of a token is ever here.

use super::people::{PersonRow, person};
use crate::domain::{BegunBy, Person, Session, SessionId, Status, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::cache::Cache;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{sessions, users};
use diesel::prelude::*;
use std::net::IpAddr;

/// What a session is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKey {
    /// SHA-256 of its token.
    Token([u8; 32]),
    Id(SessionId),
}

/// What a session is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    Living(Session, Person),
    /// It wasn't used for too long.
    Expired,
    /// It was ended, or its user is not active.
    Revoked,
    Unknown,
}

impl Store {
    /// A session and whose it is, or why it doesn't hold.
    pub async fn session(&self, key: SessionKey, now: Timestamp) -> Result<SessionState, StoreError> {
        if let Some((session, person)) = self.cache().and_then(|cache| cache.session(&key, now)) {
            return Ok(SessionState::Living(session, person));
        }
        let stamp = self.cache().map(Cache::people);
        let read = self.read(move |conn| {
            let columns =
                (COLUMNS, sessions::revoked_at, (users::id, users::name, users::role), users::status);
            let query = sessions::table.inner_join(users::table).select(columns);
            let row: Option<(Row, Option<i64>, PersonRow, String)> = match key {
                SessionKey::Token(hash) => {
                    let query = query.filter(sessions::token_hash.eq(hash.to_vec()));
                    on!(conn, |c| query.first(c)).optional()?
                }
                SessionKey::Id(id) => {
                    let query = query.filter(sessions::id.eq(id.get()));
                    on!(conn, |c| query.first(c)).optional()?
                }
            };
            let Some((row, revoked_at, owner, status)) = row else { return Ok(SessionState::Unknown) };
            if revoked_at.is_some() || status != Status::Active.as_str() {
                return Ok(SessionState::Revoked);
            }
            let session = session(row)?;
            if session.expires_at <= now {
                return Ok(SessionState::Expired);
            }
            Ok(SessionState::Living(session, person(owner)?))
        });
        let found = read.await?;
        if let (Some(cache), Some(stamp), SessionState::Living(session, person)) =
            (self.cache(), stamp, &found)
        {
            cache.keep_session(key, stamp, &(session.clone(), person.clone()));
        }
        Ok(found)
    }

    /// The living sessions of a user, the newest first.
    pub async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.read(move |conn| {
            let query = sessions::table
                .filter(sessions::user_id.eq(user.get()))
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::expires_at.gt(now.as_millis()))
                .order(sessions::id.desc())
                .select(COLUMNS);
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            rows.into_iter().map(session).collect()
        })
        .await
    }

    /// Notes that a session is in use, from where, and when it now ends; as before without `expires_at`.
    pub async fn touch_session(
        &self,
        key: SessionKey,
        address: Option<IpAddr>,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        #[derive(AsChangeset)]
        #[diesel(table_name = sessions)]
        struct Touch {
            last_active_at: i64,
            address: Option<String>,
            expires_at: Option<i64>,
        }
        let touch = self.write(move |conn| {
            let touch = Touch {
                last_active_at: now.as_millis(),
                // Without one it stays what it was.
                address: address.map(|address| address.to_string()),
                expires_at: expires_at.map(Timestamp::as_millis),
            };
            let living = sessions::table.filter(sessions::revoked_at.is_null());
            match key {
                SessionKey::Token(hash) => {
                    let one = living.filter(sessions::token_hash.eq(hash.to_vec()));
                    on!(conn, |c| diesel::update(one).set(touch).execute(c))?;
                }
                SessionKey::Id(id) => {
                    let one = living.filter(sessions::id.eq(id.get()));
                    on!(conn, |c| diesel::update(one).set(touch).execute(c))?;
                }
            }
            Ok(())
        });
        touch.await?;
        if let Some(cache) = self.cache() {
            cache.drop_session(&key);
        }
        Ok(())
    }
}

type Columns = (
    sessions::id,
    sessions::user_id,
    sessions::device,
    sessions::address,
    sessions::begun_by,
    sessions::created_at,
    sessions::last_active_at,
    sessions::expires_at,
);

const COLUMNS: Columns = (
    sessions::id,
    sessions::user_id,
    sessions::device,
    sessions::address,
    sessions::begun_by,
    sessions::created_at,
    sessions::last_active_at,
    sessions::expires_at,
);

type Row = (i64, i64, String, Option<String>, String, i64, i64, i64);

fn session(row: Row) -> Result<Session, StoreError> {
    let (id, user, device, address, begun_by, created_at, last_active_at, expires_at) = row;
    Ok(Session {
        id: SessionId::new(id),
        user: UserId::new(user),
        device,
        address: address.and_then(|text| text.parse().ok()),
        begun_by: BegunBy::parse(&begun_by)
            .ok_or_else(|| StoreError::nonsense("sessions.begun_by", begun_by))?,
        created_at: Timestamp::from_millis(created_at),
        last_active_at: Timestamp::from_millis(last_active_at),
        expires_at: Timestamp::from_millis(expires_at),
    })
}

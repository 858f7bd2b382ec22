//! Sessions of browsers. Only the hash of a token is ever here.

use super::people::{PersonRow, Status, person};
use crate::domain::{Person, SessionId, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::cache::{Cache, Touched};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{sessions, users};
use diesel::prelude::*;
use std::fmt;

/// Characters of a device's description that are kept.
const DEVICE_CHARS: usize = 200;

/// A session to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSession {
    pub user: UserId,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// The user agent, cut to 200 characters.
    pub device: String,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession").field("user", &self.user).field("device", &self.device).finish()
    }
}

/// A session that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub user: UserId,
    pub device: String,
    pub created_at: Timestamp,
    pub last_active_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a session's token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    Living(SessionRow, Person),
    /// It wasn't used for too long.
    Expired,
    /// It was ended, or its user is not active.
    Revoked,
    Unknown,
}

impl Store {
    /// Makes a session.
    pub async fn create_session(&self, new: NewSession) -> Result<SessionId, StoreError> {
        self.write(move |conn| {
            // PostgreSQL takes no NUL.
            let device: String = new.device.chars().filter(|c| !c.is_control()).take(DEVICE_CHARS).collect();
            let query = diesel::insert_into(sessions::table)
                .values((
                    sessions::token_hash.eq(new.token_hash.to_vec()),
                    sessions::user_id.eq(new.user.get()),
                    sessions::device.eq(device),
                    sessions::created_at.eq(new.now.as_millis()),
                    sessions::last_active_at.eq(new.now.as_millis()),
                    sessions::expires_at.eq(new.expires_at.as_millis()),
                ))
                .returning(sessions::id);
            let id: i64 = on!(conn, |c| query.get_result(c))?;
            Ok(SessionId::new(id))
        })
        .await
    }

    /// The session of a token and whose it is, or why it doesn't hold.
    pub async fn session(&self, token_hash: [u8; 32], now: Timestamp) -> Result<SessionState, StoreError> {
        if let Some((session, person)) = self.cache().and_then(|cache| cache.session(&token_hash, now)) {
            return Ok(SessionState::Living(session, person));
        }
        let stamp = self.cache().map(Cache::people);
        let read = self.read(move |conn| {
            let query = sessions::table
                .inner_join(users::table)
                .filter(sessions::token_hash.eq(token_hash.to_vec()))
                .select((
                    COLUMNS,
                    sessions::revoked_at,
                    (users::id, users::name, users::role),
                    users::status,
                ));
            let row: Option<(Row, Option<i64>, PersonRow, String)> =
                on!(conn, |c| query.first(c)).optional()?;
            let Some((row, revoked_at, owner, status)) = row else { return Ok(SessionState::Unknown) };
            if revoked_at.is_some() || status != Status::Active.as_str() {
                return Ok(SessionState::Revoked);
            }
            let session = SessionRow::from(row);
            if session.expires_at <= now {
                return Ok(SessionState::Expired);
            }
            Ok(SessionState::Living(session, person(owner)?))
        });
        let found = read.await?;
        if let (Some(cache), Some(stamp), SessionState::Living(session, person)) =
            (self.cache(), stamp, &found)
        {
            cache.keep_session(token_hash, stamp, &(session.clone(), person.clone()));
        }
        Ok(found)
    }

    /// The living sessions of a user, the newest first.
    pub async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
        self.read(move |conn| {
            let query = sessions::table
                .filter(sessions::user_id.eq(user.get()))
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::expires_at.gt(now.as_millis()))
                .order(sessions::id.desc())
                .select(COLUMNS);
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            Ok(rows.into_iter().map(SessionRow::from).collect())
        })
        .await
    }

    /// Ends a session of `user`; false when they have no such living one.
    pub async fn revoke_session(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write_to(Touched::People, move |conn| {
            let living = sessions::table
                .find(session.get())
                .filter(sessions::user_id.eq(user.get()))
                .filter(sessions::revoked_at.is_null());
            let query = diesel::update(living).set(sessions::revoked_at.eq(now.as_millis()));
            Ok(on!(conn, |c| query.execute(c))? > 0)
        })
        .await
    }

    /// Notes that the session of a token is in use, and when it now expires.
    pub async fn touch_session(
        &self,
        token_hash: [u8; 32],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let touch = self.write(move |conn| {
            let living = sessions::table
                .filter(sessions::token_hash.eq(token_hash.to_vec()))
                .filter(sessions::revoked_at.is_null());
            let query = diesel::update(living).set((
                sessions::last_active_at.eq(now.as_millis()),
                sessions::expires_at.eq(expires_at.as_millis()),
            ));
            on!(conn, |c| query.execute(c))?;
            Ok(())
        });
        touch.await?;
        if let Some(cache) = self.cache() {
            cache.drop_session(&token_hash);
        }
        Ok(())
    }
}

type Columns = (
    sessions::id,
    sessions::user_id,
    sessions::device,
    sessions::created_at,
    sessions::last_active_at,
    sessions::expires_at,
);

const COLUMNS: Columns = (
    sessions::id,
    sessions::user_id,
    sessions::device,
    sessions::created_at,
    sessions::last_active_at,
    sessions::expires_at,
);

type Row = (i64, i64, String, i64, i64, i64);

impl From<Row> for SessionRow {
    fn from((id, user, device, created_at, last_active_at, expires_at): Row) -> Self {
        Self {
            id: SessionId::new(id),
            user: UserId::new(user),
            device,
            created_at: Timestamp::from_millis(created_at),
            last_active_at: Timestamp::from_millis(last_active_at),
            expires_at: Timestamp::from_millis(expires_at),
        }
    }
}

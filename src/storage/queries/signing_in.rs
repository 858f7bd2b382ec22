//! What a sign-in is checked against, and the note of one that failed.

use super::audit;
use super::people::{Credentials, credentials};
use crate::domain::{AuditAction, AuditNote, AuditTarget, Origin, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::sessions;
use diesel::prelude::*;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// Sessions of an account that are looked at (count), the latest first.
const SESSIONS: i64 = 200;
/// What was used longer ago may belong to somebody else by now.
const RECENT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Why a sign-in failed: for the audit trail alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedFor {
    WrongPassword,
    UnknownAddress,
    /// Deactivated or banned.
    Inactive,
}

impl RefusedFor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::UnknownAddress => "unknown_address",
            Self::Inactive => "inactive",
        }
    }
}

impl Store {
    /// What the password of `email` is checked against, whatever the user's status, and where they signed in from lately. Whether
    /// there is such a user or not, the same is asked of the database.
    pub async fn sign_in_facts(
        &self,
        email: &str,
        now: Timestamp,
    ) -> Result<(Option<Credentials>, HashSet<IpAddr>), StoreError> {
        let email = email.to_owned();
        self.read(move |conn| {
            let found = credentials(conn, &email)?;
            let user = found.as_ref().map_or(UserId::default(), |found| found.person.id);
            let query = sessions::table
                .filter(sessions::user_id.eq(user.get()))
                .filter(sessions::last_active_at.gt(now.before(RECENT).as_millis()))
                .order(sessions::id.desc())
                .limit(SESSIONS)
                .select(sessions::address);
            let rows: Vec<Option<String>> = on!(conn, |c| query.load(c))?;
            Ok((found, rows.into_iter().filter_map(|address| address?.parse().ok()).collect()))
        })
        .await
    }

    /// Writes to the audit trail that somebody could not prove to be `user`.
    pub async fn note_refusal(
        &self,
        user: Option<UserId>,
        why: RefusedFor,
        origin: Origin,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |conn| {
            let note = match user {
                Some(user) => AuditNote::new(AuditAction::SessionRefused, AuditTarget::User(user)),
                None => AuditNote::bare(AuditAction::SessionRefused),
            };
            audit::insert(conn, None, origin, &note.with("reason", why.as_str()), now)
        })
        .await
    }
}

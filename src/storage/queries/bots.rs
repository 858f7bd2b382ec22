//! Bots and their keys. Only the hash of a key is ever here.

use super::people::{PROFILE_COLUMNS, PersonRow, Profile, ProfileRow, Status, person, profile};
use crate::domain::{BotKeyId, IdempotencyKey, Person, Rejection, Role, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::commit::Halt;
use crate::storage::commit::once::{self, Answer, Fingerprint, Request};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{bot_keys, users, webhooks};
use diesel::prelude::*;

/// A bot as admins see it.
#[derive(Clone, PartialEq, Eq)]
pub struct BotView {
    pub profile: Profile,
    /// A secret of the admins.
    pub webhook_url: Option<String>,
}

/// What a key is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BotKeyState {
    Living,
    Expired,
    /// It was taken back, or its bot is not active.
    Revoked,
}

/// Id, hash, end, revocation.
type KeyRow = (i64, Vec<u8>, Option<i64>, Option<i64>);

impl Store {
    /// Active bots by id.
    pub async fn bots(&self) -> Result<Vec<BotView>, StoreError> {
        self.read(move |conn| bots(conn, None)).await
    }

    /// An active bot.
    pub async fn bot(&self, bot: UserId) -> Result<Option<BotView>, StoreError> {
        self.read(move |conn| Ok(bots(conn, Some(bot))?.pop())).await
    }

    /// A bot of any status with the hashes of all its keys and what each is worth; none when it has no key.
    pub async fn bot_keys_of(
        &self,
        bot: UserId,
        now: Timestamp,
    ) -> Result<Option<(Person, Vec<(BotKeyId, [u8; 32], BotKeyState)>)>, StoreError> {
        self.read(move |conn| {
            let query =
                bot_keys::table.inner_join(users::table).filter(bot_keys::user_id.eq(bot.get())).select((
                    (users::id, users::name, users::role),
                    users::status,
                    (bot_keys::id, bot_keys::key_hash, bot_keys::expires_at, bot_keys::revoked_at),
                ));
            let rows: Vec<(PersonRow, String, KeyRow)> = on!(conn, |c| query.load(c))?;
            let mut found = None;
            for (row, status, (id, hash, expires_at, revoked_at)) in rows {
                let hash =
                    hash.try_into().map_err(|_bytes| StoreError::nonsense("bot_keys.key_hash of", bot))?;
                let state = if revoked_at.is_some() || status != Status::Active.as_str() {
                    BotKeyState::Revoked
                } else if expires_at.is_some_and(|at| at <= now.as_millis()) {
                    BotKeyState::Expired
                } else {
                    BotKeyState::Living
                };
                let (_, keys) = found.get_or_insert((person(row)?, Vec::new()));
                keys.push((BotKeyId::new(id), hash, state));
            }
            Ok(found)
        })
        .await
    }

    /// Gives a bot a new key and ends the old ones. With a key of the caller's own it is done once: a repetition of it changes
    /// nothing.
    pub async fn rotate_bot_key(
        &self,
        by: UserId,
        bot: UserId,
        key_hash: [u8; 32],
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Rotation, StoreError> {
        let terms = self.inner.keys;
        self.write(move |conn| {
            let route = "bot.rotate";
            let digest = Fingerprint::of(route).field(&bot.get().to_be_bytes()).digest();
            let request = key.as_ref().map(|key| Request { user: by, key, route, digest });
            if let Some(request) = &request {
                once::wait_in_line(conn)?;
                match once::recall(conn, request, now) {
                    Ok(Some(_)) => return Ok(Rotation::Repeated),
                    Ok(None) => {}
                    Err(Halt::Refused(rejection)) => return Ok(Rotation::Refused(rejection)),
                    Err(Halt::Failed(error)) => return Err(error),
                }
            }
            if !rotate(conn, bot, &key_hash, now)? {
                return Ok(Rotation::Refused(Rejection::not_found("bot")));
            }
            if let Some(request) = &request {
                once::remember(conn, request, &Answer::BotKey, now, terms)?;
            }
            Ok(Rotation::Done)
        })
        .await
    }
}

/// What came of giving a bot a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The new key is the only one.
    Done,
    /// It was done before, with the same idempotency key: the key given then is the one.
    Repeated,
    Refused(Rejection),
}

/// False when there is no such active bot.
fn rotate(conn: &mut Conn, bot: UserId, key_hash: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
    let query = users::table
        .find(bot.get())
        .filter(users::role.eq(Role::Bot.as_str()))
        .filter(users::status.eq(Status::Active.as_str()))
        .select(users::id);
    let found: Option<i64> = on!(&mut *conn, |c| query.first(c)).optional()?;
    if found.is_none() {
        return Ok(false);
    }
    let living =
        bot_keys::table.filter(bot_keys::user_id.eq(bot.get())).filter(bot_keys::revoked_at.is_null());
    let query = diesel::update(living).set(bot_keys::revoked_at.eq(now.as_millis()));
    on!(&mut *conn, |c| query.execute(c))?;
    let query = diesel::insert_into(bot_keys::table).values((
        bot_keys::user_id.eq(bot.get()),
        bot_keys::key_hash.eq(key_hash.to_vec()),
        bot_keys::created_at.eq(now.as_millis()),
    ));
    on!(conn, |c| query.execute(c))?;
    Ok(true)
}

fn bots(conn: &mut Conn, only: Option<UserId>) -> Result<Vec<BotView>, StoreError> {
    let (least, most) = only.map_or((i64::MIN, i64::MAX), |bot| (bot.get(), bot.get()));
    let query = users::table
        .left_join(webhooks::table)
        .filter(users::role.eq(Role::Bot.as_str()))
        .filter(users::status.eq(Status::Active.as_str()))
        .filter(users::id.between(least, most))
        .order(users::id)
        .select((PROFILE_COLUMNS, webhooks::url.nullable()));
    let rows: Vec<(ProfileRow, Option<String>)> = on!(conn, |c| query.load(c))?;
    rows.into_iter().map(|(row, webhook_url)| Ok(BotView { profile: profile(row)?, webhook_url })).collect()
}

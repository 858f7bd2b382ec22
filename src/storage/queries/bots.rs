//! Bots as admins see them.

use super::people::{PROFILE_COLUMNS, Profile, ProfileRow, profile};
use crate::domain::{BotKeyId, Role, Status, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{bot_keys, users, webhooks};
use diesel::prelude::*;
use std::collections::HashMap;

/// A bot as admins see it.
#[derive(Clone, PartialEq, Eq)]
pub struct BotView {
    pub profile: Profile,
    /// A secret of the admins.
    pub webhook_url: Option<String>,
    /// Those that are good, by id.
    pub keys: Vec<KeyView>,
}

/// A bot's key as admins see it: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    pub id: BotKeyId,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// Active bots by id, with the keys that are good at `now`.
    pub async fn bots(&self, now: Timestamp) -> Result<Vec<BotView>, StoreError> {
        self.read(move |conn| bots(conn, None, now)).await
    }

    /// An active bot.
    pub async fn bot(&self, bot: UserId, now: Timestamp) -> Result<Option<BotView>, StoreError> {
        self.read(move |conn| Ok(bots(conn, Some(bot), now)?.pop())).await
    }
}

fn bots(conn: &mut Conn, only: Option<UserId>, now: Timestamp) -> Result<Vec<BotView>, StoreError> {
    let (least, most) = only.map_or((i64::MIN, i64::MAX), |bot| (bot.get(), bot.get()));
    let query = users::table
        .left_join(webhooks::table)
        .filter(users::role.eq(Role::Bot.as_str()))
        .filter(users::status.eq(Status::Active.as_str()))
        .filter(users::id.between(least, most))
        .order(users::id)
        .select((PROFILE_COLUMNS, webhooks::url.nullable()));
    let rows: Vec<(ProfileRow, Option<String>)> = on!(&mut *conn, |c| query.load(c))?;
    let query = bot_keys::table
        .filter(bot_keys::user_id.between(least, most))
        .filter(bot_keys::revoked_at.is_null())
        .filter(bot_keys::expires_at.is_null().or(bot_keys::expires_at.gt(now.as_millis())))
        .order((bot_keys::user_id, bot_keys::id))
        .select((bot_keys::user_id, bot_keys::id, bot_keys::created_at, bot_keys::expires_at));
    let found: Vec<(i64, i64, i64, Option<i64>)> = on!(conn, |c| query.load(c))?;
    let mut keys: HashMap<UserId, Vec<KeyView>> = HashMap::new();
    for (bot, id, created_at, expires_at) in found {
        keys.entry(UserId::new(bot)).or_default().push(KeyView {
            id: BotKeyId::new(id),
            created_at: Timestamp::from_millis(created_at),
            expires_at: expires_at.map(Timestamp::from_millis),
        });
    }
    rows.into_iter()
        .map(|(row, webhook_url)| {
            let profile = profile(row)?;
            let keys = keys.remove(&profile.person.id).unwrap_or_default();
            Ok(BotView { profile, webhook_url, keys })
        })
        .collect()
}

//! The keys of bots: made, replaced, taken back, and looked up at every request. Only the hash of a key is ever here.

use super::people::{PersonRow, person};
use crate::domain::{
    Action, AuditAction, AuditNote, AuditTarget, BotKeyId, IdempotencyKey, Person, Principal, Rejection,
    Role, Status, Target, Timestamp, UserId, may,
};
use crate::storage::Store;
use crate::storage::cache::{Cache, Touched};
use crate::storage::commit::Halt;
use crate::storage::commit::once::{self, Answer, Fingerprint, Request};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::queries::audit;
use crate::storage::schema::{bot_keys, users};
use diesel::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Living keys of a bot (count); over it: no further one beside them.
const MOST_LIVING: usize = 10;
/// Keys of a bot that are over, and are still told from keys that never were (count); over it: the oldest are unknown.
const MOST_OVER: i64 = 20;

/// A key of a bot that is known.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownKey {
    pub id: BotKeyId,
    /// SHA-256 of its token.
    pub hash: [u8; 32],
    pub expires_at: Option<Timestamp>,
    /// It was taken back, or its bot is not active.
    pub revoked: bool,
}

/// What a key is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BotKeyState {
    Living,
    Expired,
    Revoked,
}

impl KnownKey {
    /// What it is worth at `now`.
    pub fn state(&self, now: Timestamp) -> BotKeyState {
        if self.revoked {
            BotKeyState::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            BotKeyState::Expired
        } else {
            BotKeyState::Living
        }
    }
}

/// A key to be made.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::storage) struct NewKey {
    /// SHA-256 of its token.
    pub hash: [u8; 32],
    /// None is without end.
    pub expires_at: Option<Timestamp>,
}

/// A key in the place of others.
#[derive(Clone, PartialEq, Eq)]
pub struct NextKey {
    pub hash: [u8; 32],
    /// How long it is good; none is without end.
    pub expires_in: Option<Duration>,
    /// How long the others go on.
    pub overlap: Duration,
    /// The caller's own key: with it, it is done once.
    pub key: Option<IdempotencyKey>,
}

/// What came of giving a bot a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// `old` are the keys that were good before, and when they end.
    Done {
        key: BotKeyId,
        expires_at: Option<Timestamp>,
        old: Vec<(BotKeyId, Timestamp)>,
    },
    /// It was done before, with the same idempotency key: the key given then is the one.
    Repeated,
    Refused(Rejection),
}

/// A bot with its keys.
pub(in crate::storage) type WithKeys = (Person, Arc<[KnownKey]>);

/// Id, hash, end, revocation.
type KeyRow = (i64, Vec<u8>, Option<i64>, Option<i64>);

impl Store {
    /// A bot of any status with its keys, those that are over too; none when it has no key.
    pub async fn bot_keys_of(&self, bot: UserId, now: Timestamp) -> Result<Option<WithKeys>, StoreError> {
        if let Some(known) = self.cache().and_then(|cache| cache.bot(bot)) {
            return Ok(Some(known));
        }
        let stamp = self.cache().map(Cache::people);
        let found = self.read(move |conn| known(conn, bot, now)).await?;
        let Some(((person, keys), is_active)) = found else { return Ok(None) };
        if let (Some(cache), Some(stamp), true) = (self.cache(), stamp, is_active) {
            cache.keep_bot(stamp, &person, &keys);
        }
        Ok(Some((person, keys)))
    }

    /// Gives a bot a new key; the others end now, or after the overlap. With a key of the caller's own it is done once: a
    /// repetition of it changes nothing.
    pub async fn rotate_bot_key(
        &self,
        by: Principal,
        bot: UserId,
        next: NextKey,
        now: Timestamp,
    ) -> Result<Rotation, StoreError> {
        let terms = self.inner.keys;
        self.write_to(Touched::People, move |conn| {
            let route = "bot.rotate";
            let print = Fingerprint::of(route).field(&bot.get().to_be_bytes());
            let asked = [
                ("overlap", Some(next.overlap).filter(|span| !span.is_zero())),
                ("expires", next.expires_in),
            ];
            // What isn't asked for isn't part of it: so it was before there was such a thing to ask for.
            let print = asked.into_iter().fold(print, |print, (name, span)| match span {
                Some(span) => print.field(name.as_bytes()).field(&span.as_millis().to_be_bytes()),
                None => print,
            });
            let user = by.person.id;
            let request = next.key.as_ref().map(|key| Request { user, key, route, digest: print.digest() });
            once::wait_in_line(conn)?;
            match begin(conn, &by, bot, Action::RotateBotKey, request.as_ref(), now) {
                Ok(false) => {}
                Ok(true) => return Ok(Rotation::Repeated),
                Err(Halt::Refused(rejection)) => return Ok(Rotation::Refused(rejection)),
                Err(Halt::Failed(error)) => return Err(error),
            }
            let living = living(conn, bot, now)?;
            if !next.overlap.is_zero() && living.len() >= MOST_LIVING {
                let problem = "leaves more than 10 keys of this bot: revoke one of them";
                return Ok(Rotation::Refused(Rejection::invalid("overlap_s", problem)));
            }
            let mut notes = Vec::new();
            let old = end(conn, bot, &living, now.after(next.overlap), now, &mut notes)?;
            let new = NewKey { hash: next.hash, expires_at: next.expires_in.map(|span| now.after(span)) };
            let key = insert(conn, bot, by.person.id, &new, now)?;
            notes.push(created(bot, key, &new));
            write_down(conn, &by, &notes, now)?;
            if let Some(request) = &request {
                once::remember(conn, request, &Answer::BotKey, now, terms)?;
            }
            Ok(Rotation::Done { key, expires_at: new.expires_at, old })
        })
        .await
    }

    /// Takes a living key of an active bot back.
    pub async fn revoke_bot_key(
        &self,
        by: Principal,
        bot: UserId,
        key: BotKeyId,
        now: Timestamp,
    ) -> Result<Result<(), Rejection>, StoreError> {
        self.write_to(Touched::People, move |conn| {
            once::wait_in_line(conn)?;
            match begin(conn, &by, bot, Action::RevokeBotKey, None, now) {
                Ok(_) => {}
                Err(Halt::Refused(rejection)) => return Ok(Err(rejection)),
                Err(Halt::Failed(error)) => return Err(error),
            }
            let mut living = living(conn, bot, now)?;
            living.retain(|(id, _)| *id == key);
            if living.is_empty() {
                return Ok(Err(Rejection::not_found("key")));
            }
            let mut notes = Vec::new();
            end(conn, bot, &living, now, now, &mut notes)?;
            write_down(conn, &by, &notes, now)?;
            Ok(Ok(()))
        })
        .await
    }
}

/// Refuses who may not, and what is no active bot; true when `request` was made before.
fn begin(
    conn: &mut Conn,
    by: &Principal,
    bot: UserId,
    action: Action,
    request: Option<&Request<'_>>,
    now: Timestamp,
) -> Result<bool, Halt> {
    // As the store has them now, whoever they were when they asked.
    let by = active(conn, by.person.id)?.ok_or_else(|| Rejection::forbidden("only admins do this"))?;
    may(&by, action, Target::Nothing)?;
    if let Some(request) = request
        && once::recall(conn, request, now)?.is_some()
    {
        return Ok(true);
    }
    if !active(conn, bot)?.is_some_and(|bot| bot.role == Role::Bot) {
        return Err(Rejection::not_found("bot").into());
    }
    Ok(false)
}

fn active(conn: &mut Conn, user: UserId) -> Result<Option<Person>, StoreError> {
    let query = users::table.find(user.get()).filter(users::status.eq(Status::Active.as_str())).select((
        users::id,
        users::name,
        users::role,
    ));
    let row: Option<PersonRow> = on!(conn, |c| query.first(c)).optional()?;
    row.map(person).transpose()
}

/// The keys of `bot` that are good, and when they end.
pub(in crate::storage) fn living(
    conn: &mut Conn,
    bot: UserId,
    now: Timestamp,
) -> Result<Vec<(BotKeyId, Option<Timestamp>)>, StoreError> {
    let query = bot_keys::table
        .filter(bot_keys::user_id.eq(bot.get()))
        .filter(bot_keys::revoked_at.is_null())
        .filter(bot_keys::expires_at.is_null().or(bot_keys::expires_at.gt(now.as_millis())))
        .order(bot_keys::id)
        .select((bot_keys::id, bot_keys::expires_at));
    let rows: Vec<(i64, Option<i64>)> = on!(conn, |c| query.load(c))?;
    Ok(rows.into_iter().map(|(id, at)| (BotKeyId::new(id), at.map(Timestamp::from_millis))).collect())
}

fn write_down(
    conn: &mut Conn,
    by: &Principal,
    notes: &[AuditNote],
    now: Timestamp,
) -> Result<(), StoreError> {
    notes.iter().try_for_each(|note| audit::insert(conn, Some(by.person.id), by.origin, note, now))
}

/// Lets `keys` end at `at`, at once if that is `now`; when each ends. One that ends before stays as it is. What is to be
/// written to the audit trail comes to `notes`.
pub(in crate::storage) fn end(
    conn: &mut Conn,
    bot: UserId,
    keys: &[(BotKeyId, Option<Timestamp>)],
    at: Timestamp,
    now: Timestamp,
    notes: &mut Vec<AuditNote>,
) -> Result<Vec<(BotKeyId, Timestamp)>, StoreError> {
    let mut ended = Vec::with_capacity(keys.len());
    for (key, expires_at) in keys {
        let at = expires_at.map_or(at, |before| before.min(at));
        if *expires_at != Some(at) {
            let row = bot_keys::table.find(key.get());
            if at <= now {
                let query = diesel::update(row).set(bot_keys::revoked_at.eq(now.as_millis()));
                on!(&mut *conn, |c| query.execute(c))?;
            } else {
                let query = diesel::update(row).set(bot_keys::expires_at.eq(at.as_millis()));
                on!(&mut *conn, |c| query.execute(c))?;
            }
            let note = AuditNote::new(AuditAction::BotKeyRevoked, AuditTarget::BotKey(*key));
            notes.push(note.with("bot", bot.to_string()).with("ends_at", at.to_string()));
        }
        ended.push((*key, at));
    }
    Ok(ended)
}

/// Writes a key.
pub(in crate::storage) fn insert(
    conn: &mut Conn,
    bot: UserId,
    by: UserId,
    new: &NewKey,
    now: Timestamp,
) -> Result<BotKeyId, StoreError> {
    let query = diesel::insert_into(bot_keys::table)
        .values((
            bot_keys::user_id.eq(bot.get()),
            bot_keys::key_hash.eq(new.hash.to_vec()),
            bot_keys::created_at.eq(now.as_millis()),
            bot_keys::expires_at.eq(new.expires_at.map(Timestamp::as_millis)),
            bot_keys::created_by.eq(by.get()),
        ))
        .returning(bot_keys::id);
    let id: i64 = on!(conn, |c| query.get_result(c))?;
    Ok(BotKeyId::new(id))
}

/// What the audit trail says of a new key.
pub(in crate::storage) fn created(bot: UserId, key: BotKeyId, new: &NewKey) -> AuditNote {
    let note =
        AuditNote::new(AuditAction::BotKeyCreated, AuditTarget::BotKey(key)).with("bot", bot.to_string());
    match new.expires_at {
        Some(at) => note.with("expires_at", at.to_string()),
        None => note,
    }
}

/// The bot, its keys, and whether it is active. The keys: all that are good, and the last ones that are over.
fn known(conn: &mut Conn, bot: UserId, now: Timestamp) -> Result<Option<(WithKeys, bool)>, StoreError> {
    let query = users::table.find(bot.get()).select(((users::id, users::name, users::role), users::status));
    let found: Option<(PersonRow, String)> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some((row, status)) = found else { return Ok(None) };
    let is_active = status == Status::Active.as_str();
    let columns = (bot_keys::id, bot_keys::key_hash, bot_keys::expires_at, bot_keys::revoked_at);
    let of_bot = bot_keys::table.filter(bot_keys::user_id.eq(bot.get()));
    let living = of_bot
        .filter(bot_keys::revoked_at.is_null())
        .filter(bot_keys::expires_at.is_null().or(bot_keys::expires_at.gt(now.as_millis())))
        .select(columns);
    let mut rows: Vec<KeyRow> = on!(&mut *conn, |c| living.load(c))?;
    let over = of_bot
        .filter(bot_keys::revoked_at.is_not_null().or(bot_keys::expires_at.le(now.as_millis())))
        .order(bot_keys::id.desc())
        .limit(MOST_OVER)
        .select(columns);
    let over: Vec<KeyRow> = on!(conn, |c| over.load(c))?;
    rows.extend(over);
    if rows.is_empty() {
        return Ok(None);
    }
    let key = |(id, hash, expires_at, revoked_at): KeyRow| {
        let hash = hash.try_into().map_err(|_bytes| StoreError::nonsense("bot_keys.key_hash of", bot))?;
        Ok(KnownKey {
            id: BotKeyId::new(id),
            hash,
            expires_at: expires_at.map(Timestamp::from_millis),
            revoked: revoked_at.is_some() || !is_active,
        })
    };
    let keys = rows.into_iter().map(key).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Some(((person(row)?, keys.into()), is_active)))
}

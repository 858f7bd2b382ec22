//! The outbox: what is due is leased, delivered, and settled. A lease that runs out makes it due again, whoever held it.

use super::people::{PersonRow, person};
use crate::domain::{EventId, MessageId, Person, RoomId, RoomKind, Status, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{memberships, messages, outbox, rooms, users, webhooks};
use diesel::dsl::{exists, select};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;

/// The topic of webhooks; its payload is the bot's id.
pub(in crate::storage) const WEBHOOK: &str = "webhook";

/// When a dead letter is due.
pub(in crate::storage) const NEVER: i64 = i64::MAX;

/// A row that is ours until `lease`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    pub id: i64,
    pub event: EventId,
    pub bot: UserId,
    /// This one included.
    pub attempts: i64,
    pub created_at: Timestamp,
    pub lease: Timestamp,
    /// What the receiver answered to an earlier attempt, when it couldn't be posted yet: it isn't asked again.
    pub answer: Option<String>,
}

/// What a lease gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    pub rows: Vec<Leased>,
    /// Rows that make no sense, and were given up.
    pub malformed: Vec<i64>,
}

/// What a bot is told, as it stands now.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// A secret.
    pub url: String,
    pub bot: Person,
    pub author: Person,
    pub room: RoomId,
    pub kind: RoomKind,
    pub room_name: Option<String>,
    pub message: MessageId,
    pub body: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("bot", &self.bot.id).field("message", &self.message).finish()
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is done, or nobody wants it any more: the row goes.
    Done,
    /// Again at that time.
    Again { at: Timestamp, error: String },
    /// The receiver answered, and the answer is to be posted at that time: an attempt counts as the first from here on.
    Answered { at: Timestamp, answer: String, error: String },
    /// Never again; the row stays to be looked at. `error` carries no address.
    Dead { at: Timestamp, error: String },
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxDepth {
    pub waiting: usize,
    pub dead: usize,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    event_id: i64,
    #[diesel(sql_type = Text)]
    payload: String,
    #[diesel(sql_type = BigInt)]
    attempts: i64,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(sql_type = Nullable<Text>)]
    answer: Option<String>,
}

impl Store {
    /// Woken after each commit that put something into the outbox.
    pub fn outbox_filled(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.outbox)
    }

    /// When the next row is due. Dead ones never are.
    pub async fn outbox_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |conn| {
            let query = outbox::table
                .filter(outbox::next_attempt_at.lt(NEVER))
                .order((outbox::next_attempt_at, outbox::id))
                .select(outbox::next_attempt_at);
            let due: Option<i64> = on!(conn, |c| query.first(c)).optional()?;
            Ok(due.map(Timestamp::from_millis))
        })
        .await
    }

    /// Takes at most `limit` rows that are due, until `lease`. Counts an attempt for each, so that one that brings its
    /// process down is not tried for ever. Rows that make no sense become dead letters, so that they hold up no others.
    pub async fn lease_outbox(
        &self,
        now: Timestamp,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Taken, StoreError> {
        let limit = super::limited(limit);
        self.write(move |conn| {
            // Another node's rows are passed over, not waited for.
            let locking = if matches!(conn, Conn::Pg(_)) { "FOR UPDATE SKIP LOCKED" } else { "" };
            let query = sql_query(format!(
                "UPDATE outbox SET attempts = attempts + 1, lease_until = $1, next_attempt_at = $2 WHERE id IN (
                     SELECT id FROM outbox WHERE next_attempt_at <= $3 ORDER BY next_attempt_at, id LIMIT $4 {locking}
                 ) RETURNING id, event_id, payload, CAST(attempts AS BIGINT) AS attempts, created_at, answer"
            ))
            .bind::<BigInt, _>(lease.as_millis())
            .bind::<BigInt, _>(lease.as_millis())
            .bind::<BigInt, _>(now.as_millis())
            .bind::<BigInt, _>(limit);
            let mut rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            rows.sort_unstable_by_key(|row| row.id);
            let mut taken = Taken::default();
            for row in rows {
                let Ok(bot) = row.payload.parse() else {
                    taken.malformed.push(row.id);
                    continue;
                };
                taken.rows.push(Leased {
                    id: row.id,
                    event: EventId::new(row.event_id),
                    bot: UserId::new(bot),
                    attempts: row.attempts,
                    created_at: Timestamp::from_millis(row.created_at),
                    lease,
                    answer: row.answer,
                });
            }
            if !taken.malformed.is_empty() {
                let query = diesel::update(outbox::table.filter(outbox::id.eq_any(&taken.malformed))).set((
                    outbox::next_attempt_at.eq(NEVER),
                    outbox::lease_until.eq(None::<i64>),
                    outbox::dead_at.eq(Some(now.as_millis())),
                    outbox::last_error.eq(Some("the row makes no sense")),
                ));
                on!(conn, |c| query.execute(c))?;
            }
            Ok(taken)
        })
        .await
    }

    /// What `bot` is to be told of a message; none when the message, its room, the bot or its webhook is gone.
    pub async fn webhook(&self, message: MessageId, bot: UserId) -> Result<Option<Webhook>, StoreError> {
        self.read(move |conn| {
            let query = webhooks::table
                .inner_join(users::table)
                .filter(users::status.eq(Status::Active.as_str()))
                .filter(webhooks::user_id.eq(bot.get()))
                .select(((users::id, users::name, users::role), webhooks::url));
            let hook: Option<(PersonRow, String)> = on!(&mut *conn, |c| query.first(c)).optional()?;
            let query = messages::table
                .inner_join(users::table)
                .inner_join(rooms::table)
                .filter(messages::id.eq(message.get()))
                .filter(messages::deleted_at.is_null())
                .filter(rooms::deleted_at.is_null())
                .select((
                    (users::id, users::name, users::role),
                    rooms::id,
                    rooms::kind,
                    rooms::name,
                    messages::body,
                ));
            type Told = (PersonRow, i64, String, Option<String>, String);
            let told: Option<Told> = on!(&mut *conn, |c| query.first(c)).optional()?;
            let (Some((bot, url)), Some((author, room, kind, room_name, body))) = (hook, told) else {
                return Ok(None);
            };
            let kind = RoomKind::parse(&kind).ok_or_else(|| StoreError::nonsense("rooms.kind", kind))?;
            // Who was removed since isn't told any more.
            let membership = memberships::table.find((room, bot.0));
            let is_member: bool = on!(conn, |c| select(exists(membership)).get_result(c))?;
            if kind != RoomKind::Open && !is_member {
                return Ok(None);
            }
            Ok(Some(Webhook {
                url,
                bot: person(bot)?,
                author: person(author)?,
                room: RoomId::new(room),
                kind,
                room_name,
                message,
                body,
            }))
        })
        .await
    }

    /// Ends an attempt, if the lease is still ours.
    pub async fn settle_outbox(&self, leased: &Leased, settled: Settled) -> Result<(), StoreError> {
        let (id, lease) = (leased.id, leased.lease.as_millis());
        self.write(move |conn| {
            let ours = outbox::table.filter(outbox::id.eq(id)).filter(outbox::lease_until.eq(lease));
            let none = None::<i64>;
            match settled {
                Settled::Done => on!(conn, |c| diesel::delete(ours).execute(c))?,
                Settled::Again { at, error } => {
                    let query = diesel::update(ours).set((
                        outbox::next_attempt_at.eq(at.as_millis()),
                        outbox::lease_until.eq(none),
                        outbox::last_error.eq(Some(error)),
                    ));
                    on!(conn, |c| query.execute(c))?
                }
                Settled::Answered { at, answer, error } => {
                    let query = diesel::update(ours).set((
                        outbox::next_attempt_at.eq(at.as_millis()),
                        outbox::lease_until.eq(none),
                        outbox::attempts.eq(0),
                        outbox::answer.eq(Some(answer)),
                        outbox::last_error.eq(Some(error)),
                    ));
                    on!(conn, |c| query.execute(c))?
                }
                Settled::Dead { at, error } => {
                    let query = diesel::update(ours).set((
                        outbox::next_attempt_at.eq(NEVER),
                        outbox::lease_until.eq(none),
                        outbox::dead_at.eq(Some(at.as_millis())),
                        outbox::last_error.eq(Some(error)),
                    ));
                    on!(conn, |c| query.execute(c))?
                }
            };
            Ok(())
        })
        .await
    }

    /// How much waits, and how much was given up.
    pub async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        self.read(move |conn| {
            let query = outbox::table.filter(outbox::dead_at.is_not_null()).count();
            let dead: i64 = on!(&mut *conn, |c| query.get_result(c))?;
            let query = outbox::table.filter(outbox::dead_at.is_null()).count();
            let waiting: i64 = on!(conn, |c| query.get_result(c))?;
            let size = |count: i64| usize::try_from(count).unwrap_or_default();
            Ok(OutboxDepth { waiting: size(waiting), dead: size(dead) })
        })
        .await
    }

    /// Lets the oldest dead letters go, so that `keep` stay.
    pub async fn prune_outbox(&self, keep: usize) -> Result<(), StoreError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.write(move |conn| {
            let query = outbox::table
                .filter(outbox::dead_at.is_not_null())
                .order((outbox::dead_at.desc(), outbox::id.desc()))
                .limit(1_000_000)
                .offset(keep)
                .select(outbox::id);
            let old: Vec<i64> = on!(&mut *conn, |c| query.load(c))?;
            for chunk in old.chunks(500) {
                let query = diesel::delete(outbox::table.filter(outbox::id.eq_any(chunk)));
                on!(&mut *conn, |c| query.execute(c))?;
            }
            Ok(())
        })
        .await
    }
}

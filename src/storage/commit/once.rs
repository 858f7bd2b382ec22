//! Requests with a key of the caller's own: done once, and answered again from what came of them (OPT-06, OPT-09).
//!
//! What is remembered is written in the transaction of what it remembers. A refused request uses up no key.

use super::Halt;
use crate::domain::{
    Ack, Command, IdempotencyKey, InviteId, InviteTerms, Name, Person, Rejection, RejectionCode, Role,
    RoomCard, RoomId, RoomKind, Timestamp, UserId,
};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::options::KeyTerms;
use crate::storage::schema::{idempotency_keys, log_head};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A request as its key knows it.
pub(in crate::storage) struct Request<'a> {
    pub(in crate::storage) user: UserId,
    pub(in crate::storage) key: &'a IdempotencyKey,
    /// What kind of request it is.
    pub(in crate::storage) route: &'static str,
    /// SHA-256 of what it asks for: of two requests with equal digests the second is a repetition.
    pub(in crate::storage) digest: [u8; 32],
}

/// What came of it, as far as it is remembered: never a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "snake_case")]
pub(in crate::storage) enum Answer {
    Room { room: Card, duplicate: bool },
    Bot { bot: Human },
    BotKey,
    Invite { invite: i64 },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage) struct Card {
    id: i64,
    kind: String,
    name: Option<String>,
    created_by: Option<i64>,
    created_at: i64,
    members: Vec<Human>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::storage) struct Human {
    id: i64,
    name: String,
    role: String,
}

/// A digest of fields, each with its length before it: no two requests run into one another.
#[derive(Default)]
pub(in crate::storage) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(in crate::storage) fn of(route: &str) -> Self {
        Self::default().field(route.as_bytes())
    }

    pub(in crate::storage) fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(in crate::storage) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The request that `command` is, if it came with a key.
pub(super) fn request_of<'a>(actor: &Person, command: &'a Command) -> Option<Request<'a>> {
    let route = command.kind();
    let (key, print) = match command {
        Command::CreateRoom { kind, name, members, key: Some(key) } => {
            (key, room_print(route, (*kind).into(), name.as_ref(), members))
        }
        Command::CreateInvite { terms, key: Some(key), .. } => (key, invite_print(route, terms)),
        _ => return None,
    };
    Some(Request { user: actor.id, key, route, digest: print.digest() })
}

fn room_print(route: &str, kind: RoomKind, name: Option<&Name>, members: &[UserId]) -> Fingerprint {
    let mut ids: Vec<UserId> = members.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let print = Fingerprint::of(route)
        .field(kind.as_str().as_bytes())
        .field(name.map(Name::as_str).unwrap_or_default().as_bytes());
    ids.iter().fold(print, |print, id| print.field(&id.get().to_be_bytes()))
}

/// Its terms; the code is another each time that it is asked for.
fn invite_print(route: &str, InviteTerms { role, rooms, lifetime, max_uses }: &InviteTerms) -> Fingerprint {
    let lifetime = lifetime.map(|span| span.as_secs().to_be_bytes());
    let max_uses = max_uses.map(u32::to_be_bytes);
    let print = Fingerprint::of(route)
        .field(role.as_str().as_bytes())
        .field(lifetime.as_ref().map_or(&[], |bytes| bytes.as_slice()))
        .field(max_uses.as_ref().map_or(&[], |bytes| bytes.as_slice()));
    rooms.iter().fold(print, |print, room| print.field(&room.get().to_be_bytes()))
}

/// What came of the request before, if it was made; refused when the key was another request's or its answer expired.
pub(in crate::storage) fn recall(
    conn: &mut Conn,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<Option<Answer>, Halt> {
    type Row = (Vec<u8>, Option<String>, i64, i64);
    let hash = hash_of(request.key);
    let row = idempotency_keys::table.find((request.user.get(), hash.as_slice()));
    let query = row.select((
        idempotency_keys::request_digest,
        idempotency_keys::response,
        idempotency_keys::expires_at,
        idempotency_keys::forget_at,
    ));
    let found: Option<Row> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some((digest, response, expires_at, forget_at)) = found else { return Ok(None) };
    if forget_at <= now.as_millis() {
        // Forgotten, though nobody has cleared it away yet.
        on!(&mut *conn, |c| diesel::delete(row).execute(c))?;
        return Ok(None);
    }
    if digest != request.digest {
        let message = "this idempotency key was used for another request";
        return Err(Rejection::new(RejectionCode::IdempotencyConflict, message).into());
    }
    match response {
        Some(response) if now.as_millis() < expires_at => {
            let answer = serde_json::from_str(&response);
            Ok(Some(answer.map_err(|error| StoreError::nonsense("idempotency_keys.response", error))?))
        }
        _ => {
            let message = "this request was made before, too long ago to say what came of it";
            Err(Rejection::new(RejectionCode::IdempotencyExpired, message).into())
        }
    }
}

/// Remembers what came of a request that was not made before.
pub(in crate::storage) fn remember(
    conn: &mut Conn,
    request: &Request<'_>,
    answer: &Answer,
    now: Timestamp,
    terms: KeyTerms,
) -> Result<(), StoreError> {
    let response = serde_json::to_string(answer)
        .map_err(|error| StoreError::nonsense("an answer to remember", error))?;
    let expires_at = now.after(terms.keep);
    let query = diesel::insert_into(idempotency_keys::table).values((
        idempotency_keys::user_id.eq(request.user.get()),
        idempotency_keys::key_hash.eq(hash_of(request.key).to_vec()),
        idempotency_keys::route.eq(request.route),
        idempotency_keys::request_digest.eq(request.digest.to_vec()),
        idempotency_keys::response.eq(Some(response)),
        idempotency_keys::created_at.eq(now.as_millis()),
        idempotency_keys::expires_at.eq(expires_at.as_millis()),
        idempotency_keys::forget_at.eq(expires_at.after(terms.remember).as_millis()),
    ));
    on!(conn, |c| query.execute(c))?;
    Ok(())
}

/// Makes a transaction of its own wait for its turn behind the batches of all nodes, as [`super::tx::Tx::begin`] does.
pub(in crate::storage) fn wait_in_line(conn: &mut Conn) -> Result<(), StoreError> {
    if let Conn::Pg(c) = conn {
        let query = log_head::table.find(1).select(log_head::id).for_update();
        let _: i64 = query.first(c)?;
    }
    Ok(())
}

fn hash_of(key: &IdempotencyKey) -> [u8; 32] {
    Sha256::digest(key.as_str().as_bytes()).into()
}

impl Answer {
    /// What is to be remembered of `ack`; nothing of acks that no key leads to.
    pub(super) fn of(ack: &Ack) -> Option<Self> {
        match ack {
            Ack::RoomCreated { room, duplicate } => {
                Some(Self::Room { room: Card::from(room.as_ref()), duplicate: *duplicate })
            }
            Ack::Enrolled { person, .. } => Some(Self::Bot { bot: person.into() }),
            Ack::Invited { invite } => Some(Self::Invite { invite: invite.get() }),
            _ => None,
        }
    }

    /// The ack again, marked as a repetition.
    pub(super) fn into_ack(self) -> Result<Ack, StoreError> {
        let original = match self {
            Self::Room { room, duplicate } => {
                Ack::RoomCreated { room: Arc::new(room.try_into()?), duplicate }
            }
            Self::Bot { bot } => Ack::Enrolled { person: bot.try_into()?, room: None },
            Self::BotKey => Ack::Unchanged,
            Self::Invite { invite } => Ack::Invited { invite: InviteId::new(invite) },
        };
        Ok(Ack::Replayed(Box::new(original)))
    }
}

impl From<&RoomCard> for Card {
    fn from(room: &RoomCard) -> Self {
        Self {
            id: room.id.get(),
            kind: room.kind.as_str().to_owned(),
            name: room.name.as_deref().map(str::to_owned),
            created_by: room.created_by.map(UserId::get),
            created_at: room.created_at.as_millis(),
            members: room.members.iter().map(Human::from).collect(),
        }
    }
}

impl TryFrom<Card> for RoomCard {
    type Error = StoreError;

    fn try_from(card: Card) -> Result<Self, StoreError> {
        let kind = RoomKind::parse(&card.kind);
        Ok(Self {
            id: RoomId::new(card.id),
            kind: kind.ok_or_else(|| StoreError::nonsense("the kind of a remembered room", card.kind))?,
            name: card.name.map(Arc::from),
            created_by: card.created_by.map(UserId::new),
            created_at: Timestamp::from_millis(card.created_at),
            members: card.members.into_iter().map(Person::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Person> for Human {
    fn from(person: &Person) -> Self {
        let Person { id, name, role } = person;
        Self { id: id.get(), name: name.to_string(), role: role.as_str().to_owned() }
    }
}

impl TryFrom<Human> for Person {
    type Error = StoreError;

    fn try_from(human: Human) -> Result<Self, StoreError> {
        let role = Role::parse(&human.role);
        Ok(Self {
            id: UserId::new(human.id),
            name: human.name.into(),
            role: role.ok_or_else(|| StoreError::nonsense("the role of somebody remembered", human.role))?,
        })
    }
}

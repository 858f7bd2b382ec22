//! The transaction a batch runs in: numbers, facts, and what is still to be inserted.

use super::bulk;
use super::facts::Facts;
use super::once::{self, Answer, Request};
use super::outbox::{self, Delivery, Hooked};
use super::summoning::Summonable;
use super::{Done, Halt, Terms, Wakes, Write};
use crate::domain::command::Recorded;
use crate::domain::{
    AuditNote, Command, Decision, Event, EventBody, EventId, Origin, Person, Position, Rejection, Room,
    RoomId, Subject, Timestamp, UserId,
};
use crate::storage::EncodePayload;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::queries::audit;
use crate::storage::schema::{assistants, events, log_head, messages, webhooks};
use diesel::dsl::exists;
use diesel::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Entries of the audit trail that are gathered before they are written (count).
const MOST_NOTES: usize = 500;

/// What makes a post unique.
pub(super) type PostKey = (RoomId, UserId, Uuid);

/// The first post with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) position: Position,
    /// SHA-256 of its first body.
    pub(super) digest: [u8; 32],
}

/// A message still to be inserted.
pub(super) struct NewMessage {
    pub(super) position: Position,
    pub(super) room: RoomId,
    pub(super) author: UserId,
    pub(super) client_message_id: Uuid,
    pub(super) digest: [u8; 32],
    pub(super) body: Arc<str>,
}

/// A batch under way. What posts insert is gathered and inserted together; whatever reads messages or events
/// calls [`Tx::flush`] first. All else is written at once, and `facts` follows each event.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c mut Conn,
    pub(super) now: Timestamp,
    /// Where the write under way comes from.
    pub(super) origin: Origin,
    pub(super) facts: Facts,
    encode: EncodePayload,
    pub(super) terms: Terms,
    first_id: EventId,
    last_id: EventId,
    touched: BTreeSet<RoomId>,
    events: Vec<Recorded>,
    messages: Vec<NewMessage>,
    /// Posts looked up or made in this batch; `None` was looked up and isn't there.
    originals: HashMap<PostKey, Option<Original>>,
    /// Whether any bot has a webhook: without one a post asks for nothing more.
    pub(super) has_webhooks: bool,
    /// The bots that have one, once somebody asked.
    pub(super) hooked: Option<Arc<[Hooked]>>,
    /// What is to be delivered, inserted with the next flush.
    pub(super) deliveries: Vec<Delivery>,
    delivered: usize,
    /// Whether there are assistants: without one a post asks for nothing more.
    pub(super) has_assistants: bool,
    /// Those there are, once somebody asked.
    pub(super) summonable: Option<Arc<[Summonable]>>,
    /// Runs began, or are to be stopped.
    pub(super) runs_changed: bool,
    /// What is still to be written to the audit trail.
    notes: Vec<audit::NewRow>,
}

impl<'c> Tx<'c> {
    /// Takes the head of the log. On PostgreSQL its row lock makes all nodes' commits follow one another, so that
    /// the order of ids is the order of commit.
    pub(super) fn begin(
        conn: &'c mut Conn,
        encode: EncodePayload,
        terms: Terms,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let any_webhook = exists(webhooks::table.select(webhooks::user_id));
        let any_assistant = exists(assistants::table.select(assistants::user_id));
        let query = log_head::table.find(1).select((log_head::last_id, any_webhook, any_assistant));
        let (last_id, has_webhooks, has_assistants): (i64, bool, bool) = match conn {
            Conn::Pg(c) => query.for_update().first(c)?,
            Conn::Sqlite(c) => query.first(c)?,
        };
        let last_id = EventId::new(last_id);
        Ok(Self {
            conn,
            now,
            origin: Origin::SYSTEM,
            facts: Facts::default(),
            encode,
            terms,
            first_id: last_id,
            last_id,
            touched: BTreeSet::new(),
            events: Vec::new(),
            messages: Vec::new(),
            originals: HashMap::new(),
            has_webhooks,
            hooked: None,
            deliveries: Vec::new(),
            delivered: 0,
            has_assistants,
            summonable: None,
            runs_changed: false,
            notes: Vec::new(),
        })
    }

    /// Loads what the batch is known to need with few statements. Only a server is far enough away to need it.
    pub(super) fn prefetch(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let Conn::Pg(c) = &mut *self.conn else { return Ok(()) };
        self.facts.preload(c, writes)?;
        let keys: Vec<PostKey> = writes
            .iter()
            .filter_map(|write| match write {
                Write::Command { by, command: Command::PostMessage { room, client_message_id, .. } } => {
                    Some((*room, by.person.id, *client_message_id))
                }
                _ => None,
            })
            .collect();
        if !keys.is_empty() {
            self.originals = bulk::originals(c, &keys)?;
        }
        Ok(())
    }

    /// Does `work`, unless `request` was made before: then it gives what came of it, marked as a repetition. What is done is
    /// remembered in this same transaction. Without a request it is just done.
    pub(super) fn once(
        &mut self,
        request: Option<&Request<'_>>,
        work: impl FnOnce(&mut Self) -> Done,
    ) -> Done {
        let Some(request) = request else { return work(self) };
        if let Some(answer) = once::recall(self.conn, request, self.now)? {
            return Ok((answer.into_ack()?, Vec::new()));
        }
        let (ack, events) = work(self)?;
        if let Some(answer) = Answer::of(&ack) {
            once::remember(self.conn, request, &answer, self.now, self.terms.keys)?;
        }
        Ok((ack, events))
    }

    /// The user as the store has them, if active.
    pub(super) fn active_person(&mut self, user: UserId) -> Result<Option<Person>, StoreError> {
        self.facts.active_person(self.conn, user)
    }

    /// The room every active user hears.
    pub(super) fn commons(&mut self) -> Result<RoomId, StoreError> {
        self.facts.commons(self.conn)
    }

    /// The room only `user` hears.
    pub(super) fn inbox(&mut self, user: UserId) -> Result<RoomId, StoreError> {
        self.facts.inbox(self.conn, user)
    }

    /// Loads the inboxes of many with few statements.
    pub(super) fn load_inboxes(&mut self, users: &[UserId]) -> Result<(), StoreError> {
        self.facts.load_inboxes(self.conn, users)
    }

    /// The domain's rules on the rows: the final word. Loads of the memberships only those of `about`.
    pub(super) fn decide(
        &mut self,
        room: RoomId,
        actor: &Person,
        command: &Command,
        about: Option<UserId>,
        subject: &Subject,
    ) -> Result<Decision, Halt> {
        self.facts.load_membership(self.conn, room, actor.id)?;
        if let Some(user) = about {
            self.facts.load_membership(self.conn, room, user)?;
        }
        let Some(room) = self.facts.room(self.conn, room)? else {
            return Err(Rejection::not_found("room").into());
        };
        Ok(room.decide(actor, command, subject)?)
    }

    /// The room, which is known to exist.
    pub(super) fn room(&mut self, room: RoomId) -> Result<&mut Room, StoreError> {
        let known = self.facts.room(self.conn, room)?;
        known.ok_or_else(|| StoreError::nonsense("a room that must exist is missing", room))
    }

    /// Gives an accepted event its numbers. It is inserted with the next flush.
    pub(super) fn record(
        &mut self,
        room: RoomId,
        actor: Option<UserId>,
        body: EventBody,
    ) -> Result<Recorded, StoreError> {
        let id = self.last_id.next();
        let at = self.now;
        let known = self.room(room)?;
        let event = Event { id, room, seq: known.head.next(), at, actor, body };
        known.apply(&event).map_err(|gap| StoreError::Corrupt(format!("room {room}: {gap:?}")))?;
        self.last_id = id;
        self.touched.insert(room);
        let payload = (self.encode)(&event.body).into();
        let recorded = Recorded { event, payload };
        self.events.push(recorded.clone());
        Ok(recorded)
    }

    /// Writes to the audit trail what `actor` did, with what is done.
    /// It is gathered like posts are: what bots do costs no statement each.
    pub(super) fn audit(&mut self, actor: Option<UserId>, note: &AuditNote) -> Result<(), StoreError> {
        self.notes.push(audit::NewRow::new(actor, self.origin, note, self.now));
        if self.notes.len() < MOST_NOTES {
            return Ok(());
        }
        audit::insert_all(self.conn, &std::mem::take(&mut self.notes))
    }

    /// The first post with that key, of this batch or of long ago.
    pub(super) fn original(&mut self, key: PostKey) -> Result<Option<Original>, StoreError> {
        if let Some(known) = self.originals.get(&key) {
            return Ok(known.clone());
        }
        let (room, author, client_message_id) = key;
        let query = messages::table
            .filter(messages::room_id.eq(room.get()))
            .filter(messages::author_id.eq(author.get()))
            .filter(messages::client_message_id.eq(client_message_id.as_bytes().as_slice()))
            .select((messages::id, messages::seq, messages::created_at, messages::digest));
        let row: Option<OriginalRow> = on!(&mut *self.conn, |c| query.first(c)).optional()?;
        let original = row.map(Original::try_from).transpose()?;
        self.originals.insert(key, original.clone());
        Ok(original)
    }

    /// Takes a message to be inserted with the next flush.
    pub(super) fn add_message(&mut self, message: NewMessage) {
        let key = (message.room, message.author, message.client_message_id);
        let original = Original { position: message.position, digest: message.digest };
        self.originals.insert(key, Some(original));
        self.messages.push(message);
    }

    /// Inserts what was gathered, so that statements see it.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        let recorded = std::mem::take(&mut self.events);
        let rows: Vec<EventRow<'_>> = recorded.iter().map(EventRow::from).collect();
        bulk::insert_events(self.conn, &rows)?;
        let gathered = std::mem::take(&mut self.messages);
        let rows: Vec<MessageRow<'_>> = gathered.iter().map(MessageRow::from).collect();
        bulk::insert_messages(self.conn, &rows)?;
        let deliveries = std::mem::take(&mut self.deliveries);
        self.delivered += deliveries.len();
        outbox::insert(self.conn, &deliveries, self.now.as_millis(), self.terms.outbox_rows)
    }

    /// Writes the heads of the rooms that got events, so that statements see them.
    pub(super) fn write_heads(&mut self) -> Result<(), StoreError> {
        let mut heads = Vec::with_capacity(self.touched.len());
        for room in std::mem::take(&mut self.touched) {
            heads.push((room.get(), self.room(room)?.head.get()));
        }
        if heads.is_empty() { Ok(()) } else { bulk::update_heads(self.conn, &heads) }
    }

    /// The id that the next event will have.
    pub(super) fn next_id(&self) -> EventId {
        self.last_id.next()
    }

    /// Inserts the rest and writes the heads; gives who is to be woken.
    pub(super) fn finish(mut self) -> Result<Wakes, StoreError> {
        audit::insert_all(self.conn, &self.notes)?;
        if self.last_id == self.first_id {
            return Ok(Wakes { outbox: false, runs: self.runs_changed });
        }
        self.flush()?;
        self.write_heads()?;
        let query = diesel::update(log_head::table.find(1)).set(log_head::last_id.eq(self.last_id.get()));
        on!(&mut *self.conn, |c| query.execute(c))?;
        Ok(Wakes { outbox: self.delivered > 0, runs: self.runs_changed })
    }
}

/// A row of `events` to be inserted.
#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub(super) struct EventRow<'a> {
    id: i64,
    room_id: i64,
    seq: i64,
    kind: &'a str,
    actor_id: Option<i64>,
    payload: &'a str,
    at: i64,
}

impl<'a> From<&'a Recorded> for EventRow<'a> {
    fn from(recorded: &'a Recorded) -> Self {
        let event = &recorded.event;
        Self {
            id: event.id.get(),
            room_id: event.room.get(),
            seq: event.seq.get(),
            kind: event.body.kind(),
            actor_id: event.actor.map(UserId::get),
            payload: &recorded.payload,
            at: event.at.as_millis(),
        }
    }
}

/// A row of `messages` to be inserted.
#[derive(Insertable)]
#[diesel(table_name = messages, treat_none_as_default_value = false)]
pub(super) struct MessageRow<'a> {
    id: i64,
    room_id: i64,
    seq: i64,
    author_id: i64,
    client_message_id: &'a [u8],
    digest: &'a [u8],
    body: &'a str,
    created_at: i64,
}

impl<'a> From<&'a NewMessage> for MessageRow<'a> {
    fn from(message: &'a NewMessage) -> Self {
        Self {
            id: message.position.id.get(),
            room_id: message.room.get(),
            seq: message.position.seq.get(),
            author_id: message.author.get(),
            client_message_id: message.client_message_id.as_bytes(),
            digest: &message.digest,
            body: &message.body,
            created_at: message.position.at.as_millis(),
        }
    }
}

/// Id, seq, time and digest of a message.
pub(super) type OriginalRow = (i64, i64, i64, Vec<u8>);

impl TryFrom<OriginalRow> for Original {
    type Error = StoreError;

    fn try_from((id, seq, at, digest): OriginalRow) -> Result<Self, StoreError> {
        let digest = digest.try_into().map_err(|_bytes| StoreError::nonsense("the digest of message", id))?;
        let position = Position {
            id: EventId::new(id),
            seq: crate::domain::Seq::new(seq),
            at: Timestamp::from_millis(at),
        };
        Ok(Self { position, digest })
    }
}

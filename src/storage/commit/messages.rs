//! Posting, editing and deleting messages.

use super::tx::{NewMessage, Original, Tx};
use super::{Done, Halt, outbox, runs, summaries, summoning};
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Command, Decision, EventId, MessageBody, MessageFacts,
    MessageId, Person, Position, Rejection, RejectionCode, RoomId, Seq, Subject, Timestamp, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{events, messages};
use diesel::prelude::*;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Posts once: the same `client_message_id` with the same body is answered with the first post, whatever has become
/// of it or of the author's membership meanwhile.
pub(super) fn post(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    (room, client_message_id): (RoomId, Uuid),
    body: &MessageBody,
    settings: Option<i64>,
) -> Done {
    let digest: [u8; 32] = Sha256::digest(body.as_str().as_bytes()).into();
    if let Some(Original { position, digest: first }) = tx.original((room, actor.id, client_message_id))? {
        if first != digest {
            let message = "this client_message_id was used for another body";
            return Err(Rejection::new(RejectionCode::IdempotencyConflict, message).into());
        }
        let (id, body, mut events) = (MessageId::new(position.id.get()), body.as_str(), Vec::new());
        let runs = summoning::repeat(tx, (actor, command), room, id, body, settings, &mut events)?;
        return Ok((Ack::Posted { position, client_message_id, duplicate: true, runs }, events));
    }
    let Decision::Record(event) = tx.decide(room, actor, command, None, &Subject::Unknown)? else {
        return Err(undecided(command));
    };
    let recorded = tx.record(room, Some(actor.id), event)?;
    let position = recorded.event.position();
    tx.add_message(NewMessage {
        position,
        room,
        author: actor.id,
        client_message_id,
        digest,
        body: body.shared(),
    });
    outbox::announce(tx, actor, room, position.id, body.as_str())?;
    let mut events = vec![recorded];
    let runs = summoning::summon(tx, actor, room, position.id, body.as_str(), settings, &mut events)?;
    Ok((Ack::Posted { position, client_message_id, duplicate: false, runs }, events))
}

/// Edits the version the editor saw; an edit that is done already is answered as it was the first time.
pub(super) fn edit(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    room: RoomId,
    message: MessageId,
    version: i32,
    body: &MessageBody,
) -> Done {
    let row = load(tx, room, message)?;
    let subject = Subject::Message(row.as_ref().map(MessageRow::facts));
    let decision = tx.decide(room, actor, command, None, &subject);
    if let (Err(Halt::Refused(rejection)), Some(row)) = (&decision, &row)
        && rejection.code == RejectionCode::VersionConflict
        && row.version == version.saturating_add(1)
        && row.edited_by == Some(actor.id.get())
        && row.body == body.as_str()
        && let Some(event) = row.edit_event_id
    {
        let position = position_of(tx, EventId::new(event))?;
        let version = row.version;
        return Ok((Ack::Edited { position, message, version, duplicate: true }, Vec::new()));
    }
    let Decision::Record(event) = decision? else { return Err(undecided(command)) };
    if let Some(run) = runs::open_on(tx, message)? {
        return Err(Rejection::ai_busy(run).into());
    }
    let recorded = tx.record(room, Some(actor.id), event)?;
    let position = recorded.event.position();
    // The row refers to the event.
    tx.flush()?;
    let note = AuditNote::new(AuditAction::MessageEdited, AuditTarget::Message(message)).in_room(room);
    of_another(tx, actor, row.as_ref(), &note)?;
    let version = version + 1;
    let query = diesel::update(messages::table.find(message.get())).set((
        messages::body.eq(body.as_str()),
        messages::version.eq(version),
        messages::edited_at.eq(tx.now.as_millis()),
        messages::edited_by.eq(actor.id.get()),
        messages::edit_event_id.eq(position.id.get()),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok((Ack::Edited { position, message, version, duplicate: false }, vec![recorded]))
}

/// Hides the message from every list; the row stays, and who did it when.
pub(super) fn delete(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    room: RoomId,
    message: MessageId,
) -> Done {
    let row = load(tx, room, message)?;
    let subject = Subject::Message(row.as_ref().map(MessageRow::facts));
    let event = match tx.decide(room, actor, command, None, &subject)? {
        Decision::Record(event) => event,
        Decision::Unchanged => return Ok((Ack::Deleted { position: None, message }, Vec::new())),
        Decision::Defer => return Err(undecided(command)),
    };
    let recorded = tx.record(room, Some(actor.id), event)?;
    let deleted = recorded.event.position();
    let mut events = vec![recorded];
    let note = AuditNote::new(AuditAction::MessageDeleted, AuditTarget::Message(message)).in_room(room);
    of_another(tx, actor, row.as_ref(), &note)?;
    let query = diesel::update(messages::table.find(message.get()))
        .set((messages::deleted_at.eq(tx.now.as_millis()), messages::deleted_by.eq(actor.id.get())));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    summaries::forget(tx, room, message)?;
    events.extend(runs::on_deleted(tx, actor, room, message)?);
    Ok((Ack::Deleted { position: Some(deleted), message }, events))
}

/// What somebody does with their own message is nobody else's business.
fn of_another(
    tx: &mut Tx<'_>,
    actor: &Person,
    message: Option<&MessageRow>,
    note: &AuditNote,
) -> Result<(), StoreError> {
    match message {
        Some(row) if row.author_id != actor.id.get() => {
            tx.audit(Some(actor.id), &note.clone().with("author", row.author_id.to_string()))
        }
        _ => Ok(()),
    }
}

#[derive(Queryable)]
struct MessageRow {
    id: i64,
    author_id: i64,
    body: String,
    version: i32,
    edited_by: Option<i64>,
    edit_event_id: Option<i64>,
    deleted_at: Option<i64>,
}

impl MessageRow {
    fn facts(&self) -> MessageFacts {
        MessageFacts {
            id: MessageId::new(self.id),
            author: UserId::new(self.author_id),
            version: self.version,
            deleted: self.deleted_at.is_some(),
        }
    }
}

fn load(tx: &mut Tx<'_>, room: RoomId, message: MessageId) -> Result<Option<MessageRow>, StoreError> {
    tx.flush()?;
    let query = messages::table.find(message.get()).filter(messages::room_id.eq(room.get())).select((
        messages::id,
        messages::author_id,
        messages::body,
        messages::version,
        messages::edited_by,
        messages::edit_event_id,
        messages::deleted_at,
    ));
    Ok(on!(&mut *tx.conn, |c| query.first(c)).optional()?)
}

fn position_of(tx: &mut Tx<'_>, event: EventId) -> Result<Position, StoreError> {
    let query = events::table.find(event.get()).select((events::seq, events::at));
    let (seq, at): (i64, i64) = on!(&mut *tx.conn, |c| query.first(c))?;
    Ok(Position { id: event, seq: Seq::new(seq), at: Timestamp::from_millis(at) })
}

/// The rules left open what the rows should have settled.
pub(super) fn undecided(command: &Command) -> Halt {
    StoreError::nonsense("no decision on", command.kind()).into()
}

//! Adding people to closed rooms and removing them.

use super::messages::undecided;
use super::tx::Tx;
use super::{Done, ending, reading};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Command, Decision, EventBody, Members, Person, Room, RoomCard,
    RoomId, Subject, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::memberships;
use diesel::prelude::*;
use std::sync::Arc;

/// Adds a person: the room hears it, and so does the person's inbox.
pub(super) fn add(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId, user: UserId) -> Done {
    let subject = Subject::Person(tx.active_person(user)?);
    let event = match tx.decide(room, actor, command, Some(user), &subject)? {
        Decision::Record(event) => event,
        Decision::Unchanged => return Ok((Ack::Unchanged, Vec::new())),
        Decision::Defer => return Err(undecided(command)),
    };
    let events = enter(tx, room, user, actor.id, event)?;
    let position = events.first().map(|added| added.event.position());
    Ok((position.map_or(Ack::Unchanged, Ack::Recorded), events))
}

/// Adds somebody whose right to be added is settled.
pub(super) fn admit(
    tx: &mut Tx<'_>,
    room: RoomId,
    user: &Person,
    by: UserId,
) -> Result<Vec<Recorded>, StoreError> {
    let event = EventBody::MemberAdded { user: user.clone(), added_by: by };
    enter(tx, room, user.id, by, event)
}

fn enter(
    tx: &mut Tx<'_>,
    room: RoomId,
    user: UserId,
    by: UserId,
    event: EventBody,
) -> Result<Vec<Recorded>, StoreError> {
    insert(tx, room, user, Some(by))?;
    reading::catch_up(tx, user, room)?;
    let added = tx.record(room, Some(by), event)?;
    let room = card(tx.room(room)?, Vec::new());
    let inbox = tx.inbox(user)?;
    let granted = tx.record(inbox, Some(by), EventBody::MembershipGranted { room })?;
    Ok(vec![added, granted])
}

/// Removes a person: the room hears it, and so does the person's inbox.
pub(super) fn remove(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId, user: UserId) -> Done {
    let subject = Subject::Person(tx.active_person(user)?);
    let event = match tx.decide(room, actor, command, Some(user), &subject)? {
        Decision::Record(event) => event,
        Decision::Unchanged => return Ok((Ack::Unchanged, Vec::new())),
        Decision::Defer => return Err(undecided(command)),
    };
    let query = diesel::delete(memberships::table.find((room.get(), user.get())));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    if user != actor.id {
        let note = AuditNote::new(AuditAction::MemberRemoved, AuditTarget::User(user)).in_room(room);
        tx.audit(Some(actor.id), &note)?;
    }
    // An assistant that is in the room no more says nothing more in it.
    let mut events = ending::end_all_in(tx, room, Some(user))?;
    let removed = tx.record(room, Some(actor.id), event)?;
    let ack = Ack::Recorded(removed.event.position());
    events.push(removed);
    let inbox = tx.inbox(user)?;
    events.push(tx.record(inbox, Some(actor.id), EventBody::MembershipRevoked { room })?);
    Ok((ack, events))
}

/// Writes a membership.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    room: RoomId,
    user: UserId,
    added_by: Option<UserId>,
) -> Result<(), StoreError> {
    let query = diesel::insert_into(memberships::table).values((
        memberships::room_id.eq(room.get()),
        memberships::user_id.eq(user.get()),
        memberships::added_by.eq(added_by.map(UserId::get)),
        memberships::created_at.eq(tx.now.as_millis()),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

/// Everybody who was added to `room` by name.
pub(super) fn all(tx: &mut Tx<'_>, room: RoomId) -> Result<Vec<UserId>, StoreError> {
    up_to(tx, room, usize::MAX)
}

/// The same, at most `most` of them.
pub(super) fn up_to(tx: &mut Tx<'_>, room: RoomId, most: usize) -> Result<Vec<UserId>, StoreError> {
    let query = memberships::table
        .filter(memberships::room_id.eq(room.get()))
        .select(memberships::user_id)
        .order(memberships::user_id)
        .limit(i64::try_from(most).unwrap_or(i64::MAX));
    let ids: Vec<i64> = on!(&mut *tx.conn, |c| query.load(c))?;
    Ok(ids.into_iter().map(UserId::new).collect())
}

/// What `room` shows of itself.
pub(super) fn card(room: &Room, members: Vec<Person>) -> Arc<RoomCard> {
    Arc::new(RoomCard {
        id: room.id,
        kind: room.kind,
        name: room.name.clone(),
        created_by: room.created_by,
        created_at: room.created_at,
        members,
    })
}

/// The members as a room holds them.
pub(super) fn set(members: &[UserId]) -> Members {
    Members(members.iter().copied().collect())
}

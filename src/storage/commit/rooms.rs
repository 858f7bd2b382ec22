//! Making, renaming and deleting rooms.

use super::messages::undecided;
use super::tx::Tx;
use super::{Done, ending, members};
use crate::domain::command::Recorded;
use crate::domain::decide::direct_key;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Command, Decision, EventBody, Name, NewRoomKind, Person,
    Rejection, Room, RoomCard, RoomId, RoomKind, Seq, Subject, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::rooms as room_queries;
use crate::storage::schema::rooms;
use diesel::prelude::*;
use std::sync::Arc;

/// People a room may begin with.
const MOST_MEMBERS: usize = 100;
/// Members of a closed room whose inboxes are told of its new name (count); in a larger room none is: they find it in `welcome`.
const MOST_TOLD: usize = 1_000;

/// A room to be inserted.
pub(super) struct NewRoom<'a> {
    pub(super) kind: RoomKind,
    pub(super) name: Option<Arc<str>>,
    pub(super) direct_key: Option<&'a str>,
    pub(super) owner: Option<UserId>,
    pub(super) created_by: Option<UserId>,
    pub(super) members: &'a [UserId],
}

/// Makes a room, or finds the direct room of exactly these people.
pub(super) fn create(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    kind: NewRoomKind,
    name: Option<&Name>,
    others: &[UserId],
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    match (kind, name) {
        (NewRoomKind::Direct, Some(_)) => {
            return Err(Rejection::invalid("name", "is not for direct rooms").into());
        }
        (NewRoomKind::Open | NewRoomKind::Closed, None) => {
            return Err(Rejection::invalid("name", "is missing").into());
        }
        _ => {}
    }
    if kind == NewRoomKind::Open && !others.is_empty() {
        return Err(Rejection::invalid("members", "is not for open rooms: everybody is in").into());
    }
    let mut ids: Vec<UserId> = others.to_vec();
    if kind != NewRoomKind::Open {
        ids.push(actor.id);
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > MOST_MEMBERS {
        return Err(Rejection::invalid("members", "has more than 100 people").into());
    }
    let key = (kind == NewRoomKind::Direct).then(|| direct_key(&ids));
    if let Some(key) = &key
        && let Some(room) = room_queries::direct(tx.conn, key)?
    {
        return Ok((Ack::RoomCreated { room: Arc::new(room), duplicate: true }, Vec::new()));
    }
    let mut people = Vec::with_capacity(ids.len());
    for id in &ids {
        let Some(person) = tx.active_person(*id)? else {
            return Err(Rejection::invalid("members", "names somebody who is not here").into());
        };
        people.push(person);
    }
    let (room, mut events) = insert(
        tx,
        Some(actor.id),
        NewRoom {
            kind: kind.into(),
            name: name.map(Name::shared),
            direct_key: key.as_deref(),
            owner: None,
            created_by: Some(actor.id),
            members: &ids,
        },
    )?;
    let shown = if kind == NewRoomKind::Direct { people.clone() } else { Vec::new() };
    let card = members::card(tx.room(room)?, shown);
    if kind == NewRoomKind::Open {
        events.push(tx.record(commons, Some(actor.id), EventBody::RoomListed { room: Arc::clone(&card) })?);
    }
    for id in &ids {
        let inbox = tx.inbox(*id)?;
        let granted = EventBody::MembershipGranted { room: Arc::clone(&card) };
        events.push(tx.record(inbox, Some(actor.id), granted)?);
    }
    let room = match kind {
        // Who is in a closed room the asker may see, the events don't tell.
        NewRoomKind::Closed => Arc::new(RoomCard { members: people, ..card.as_ref().clone() }),
        NewRoomKind::Open | NewRoomKind::Direct => card,
    };
    Ok((Ack::RoomCreated { room, duplicate: false }, events))
}

/// Inserts a room with its members and records that it was made, as its first event.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    actor: Option<UserId>,
    new: NewRoom<'_>,
) -> Result<(RoomId, Vec<Recorded>), StoreError> {
    let query = diesel::insert_into(rooms::table)
        .values((
            rooms::kind.eq(new.kind.as_str()),
            rooms::name.eq(new.name.as_deref()),
            rooms::direct_key.eq(new.direct_key),
            rooms::owner_id.eq(new.owner.map(UserId::get)),
            rooms::created_by.eq(new.created_by.map(UserId::get)),
            rooms::created_at.eq(tx.now.as_millis()),
        ))
        .returning(rooms::id);
    let id: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    let id = RoomId::new(id);
    for user in new.members {
        members::insert(tx, id, *user, new.created_by)?;
    }
    tx.facts.put_room(Room {
        id,
        kind: new.kind,
        name: new.name.clone(),
        created_by: new.created_by,
        created_at: tx.now,
        deleted: false,
        head: Seq::default(),
        members: members::set(new.members),
    });
    let created = EventBody::RoomCreated { kind: new.kind, name: new.name, created_by: new.created_by };
    Ok((id, vec![tx.record(id, actor, created)?]))
}

/// Renames a room; of an open one everybody hears, of a closed one its members do, whether they listen to it or not.
pub(super) fn rename(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId) -> Done {
    let event = match tx.decide(room, actor, command, None, &Subject::Unknown)? {
        Decision::Record(event) => event,
        Decision::Unchanged => return Ok((Ack::Unchanged, Vec::new())),
        Decision::Defer => return Err(undecided(command)),
    };
    let from = tx.room(room)?.name.as_deref().unwrap_or_default().to_owned();
    let updated = tx.record(room, Some(actor.id), event)?;
    let card: Arc<RoomCard> = members::card(tx.room(room)?, Vec::new());
    let query = diesel::update(rooms::table.find(room.get())).set(rooms::name.eq(card.name.as_deref()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let note = AuditNote::new(AuditAction::RoomRenamed, AuditTarget::Room(room)).in_room(room);
    let to = card.name.as_deref().unwrap_or_default();
    tx.audit(Some(actor.id), &note.with("from", from).with("to", to))?;
    let ack = Ack::Recorded(updated.event.position());
    let mut events = vec![updated];
    if card.kind == RoomKind::Open {
        let commons = tx.commons()?;
        let listed = EventBody::RoomListed { room: Arc::clone(&card) };
        events.push(tx.record(commons, Some(actor.id), listed)?);
    }
    // Of an open room only guests are members by name, who don't hear the commons.
    let members = members::up_to(tx, room, MOST_TOLD + 1)?;
    if members.len() <= MOST_TOLD {
        tx.load_inboxes(&members)?;
        for user in members {
            let inbox = tx.inbox(user)?;
            let renamed = EventBody::MembershipGranted { room: Arc::clone(&card) };
            events.push(tx.record(inbox, Some(actor.id), renamed)?);
        }
    }
    Ok((ack, events))
}

/// Deletes a room for everybody; the rows stay, and who did it when.
pub(super) fn delete(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId) -> Done {
    let Decision::Record(event) = tx.decide(room, actor, command, None, &Subject::Unknown)? else {
        return Err(undecided(command));
    };
    let query = diesel::update(rooms::table.find(room.get()))
        .set((rooms::deleted_at.eq(tx.now.as_millis()), rooms::deleted_by.eq(actor.id.get())));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let note = AuditNote::new(AuditAction::RoomDeleted, AuditTarget::Room(room)).in_room(room);
    let name = tx.room(room)?.name.as_deref().unwrap_or_default().to_owned();
    tx.audit(Some(actor.id), &note.with("name", name))?;
    let mut events = ending::end_all_in(tx, room, None)?;
    let deleted = tx.record(room, Some(actor.id), event)?;
    let ack = Ack::Recorded(deleted.event.position());
    events.push(deleted);
    if tx.room(room)?.kind == RoomKind::Open {
        let commons = tx.commons()?;
        events.push(tx.record(commons, Some(actor.id), EventBody::RoomUnlisted { room })?);
    }
    let members = members::all(tx, room)?;
    tx.load_inboxes(&members)?;
    for user in members {
        let inbox = tx.inbox(user)?;
        events.push(tx.record(inbox, Some(actor.id), EventBody::MembershipRevoked { room })?);
    }
    Ok((ack, events))
}

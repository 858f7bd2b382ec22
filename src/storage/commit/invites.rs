//! Making invitations, taking them back, and coming in by one: counted in the transaction that lets somebody in.

use super::tx::Tx;
use super::{Done, Halt, members};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, Action, AuditAction, AuditNote, AuditTarget, Command, InviteCode, InviteId, InviteTerms, Person,
    Rejection, Role, RoomId, RoomKind, Subject, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::invites::{self as queries, Invite};
use crate::storage::schema::{accounts, invite_rooms, invites};
use diesel::prelude::*;

/// Makes an invitation into rooms that the asker sees.
pub(super) fn create(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    code: &InviteCode,
    terms: &InviteTerms,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    for room in &terms.rooms {
        tx.facts.load_membership(tx.conn, *room, actor.id)?;
        let found = tx.facts.room(tx.conn, *room)?;
        let is_for_guests = found.is_some_and(|room| {
            matches!(room.kind, RoomKind::Open | RoomKind::Closed)
                && room.allows(actor, Action::ReadRoom).is_ok()
        });
        if !is_for_guests {
            return Err(Rejection::invalid("room_ids", "names a room that isn't there").into());
        }
    }
    let expires_at = terms.lifetime.map(|span| tx.now.after(span).as_millis());
    let query = diesel::insert_into(invites::table)
        .values((
            invites::code.eq(code.reveal()),
            invites::role.eq(terms.role.as_str()),
            invites::created_by.eq(actor.id.get()),
            invites::created_at.eq(tx.now.as_millis()),
            invites::expires_at.eq(expires_at),
            invites::max_uses.eq(terms.max_uses.map(i64::from)),
        ))
        .returning(invites::id);
    let id: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    for room in &terms.rooms {
        let query = diesel::insert_into(invite_rooms::table)
            .values((invite_rooms::invite_id.eq(id), invite_rooms::room_id.eq(room.get())));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let invite = InviteId::new(id);
    let note = AuditNote::new(AuditAction::InviteCreated, AuditTarget::Invite(invite));
    tx.audit(Some(actor.id), &note.with("role", terms.role.as_str()))?;
    Ok((Ack::Invited { invite }, Vec::new()))
}

/// Takes an invitation back; that it was already changes nothing.
pub(super) fn revoke(tx: &mut Tx<'_>, actor: &Person, command: &Command, invite: InviteId) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let query = invites::table.find(invite.get()).select(invites::revoked_at);
    let found: Option<Option<i64>> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    match found {
        None => Err(Rejection::not_found("invite").into()),
        Some(Some(_)) => Ok((Ack::Unchanged, Vec::new())),
        Some(None) => {
            let query = diesel::update(invites::table.find(invite.get()))
                .set(invites::revoked_at.eq(tx.now.as_millis()));
            on!(&mut *tx.conn, |c| query.execute(c))?;
            let note = AuditNote::new(AuditAction::InviteRevoked, AuditTarget::Invite(invite));
            tx.audit(Some(actor.id), &note)?;
            Ok((Ack::Unchanged, Vec::new()))
        }
    }
}

/// Gives the account another standing code.
pub(super) fn rotate(tx: &mut Tx<'_>, actor: &Person, command: &Command, code: &InviteCode) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let query = diesel::update(accounts::table.find(1)).set(accounts::join_code.eq(code.reveal()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    tx.audit(Some(actor.id), &AuditNote::new(AuditAction::JoinCodeRotated, AuditTarget::Account))?;
    Ok((Ack::Unchanged, Vec::new()))
}

/// The invitation of a code, if it still holds.
pub(super) fn find(tx: &mut Tx<'_>, code: &InviteCode) -> Result<Invite, Halt> {
    let Some(invite) = queries::by_code(tx.conn, code)? else {
        return Err(Rejection::not_found("invite").into());
    };
    invite.state.must_hold(tx.now)?;
    Ok(invite)
}

/// Somebody came in by it.
pub(super) fn count(tx: &mut Tx<'_>, invite: InviteId) -> Result<(), StoreError> {
    let query = diesel::update(invites::table.find(invite.get()))
        .set((invites::uses.eq(invites::uses + 1), invites::last_used_at.eq(tx.now.as_millis())));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

/// Adds a newcomer to the rooms of their invitation that are still there. In open rooms members are anyway.
pub(super) fn admit(
    tx: &mut Tx<'_>,
    newcomer: &Person,
    rooms: &[RoomId],
    by: UserId,
) -> Result<Vec<Recorded>, StoreError> {
    let mut events = Vec::new();
    for room in rooms {
        let is_added = tx.facts.room(tx.conn, *room)?.is_some_and(|room| match room.kind {
            _ if room.deleted => false,
            RoomKind::Open => newcomer.role == Role::Guest,
            RoomKind::Closed => true,
            RoomKind::Direct | RoomKind::Inbox | RoomKind::Commons => false,
        });
        if is_added {
            events.extend(members::admit(tx, *room, newcomer, by)?);
        }
    }
    Ok(events)
}

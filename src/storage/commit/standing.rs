//! Roles, deactivation and the way back: who may come in, and as what. Memberships, messages and read marks stay as they are.

use super::tx::Tx;
use super::{Done, Halt, bots, ending, reading, sessions, transfers};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Command, EventBody, Person, Rejection, Role, Standing,
    StandingChange, Status, Subject, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::people::{PersonRow, person, status_from};
use crate::storage::schema::users;
use diesel::prelude::*;

/// Changes somebody's role, deactivates them, or lets them back in.
pub(super) fn update(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    user: UserId,
    change: StandingChange,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let Some(standing) = find(tx, user)? else { return Err(Rejection::not_found("user").into()) };
    let turn = standing.change(change)?;
    let Standing { mut person, status, .. } = standing;
    let mut events = Vec::new();
    if let Some(role) = turn.role {
        let before = std::mem::replace(&mut person.role, role);
        let query = diesel::update(users::table.find(user.get())).set(users::role.eq(role.as_str()));
        on!(&mut *tx.conn, |c| query.execute(c))?;
        let note = AuditNote::new(AuditAction::UserRoleChanged, AuditTarget::User(user));
        let note = note.with("from", before.as_str()).with("to", role.as_str());
        tx.audit(Some(actor.id), &note)?;
        if before == Role::Guest {
            reading::begin(tx, &person)?;
        }
        if before == Role::Admin {
            transfers::end_made_by(tx, user)?;
        }
        if status == Status::Active {
            tx.facts.put_person(person.clone());
            if turn.status.is_none() {
                events.push(tx.record(
                    commons,
                    Some(actor.id),
                    EventBody::UserUpdated { user: person.clone() },
                )?);
            }
        }
    }
    if let Some(status) = turn.status {
        let action = match (status, person.role) {
            (Status::Active, _) => AuditAction::UserReactivated,
            (_, Role::Bot) => AuditAction::BotDeactivated,
            (_, Role::Assistant) => AuditAction::AssistantDeactivated,
            _ => AuditAction::UserDeactivated,
        };
        tx.audit(Some(actor.id), &AuditNote::new(action, AuditTarget::User(user)))?;
        match status {
            Status::Active => events.push(come_back(tx, actor, &person)?),
            _ => events.extend(leave(tx, actor, user, status)?),
        }
    }
    Ok(match events.first() {
        Some(first) => (Ack::Recorded(first.event.position()), events),
        None => (Ack::Unchanged, events),
    })
}

/// Somebody of whatever status.
pub(super) fn find(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Standing>, StoreError> {
    let query = users::table.find(user.get()).select(((users::id, users::name, users::role), users::status));
    let row: Option<(PersonRow, String)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let Some((row, status)) = row else { return Ok(None) };
    let (person, status) = (person(row)?, status_from(&status)?);
    let has_peer = !person.is_admin() || has_other_admin(tx, user)?;
    Ok(Some(Standing { person, status, has_peer }))
}

fn has_other_admin(tx: &mut Tx<'_>, user: UserId) -> Result<bool, StoreError> {
    let query = users::table
        .filter(users::role.eq(Role::Admin.as_str()))
        .filter(users::status.eq(Status::Active.as_str()))
        .filter(users::id.ne(user.get()))
        .select(users::id);
    let other: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(other.is_some())
}

/// Closes the door behind somebody: their sessions end, what they are about to say, too, and everybody hears that they left.
pub(super) fn leave(
    tx: &mut Tx<'_>,
    actor: &Person,
    user: UserId,
    status: Status,
) -> Result<Vec<Recorded>, Halt> {
    let mut events = ending::end_all_of(tx, user)?;
    set_status(tx, user, status)?;
    sessions::revoke_all(tx, user)?;
    bots::take_keys(tx, actor, user)?;
    tx.facts.forget_person(user);
    let commons = tx.commons()?;
    events.push(tx.record(commons, Some(actor.id), EventBody::UserLeft { user })?);
    Ok(events)
}

/// The last of what was recorded, as the asker is told.
pub(super) fn recorded(events: &[Recorded]) -> Ack {
    events.last().map_or(Ack::Unchanged, |last| Ack::Recorded(last.event.position()))
}

/// Lets somebody in again, who has to sign in anew.
pub(super) fn come_back(tx: &mut Tx<'_>, actor: &Person, person: &Person) -> Result<Recorded, StoreError> {
    set_status(tx, person.id, Status::Active)?;
    tx.facts.put_person(person.clone());
    let commons = tx.commons()?;
    tx.record(commons, Some(actor.id), EventBody::UserJoined { user: person.clone() })
}

/// Changes the status alone.
pub(super) fn set_status(tx: &mut Tx<'_>, user: UserId, status: Status) -> Result<(), StoreError> {
    let query = diesel::update(users::table.find(user.get())).set(users::status.eq(status.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    // Bots with a webhook are told of messages while they are active.
    tx.hooked = None;
    // As are assistants.
    tx.summonable = None;
    Ok(())
}

//! What a bot did, for the audit trail (BOT-05): every command that changed something.

use super::tx::Tx;
use crate::domain::{Ack, AuditAction, AuditNote, AuditTarget, Command, MessageId, Person, Role};
use crate::storage::error::StoreError;

/// Notes what `actor` did, if they are a bot and it wasn't done before.
pub(super) fn note(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    ack: &Ack,
    changed: bool,
) -> Result<(), StoreError> {
    // How an answer ended is in its own row.
    if matches!(command, Command::EndRun { .. }) {
        return Ok(());
    }
    if !changed || !matches!(actor.role, Role::Bot | Role::Assistant) {
        return Ok(());
    }
    let target = match (command, ack) {
        (_, Ack::Posted { position, .. }) => AuditTarget::Message(MessageId::new(position.id.get())),
        (_, Ack::Edited { message, .. } | Ack::Deleted { message, .. }) => AuditTarget::Message(*message),
        (Command::AddMember { user, .. } | Command::RemoveMember { user, .. }, _) => AuditTarget::User(*user),
        _ => command.room().map_or(AuditTarget::User(actor.id), AuditTarget::Room),
    };
    let note = AuditNote::new(AuditAction::BotActed, target).with("command", command.kind());
    let note = match command.room() {
        Some(room) => note.in_room(room),
        None => note,
    };
    tx.audit(Some(actor.id), &note)
}

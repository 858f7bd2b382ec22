//! How bots come to be, and how they end.

use super::enrol::join;
use super::once::{Fingerprint, Request};
use super::tx::Tx;
use super::{Done, people, standing};
use crate::domain::{
    Ack, Action, AuditAction, AuditNote, AuditTarget, Command, IdempotencyKey, Name, Person, Rejection, Role,
    Status, Subject, Target, UserId, WebhookUrl, may,
};
use crate::storage::error::StoreError;
use crate::storage::queries::bot_keys::{self, NewKey};
use std::time::Duration;

/// A bot to be made, as `by` asks for it.
pub(super) struct NewBot<'a> {
    pub(super) by: &'a Person,
    pub(super) name: &'a Name,
    pub(super) key_hash: &'a [u8; 32],
    pub(super) webhook: Option<&'a WebhookUrl>,
    pub(super) expires_in: Option<Duration>,
    pub(super) key: Option<&'a IdempotencyKey>,
}

/// Makes a bot with its first key.
pub(super) fn create(tx: &mut Tx<'_>, new: &NewBot<'_>) -> Done {
    let NewBot { by, name, key_hash, webhook, expires_in, key } = *new;
    // As the store has them now, whoever they were when they asked.
    let by = tx.active_person(by.id)?.ok_or_else(|| Rejection::forbidden("only admins do this"))?;
    may(&by, Action::CreateBot, Target::Nothing)?;
    let route = "bot.create";
    let url = webhook.map_or("", |url| url.reveal());
    let print = Fingerprint::of(route).field(name.as_str().as_bytes()).field(url.as_bytes());
    // What isn't asked for isn't part of it: so it was before there was such a thing to ask for.
    let print = match expires_in {
        Some(span) => print.field(&span.as_millis().to_be_bytes()),
        None => print,
    };
    let request = key.map(|key| Request { user: by.id, key, route, digest: print.digest() });
    tx.once(request.as_ref(), |tx| {
        let done = join(tx, name, Role::Bot, None)?;
        let Ack::Enrolled { person, .. } = &done.0 else { return Ok(done) };
        let note = AuditNote::new(AuditAction::BotCreated, AuditTarget::User(person.id));
        tx.audit(Some(by.id), &note.with("name", name.as_str()))?;
        let new = NewKey { hash: *key_hash, expires_at: expires_in.map(|span| tx.now.after(span)) };
        let made = bot_keys::insert(tx.conn, person.id, by.id, &new, tx.now)?;
        tx.audit(Some(by.id), &bot_keys::created(person.id, made, &new))?;
        if let Some(url) = webhook {
            people::set_webhook(tx, person.id, Some(url))?;
        }
        Ok(done)
    })
}

/// Deactivates a bot.
pub(super) fn remove(tx: &mut Tx<'_>, actor: &Person, command: &Command, bot: UserId) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    if !tx.active_person(bot)?.is_some_and(|bot| bot.role == Role::Bot) {
        return Err(Rejection::not_found("bot").into());
    }
    tx.audit(Some(actor.id), &AuditNote::new(AuditAction::BotDeactivated, AuditTarget::User(bot)))?;
    let left = standing::leave(tx, actor, bot, Status::Deactivated)?;
    Ok((standing::recorded(&left), left))
}

/// Takes back all keys of somebody who leaves: a bot that is let in again gets a new one.
pub(super) fn take_keys(tx: &mut Tx<'_>, actor: &Person, bot: UserId) -> Result<(), StoreError> {
    let (now, mut notes) = (tx.now, Vec::new());
    let living = bot_keys::living(tx.conn, bot, now)?;
    bot_keys::end(tx.conn, bot, &living, now, now, &mut notes)?;
    notes.iter().try_for_each(|note| tx.audit(Some(actor.id), note))
}

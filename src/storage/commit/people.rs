//! Changing oneself and the account.

use super::Done;
use super::tx::Tx;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Bio, Command, EventBody, Name, Person, Rejection, Role,
    Subject, UserId, WebhookUrl,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::people as people_queries;
use crate::storage::schema::{accounts, users, webhooks};
use diesel::prelude::*;

/// Renames oneself, for everybody to hear, and says something about oneself, for those who ask.
pub(super) fn update_profile(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    name: Option<&Name>,
    bio: Option<&Bio>,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    if let Some(bio) = bio {
        let query = diesel::update(users::table.find(actor.id.get())).set(users::bio.eq(bio.as_str()));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let Some(name) = name.filter(|name| *name.as_str() != *actor.name) else {
        return Ok((Ack::Unchanged, Vec::new()));
    };
    let query = diesel::update(users::table.find(actor.id.get())).set(users::name.eq(name.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let user = Person { name: name.shared(), ..actor.clone() };
    tx.facts.put_person(user.clone());
    // A bot is mentioned by its name.
    tx.hooked = None;
    let updated = tx.record(commons, Some(actor.id), EventBody::UserUpdated { user })?;
    Ok((Ack::Recorded(updated.event.position()), vec![updated]))
}

/// Changes the account. Only its name is an event: settings concern nobody who listens.
pub(super) fn update_account(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    name: Option<&Name>,
    settings: Option<&str>,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let account = people_queries::account(tx.conn)?
        .ok_or_else(|| StoreError::Corrupt("there is a user but no account".to_owned()))?;
    let name = name.filter(|name| name.as_str() != account.name);
    let mut note = AuditNote::new(AuditAction::AccountChanged, AuditTarget::Account);
    if let Some(name) = name {
        note = note.with("name", name.as_str());
    }
    if settings.is_some() {
        note = note.with("settings", "replaced");
    }
    if !note.detail.is_empty() {
        tx.audit(Some(actor.id), &note)?;
    }
    if let Some(settings) = settings {
        let query = diesel::update(accounts::table.find(1)).set(accounts::settings.eq(settings));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let Some(name) = name else {
        return Ok((Ack::Unchanged, Vec::new()));
    };
    let query = diesel::update(accounts::table.find(1)).set(accounts::name.eq(name.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let updated = tx.record(commons, Some(actor.id), EventBody::AccountUpdated { name: name.shared() })?;
    Ok((Ack::Recorded(updated.event.position()), vec![updated]))
}

/// Renames a bot, for everybody to hear, and sets or takes away its webhook, which is nobody else's business.
pub(super) fn update_bot(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    bot: UserId,
    name: Option<&Name>,
    webhook: Option<&Option<WebhookUrl>>,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let Some(known) = tx.active_person(bot)?.filter(|bot| bot.role == Role::Bot) else {
        return Err(Rejection::not_found("bot").into());
    };
    let name = name.filter(|name| *name.as_str() != *known.name);
    let mut note = AuditNote::new(AuditAction::BotChanged, AuditTarget::User(bot));
    if let Some(name) = name {
        note = note.with("name", name.as_str());
    }
    if let Some(webhook) = webhook {
        // The address itself is a secret.
        note = note.with("webhook", if webhook.is_some() { "set" } else { "removed" });
        set_webhook(tx, bot, webhook.as_ref())?;
    }
    if !note.detail.is_empty() {
        tx.audit(Some(actor.id), &note)?;
    }
    let Some(name) = name else {
        return Ok((Ack::Unchanged, Vec::new()));
    };
    let query = diesel::update(users::table.find(bot.get())).set(users::name.eq(name.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let user = Person { name: name.shared(), ..known };
    tx.facts.put_person(user.clone());
    tx.hooked = None;
    let updated = tx.record(commons, Some(actor.id), EventBody::UserUpdated { user })?;
    Ok((Ack::Recorded(updated.event.position()), vec![updated]))
}

/// Sets where a bot is told of messages, or that it isn't.
pub(super) fn set_webhook(tx: &mut Tx<'_>, bot: UserId, url: Option<&WebhookUrl>) -> Result<(), StoreError> {
    let query = diesel::delete(webhooks::table.find(bot.get()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    if let Some(url) = url {
        let query = diesel::insert_into(webhooks::table).values((
            webhooks::user_id.eq(bot.get()),
            webhooks::url.eq(url.reveal()),
            webhooks::updated_at.eq(tx.now.as_millis()),
        ));
        on!(&mut *tx.conn, |c| query.execute(c))?;
        tx.has_webhooks = true;
    }
    tx.hooked = None;
    Ok(())
}

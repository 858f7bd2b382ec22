//! How assistants come to be, how they change, and how they end.

use super::enrol::join;
use super::tx::Tx;
use super::{Done, standing};
use crate::domain::{
    Ack, Action, AssistantChange, AssistantTerms, AuditAction, AuditNote, AuditTarget, Command, EventBody,
    Name, Person, Rejection, Role, Status, Subject, Target, Timestamp, UserId, may,
};
use crate::storage::conn::on;
use crate::storage::queries::assistants as queries;
use crate::storage::schema::{assistants, users};
use diesel::prelude::*;

/// Everything about an assistant but its name and how its engine does.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = assistants, primary_key(user_id), treat_none_as_null = true)]
struct Row<'a> {
    user_id: i64,
    base_url: &'a str,
    api_key: Option<&'a str>,
    model: &'a str,
    instructions: &'a str,
    context_tokens: i64,
    output_tokens: i64,
    prompt_price: i64,
    completion_price: i64,
    temperature_milli: Option<i64>,
    tools: String,
    summarises: bool,
    enabled: bool,
    updated_at: i64,
}

impl<'a> Row<'a> {
    fn of(assistant: UserId, terms: &'a AssistantTerms, now: Timestamp) -> Self {
        Self {
            user_id: assistant.get(),
            base_url: terms.base_url.as_str(),
            api_key: terms.api_key.as_ref().map(|key| key.reveal()),
            model: &terms.model,
            instructions: &terms.instructions,
            context_tokens: terms.context_tokens,
            output_tokens: terms.output_tokens,
            prompt_price: terms.prices.prompt,
            completion_price: terms.prices.completion,
            temperature_milli: terms.temperature_milli,
            tools: terms.tools.join(","),
            summarises: terms.summarises,
            enabled: terms.enabled,
            updated_at: now.as_millis(),
        }
    }
}

/// Makes an assistant: a user of that role, with what is to be known of its model. Without `by` it is the operator's doing.
pub(super) fn create(tx: &mut Tx<'_>, by: Option<&Person>, name: &Name, terms: &AssistantTerms) -> Done {
    if let Some(by) = by {
        // As the store has them now, whoever they were when they asked.
        let by = tx.active_person(by.id)?.ok_or_else(|| Rejection::forbidden("only admins do this"))?;
        may(&by, Action::CreateAssistant, Target::Nothing)?;
    }
    terms.check()?;
    let done = join(tx, name, Role::Assistant, None)?;
    let Ack::Enrolled { person, .. } = &done.0 else { return Ok(done) };
    let query = diesel::insert_into(assistants::table).values(Row::of(person.id, terms, tx.now));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    tx.has_assistants = true;
    tx.summonable = None;
    let note = AuditNote::new(AuditAction::AssistantCreated, AuditTarget::User(person.id));
    tx.audit(by.map(|by| by.id), &note.with("name", name.as_str()).with("model", &*terms.model))?;
    Ok(done)
}

/// Changes an assistant. What it says already goes on as it is; what waits goes by the new terms.
pub(super) fn update(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    assistant: UserId,
    name: Option<&Name>,
    change: &AssistantChange,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let known = tx.active_person(assistant)?.filter(|person| person.role == Role::Assistant);
    let Some(known) = known else { return Err(Rejection::not_found("assistant").into()) };
    let Some(mut terms) = queries::terms(tx.conn, assistant)? else {
        return Err(Rejection::not_found("assistant").into());
    };
    let origin = terms.base_url.origin();
    let mut changed = terms.take(change.clone())?;
    terms.check()?;
    if !changed.is_empty() {
        let query =
            diesel::update(assistants::table.find(assistant.get())).set(Row::of(assistant, &terms, tx.now));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    if changed.iter().any(|field| matches!(*field, "base_url" | "api_key" | "model" | "enabled")) {
        // What failed was something else.
        let query = diesel::update(assistants::table.find(assistant.get()))
            .set(assistants::paused_until.eq(None::<i64>));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    if terms.base_url.origin() != origin {
        // Whoever hears of rooms from here on was asked in none of them.
        let query = diesel::update(assistants::table.find(assistant.get()))
            .set(assistants::base_url_changed_at.eq(tx.now.as_millis()));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let name = name.filter(|name| *name.as_str() != *known.name);
    if name.is_some() {
        changed.push("name");
    }
    if changed.is_empty() {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let mut note = AuditNote::new(AuditAction::AssistantChanged, AuditTarget::User(assistant));
    note = note.with("fields", changed.join(","));
    if let Some(name) = name {
        note = note.with("name", name.as_str());
    }
    if changed.contains(&"model") {
        note = note.with("model", &*terms.model);
    }
    if changed.contains(&"base_url") {
        // Whom it is that hears of rooms is worth remembering.
        note = note.with("from", origin).with("to", terms.base_url.origin());
    }
    tx.audit(Some(actor.id), &note)?;
    let Some(name) = name else { return Ok((Ack::Unchanged, Vec::new())) };
    let query = diesel::update(users::table.find(assistant.get())).set(users::name.eq(name.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let user = Person { name: name.shared(), ..known };
    tx.facts.put_person(user.clone());
    // It is asked by its name.
    tx.summonable = None;
    let updated = tx.record(commons, Some(actor.id), EventBody::UserUpdated { user })?;
    Ok((Ack::Recorded(updated.event.position()), vec![updated]))
}

/// Deactivates an assistant.
pub(super) fn remove(tx: &mut Tx<'_>, actor: &Person, command: &Command, assistant: UserId) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    if !tx.active_person(assistant)?.is_some_and(|person| person.role == Role::Assistant) {
        return Err(Rejection::not_found("assistant").into());
    }
    let note = AuditNote::new(AuditAction::AssistantDeactivated, AuditTarget::User(assistant));
    tx.audit(Some(actor.id), &note)?;
    let left = standing::leave(tx, actor, assistant, Status::Deactivated)?;
    Ok((standing::recorded(&left), left))
}

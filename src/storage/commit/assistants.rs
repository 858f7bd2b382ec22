//! How assistants come to be.

use super::Done;
use super::enrol::join;
use super::tx::Tx;
use crate::domain::{
    Ack, Action, AssistantTerms, AuditAction, AuditNote, AuditTarget, Name, Person, Rejection, Role, Target,
    may,
};
use crate::storage::conn::on;
use crate::storage::schema::assistants;
use diesel::prelude::*;

/// Makes an assistant: a user of that role, with what is to be known of its model.
pub(super) fn create(tx: &mut Tx<'_>, by: &Person, name: &Name, terms: &AssistantTerms) -> Done {
    // As the store has them now, whoever they were when they asked.
    let by = tx.active_person(by.id)?.ok_or_else(|| Rejection::forbidden("only admins do this"))?;
    may(&by, Action::CreateAssistant, Target::Nothing)?;
    terms.check()?;
    let done = join(tx, name, Role::Assistant, None)?;
    let Ack::Enrolled { person, .. } = &done.0 else { return Ok(done) };
    let query = diesel::insert_into(assistants::table).values((
        assistants::user_id.eq(person.id.get()),
        assistants::base_url.eq(terms.base_url.as_str()),
        assistants::api_key.eq(terms.api_key.as_ref().map(|key| key.reveal())),
        assistants::model.eq(&*terms.model),
        assistants::instructions.eq(&*terms.instructions),
        assistants::context_tokens.eq(terms.context_tokens),
        assistants::output_tokens.eq(terms.output_tokens),
        assistants::prompt_price.eq(terms.prices.prompt),
        assistants::completion_price.eq(terms.prices.completion),
        assistants::temperature_milli.eq(terms.temperature_milli),
        assistants::tools.eq(terms.tools.join(",")),
        assistants::summarises.eq(terms.summarises),
        assistants::enabled.eq(terms.enabled),
        assistants::updated_at.eq(tx.now.as_millis()),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    tx.has_assistants = true;
    tx.summonable = None;
    let note = AuditNote::new(AuditAction::AssistantCreated, AuditTarget::User(person.id));
    tx.audit(Some(by.id), &note.with("name", name.as_str()).with("model", &*terms.model))?;
    Ok(done)
}

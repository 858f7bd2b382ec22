//! Changing oneself and the account.

use super::Done;
use super::tx::Tx;
use crate::domain::{Ack, Command, EventBody, Name, Person, Subject};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::people as people_queries;
use crate::storage::schema::{accounts, users};
use diesel::prelude::*;

/// Renames oneself, for everybody to hear.
pub(super) fn update_profile(tx: &mut Tx<'_>, actor: &Person, command: &Command, name: &Name) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    if *actor.name == *name.as_str() {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let query = diesel::update(users::table.find(actor.id.get())).set(users::name.eq(name.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let user = Person { name: name.shared(), ..actor.clone() };
    tx.facts.put_person(user.clone());
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
    if let Some(settings) = settings {
        let query = diesel::update(accounts::table.find(1)).set(accounts::settings.eq(settings));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let Some(name) = name.filter(|name| name.as_str() != account.name) else {
        return Ok((Ack::Unchanged, Vec::new()));
    };
    let query = diesel::update(accounts::table.find(1)).set(accounts::name.eq(name.as_str()));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let updated = tx.record(commons, Some(actor.id), EventBody::AccountUpdated { name: name.shared() })?;
    Ok((Ack::Recorded(updated.event.position()), vec![updated]))
}

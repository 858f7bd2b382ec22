//! What somebody wants assistants to go by: whole, with a version, heard on their other devices (CORR-13).

use super::Done;
use super::tx::Tx;
use crate::domain::{Ack, Command, EventBody, Person, Rejection, RejectionCode, Subject};
use crate::storage::conn::on;
use crate::storage::schema::user_settings;
use diesel::prelude::*;
use std::sync::Arc;

/// Puts `settings` in the place of version `base`. The same once more is no conflict: who didn't hear the answer asks again.
pub(super) fn sync(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    base: i64,
    settings: &Arc<str>,
) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let row = user_settings::table.find(actor.id.get());
    let query = row.select((user_settings::version, user_settings::body));
    let found: Option<(i64, String)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let (current, known) = found.unwrap_or_default();
    if base != current {
        if base.checked_add(1) == Some(current) && known == **settings {
            return Ok((Ack::Settings { version: current, duplicate: true }, Vec::new()));
        }
        return Err(Rejection {
            version: i32::try_from(current).ok(),
            ..Rejection::new(RejectionCode::VersionConflict, "the settings were changed meanwhile")
        }
        .into());
    }
    let version = current + 1;
    let query = diesel::insert_into(user_settings::table)
        .values((
            user_settings::user_id.eq(actor.id.get()),
            user_settings::version.eq(version),
            user_settings::body.eq(&**settings),
            user_settings::updated_at.eq(tx.now.as_millis()),
        ))
        .on_conflict(user_settings::user_id)
        .do_update()
        .set((
            user_settings::version.eq(version),
            user_settings::body.eq(&**settings),
            user_settings::updated_at.eq(tx.now.as_millis()),
        ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let inbox = tx.inbox(actor.id)?;
    let body = EventBody::SettingsSynced { version, settings: Arc::clone(settings) };
    let synced = tx.record(inbox, Some(actor.id), body)?;
    Ok((Ack::Settings { version, duplicate: false }, vec![synced]))
}

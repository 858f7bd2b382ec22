//! Asking assistants by a message: who is addressed, and what comes of it.

use super::Halt;
use super::runs::{Ask, admit, begin, started};
use super::tx::Tx;
use crate::domain::command::Recorded;
use crate::domain::webhook::mentioned;
use crate::domain::{
    Command, EventId, MessageId, Person, Role, RoomId, RoomKind, Status, Subject, Summoned, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::runs::is_answer;
use crate::storage::schema::{assistants, memberships, messages, runs, users};
use diesel::prelude::*;
use std::sync::Arc;

/// An assistant that may be mentioned.
pub(super) type Summonable = (UserId, Arc<str>);

/// Asks those assistants that a new message is for: in a direct room all that are in it, elsewhere the members it mentions. The
/// message stands in any case. What assistants say asks nobody, and what bots say only assistants: every chain ends (BOT-08).
pub(super) fn summon(
    tx: &mut Tx<'_>,
    author: &Person,
    room: RoomId,
    prompt: EventId,
    body: &str,
    settings: Option<i64>,
    events: &mut Vec<Recorded>,
) -> Result<Vec<Summoned>, Halt> {
    let assistants = addressed(tx, author, room, body)?;
    let prompt = MessageId::new(prompt.get());
    ask_each(tx, author, room, prompt, assistants, settings, events)
}

/// What came of a message that is posted once more: what it asked for then, and of those it asked in vain what stands now. They are
/// asked again as long as the author may post, and the message stands as it was posted.
pub(super) fn repeat(
    tx: &mut Tx<'_>,
    (author, command): (&Person, &Command),
    room: RoomId,
    prompt: MessageId,
    body: &str,
    settings: Option<i64>,
    events: &mut Vec<Recorded>,
) -> Result<Vec<Summoned>, Halt> {
    if !tx.has_assistants {
        return Ok(Vec::new());
    }
    let mut asked = known(tx, prompt)?;
    let may_ask = match tx.decide(room, author, command, None, &Subject::Unknown) {
        Ok(_) => true,
        Err(Halt::Refused(_)) => false,
        Err(halt) => return Err(halt),
    };
    if !may_ask {
        return Ok(asked);
    }
    let mut left = addressed(tx, author, room, body)?;
    left.retain(|assistant| asked.iter().all(|known| known.assistant != *assistant));
    if left.is_empty() || !stands(tx, prompt)? {
        return Ok(asked);
    }
    asked.extend(ask_each(tx, author, room, prompt, left, settings, events)?);
    Ok(asked)
}

/// Whether a message is there, and as it was posted.
fn stands(tx: &mut Tx<'_>, message: MessageId) -> Result<bool, StoreError> {
    tx.flush()?;
    let query = messages::table
        .find(message.get())
        .filter(messages::deleted_at.is_null())
        .filter(messages::edited_at.is_null())
        .select(messages::id);
    let found: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(found.is_some())
}

fn ask_each(
    tx: &mut Tx<'_>,
    author: &Person,
    room: RoomId,
    prompt: MessageId,
    assistants: Vec<UserId>,
    settings: Option<i64>,
    events: &mut Vec<Recorded>,
) -> Result<Vec<Summoned>, Halt> {
    let mut asked = Vec::with_capacity(assistants.len());
    for assistant in assistants {
        let ask = Ask { assistant, prompt, start: None, regenerates: None, settings };
        let outcome = match admit(tx, Some(author.id), room, &ask)? {
            Ok(admitted) => {
                let (started, recorded) = begin(tx, author.id, room, &ask, admitted)?;
                events.push(recorded);
                Ok(started)
            }
            Err(rejection) => Err(rejection),
        };
        asked.push(Summoned { assistant, outcome });
    }
    Ok(asked)
}

fn addressed(tx: &mut Tx<'_>, author: &Person, room: RoomId, body: &str) -> Result<Vec<UserId>, StoreError> {
    let is_deaf = match author.role {
        Role::Assistant => true,
        Role::Bot => tx.terms.runs.hops == 0,
        Role::Admin | Role::Member | Role::Guest => false,
    };
    if !tx.has_assistants || is_deaf {
        return Ok(Vec::new());
    }
    let kind = tx.room(room)?.kind;
    let known = summonable(tx)?;
    // A program in a direct room says what it says to people: only by name it asks another program.
    let mut asked: Vec<UserId> = if kind == RoomKind::Direct && author.role != Role::Bot {
        known.iter().map(|(assistant, _)| *assistant).collect()
    } else {
        let names: Vec<&str> = known.iter().map(|(_, name)| &**name).collect();
        mentioned(body, &names).into_iter().filter_map(|at| Some(known.get(at)?.0)).collect()
    };
    if !asked.is_empty() && kind != RoomKind::Open {
        let ids: Vec<i64> = asked.iter().map(|assistant| assistant.get()).collect();
        let query = memberships::table
            .filter(memberships::room_id.eq(room.get()))
            .filter(memberships::user_id.eq_any(ids))
            .select(memberships::user_id);
        let members: Vec<i64> = on!(&mut *tx.conn, |c| query.load(c))?;
        asked.retain(|assistant| members.contains(&assistant.get()));
    }
    Ok(asked)
}

/// The active assistants, read once per batch.
fn summonable(tx: &mut Tx<'_>) -> Result<Arc<[Summonable]>, StoreError> {
    if let Some(known) = &tx.summonable {
        return Ok(Arc::clone(known));
    }
    let query = assistants::table
        .inner_join(users::table)
        .filter(users::status.eq(Status::Active.as_str()))
        .order(users::id)
        .select((users::id, users::name));
    let rows: Vec<(i64, String)> = on!(&mut *tx.conn, |c| query.load(c))?;
    let found: Arc<[Summonable]> =
        rows.into_iter().map(|(id, name)| (UserId::new(id), name.into())).collect();
    tx.summonable = Some(Arc::clone(&found));
    Ok(found)
}

/// What a message asked for when it was posted.
fn known(tx: &mut Tx<'_>, prompt: MessageId) -> Result<Vec<Summoned>, StoreError> {
    let query = runs::table
        .filter(runs::prompt_id.eq(prompt.get()))
        .filter(is_answer())
        .filter(runs::regenerates.is_null())
        .order(runs::id)
        .select((runs::assistant_id, runs::id, runs::message_id));
    let rows: Vec<(i64, i64, Option<i64>)> = on!(&mut *tx.conn, |c| query.load(c))?;
    let summoned = |(assistant, run, message): (i64, i64, Option<i64>)| {
        Some(Summoned { assistant: UserId::new(assistant), outcome: Ok(started(Some((run, message)))?) })
    };
    Ok(rows.into_iter().filter_map(summoned).collect())
}

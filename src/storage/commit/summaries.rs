//! Summaries: a stretch of a room is summed up once, whoever asks and however many do (SUM-03), and none outlives what it knows. All
//! commits follow one another, so what is looked at here holds until the run is there.

use super::runs::{self, Ask};
use super::tx::Tx;
use super::{Done, Halt};
use crate::domain::{
    Ack, Command, MessageId, Person, Rejection, Role, RoomId, RoomKind, RunId, RunKind, Subject, UserId,
    run::reason,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::runs::{is_open, is_summary};
use crate::storage::queries::summaries::{is_heard, was_asked};
use crate::storage::schema::{messages, runs as runs_table, summaries};
use diesel::dsl::{exists, select};
use diesel::prelude::*;

/// The first and the last message of a stretch.
type Stretch = (MessageId, MessageId);

/// Has a stretch summed up. Asked for by the assistant itself it is nobody's, and nothing is posted.
pub(super) fn begin(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    room: RoomId,
    assistant: UserId,
    stretch: Stretch,
) -> Done {
    tx.decide(room, actor, command, None, &Subject::Unknown)?;
    tx.flush()?;
    let (start, end) = stretch;
    let assistant = tx.active_person(assistant)?.filter(|person| person.role == Role::Assistant);
    let Some(assistant) = assistant else { return Err(Rejection::not_found("assistant").into()) };
    tx.facts.load_membership(tx.conn, room, assistant.id)?;
    if !tx.room(room)?.is_member(&assistant) {
        return Err(Rejection::not_found("assistant").into());
    }
    must_be_of(tx, room, stretch)?;
    let by_itself = actor.id == assistant.id;
    if let Some(run) = known(tx, room, start, by_itself)? {
        return Ok((Ack::Summarising { run, duplicate: true }, Vec::new()));
    }
    let ask =
        Ask { assistant: assistant.id, prompt: end, start: Some(start), regenerates: None, settings: None };
    if by_itself {
        // What was said among some goes to nobody whom none of them asked.
        let is_open = tx.room(room)?.kind == RoomKind::Open;
        if !is_open && !was_asked(tx.conn, room, assistant.id)? {
            return Ok((Ack::Unchanged, Vec::new()));
        }
        if failed_lately(tx, room, start)? {
            return Ok((Ack::Unchanged, Vec::new()));
        }
        let admitted = runs::admit(tx, None, room, &ask)??;
        let run = runs::enqueue(tx, None, room, &ask, admitted, None)?;
        return Ok((Ack::Summarising { run, duplicate: false }, Vec::new()));
    }
    let admitted = runs::admit(tx, Some(actor.id), room, &ask)??;
    let (started, recorded) = runs::begin(tx, actor.id, room, &ask, admitted)?;
    Ok((Ack::Summarising { run: started.run, duplicate: false }, vec![recorded]))
}

/// Both ends are messages of the room, deleted or not.
fn must_be_of(tx: &mut Tx<'_>, room: RoomId, (start, end): Stretch) -> Result<(), Halt> {
    let query = messages::table
        .filter(messages::id.eq_any([start.get(), end.get()]))
        .filter(messages::room_id.eq(room.get()))
        .count();
    let found: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    if start > end || found < 1 + i64::from(start != end) {
        return Err(Rejection::not_found("message").into());
    }
    Ok(())
}

/// The run by which this stretch was summed up, or is about to be. What begins by itself also gives way to any other summary.
fn known(
    tx: &mut Tx<'_>,
    room: RoomId,
    start: MessageId,
    by_itself: bool,
) -> Result<Option<RunId>, StoreError> {
    let open = runs_table::table
        .filter(runs_table::room_id.eq(room.get()))
        .filter(is_summary())
        .filter(is_open())
        .order(runs_table::id)
        .select(runs_table::id);
    let found: Option<i64> = if by_itself {
        on!(&mut *tx.conn, |c| open.first(c)).optional()?
    } else {
        on!(&mut *tx.conn, |c| open.filter(runs_table::start_id.eq(start.get())).first(c)).optional()?
    };
    if found.is_some() {
        return Ok(found.map(RunId::new));
    }
    let here = summaries::table.filter(summaries::room_id.eq(room.get()));
    let query =
        here.filter(summaries::start_id.eq(start.get())).select((summaries::run_id, summaries::whole));
    let stored: Option<(i64, bool)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    if let Some((run, is_whole)) = stored
        && (is_whole || !goes_on(tx, room, start)?)
    {
        return Ok(Some(RunId::new(run)));
    }
    if !by_itself {
        return Ok(None);
    }
    // Somebody was faster, and began a little before.
    let query = here
        .filter(summaries::whole.eq(true))
        .filter(summaries::end_id.ge(start.get()))
        .order(summaries::end_id.desc())
        .select(summaries::run_id);
    let covering: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(covering.map(RunId::new))
}

/// Whether a summary from `start` on would leave out nothing that came before: it begins where the room does, or where the last one
/// that does ended.
fn goes_on(tx: &mut Tx<'_>, room: RoomId, start: MessageId) -> Result<bool, StoreError> {
    Ok(goes_on_from(tx, room, start)?.is_some())
}

/// The same, and when that last one was kept; where the room begins, at the beginning of time.
fn goes_on_from(tx: &mut Tx<'_>, room: RoomId, start: MessageId) -> Result<Option<i64>, StoreError> {
    let query = summaries::table
        .filter(summaries::room_id.eq(room.get()))
        .filter(summaries::whole.eq(true))
        .filter(summaries::end_id.lt(start.get()))
        .order(summaries::end_id.desc())
        .select((summaries::end_id, summaries::created_at));
    let last: Option<(i64, i64)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let (end, kept_at) = last.unwrap_or_default();
    let between = messages::table
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::id.gt(end))
        .filter(messages::id.lt(start.get()))
        .filter(messages::deleted_at.is_null())
        .filter(is_heard());
    let query = select(exists(between));
    let is_there: bool = on!(&mut *tx.conn, |c| query.get_result(c))?;
    Ok((!is_there).then_some(kept_at))
}

/// A message is about to be deleted: the summaries that know it go along. One is known by those that go on from it, and by their
/// own that stand for the whole; the message of a summary is that summary.
pub(super) fn forget(tx: &mut Tx<'_>, room: RoomId, message: MessageId) -> Result<(), StoreError> {
    if !tx.has_assistants {
        return Ok(());
    }
    let here = || summaries::table.filter(summaries::room_id.eq(room.get()));
    let query = runs_table::table.filter(runs_table::message_id.eq(message.get())).select((
        runs_table::kind,
        runs_table::id,
        runs_table::start_id,
        runs_table::prompt_id,
    ));
    let run: Option<(String, i64, Option<i64>, i64)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    if let Some((kind, run, start, end)) = run
        && kind == RunKind::Summary.as_str()
    {
        let it =
            here().filter(summaries::start_id.eq(start.unwrap_or(end))).filter(summaries::run_id.eq(run));
        let query = it.select(summaries::whole);
        let is_whole: Option<bool> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
        on!(&mut *tx.conn, |c| diesel::delete(it).execute(c))?;
        if is_whole == Some(true) {
            let built_on_it = here().filter(summaries::whole.eq(true)).filter(summaries::start_id.gt(end));
            on!(&mut *tx.conn, |c| diesel::delete(built_on_it).execute(c))?;
        }
        return Ok(());
    }
    let query = select(exists(messages::table.filter(messages::id.eq(message.get())).filter(is_heard())));
    let is_heard: bool = on!(&mut *tx.conn, |c| query.get_result(c))?;
    if !is_heard {
        return Ok(());
    }
    let knowing = here()
        .filter(summaries::end_id.ge(message.get()))
        .filter(summaries::whole.eq(true).or(summaries::start_id.le(message.get())));
    on!(&mut *tx.conn, |c| diesel::delete(knowing).execute(c))?;
    Ok(())
}

/// Whether it began by itself before and came to nothing, for a reason that may well be there again.
fn failed_lately(tx: &mut Tx<'_>, room: RoomId, start: MessageId) -> Result<bool, StoreError> {
    let since = tx.now.before(tx.terms.runs.summary_again);
    let query = runs_table::table
        .filter(runs_table::room_id.eq(room.get()))
        .filter(is_summary())
        .filter(runs_table::start_id.eq(start.get()))
        .filter(runs_table::asker_id.is_null())
        .filter(runs_table::ended_at.gt(since.as_millis()))
        .filter(runs_table::reason.is_null().or(runs_table::reason.ne_all(PASSING)))
        .count();
    let failed: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    Ok(failed > 0)
}

/// What isn't the engine's fault.
const PASSING: [&str; 2] = [reason::SERVER_STOPPED, reason::LEASE_LOST];

/// Since when a run knows what it knows, if nothing of that was deleted meanwhile: a message, or a summary of what came before.
fn knows_since(tx: &mut Tx<'_>, room: RoomId, run: RunId, end: MessageId) -> Result<Option<i64>, StoreError> {
    let query = runs_table::table.find(run.get()).select(runs_table::started_at);
    let since: Option<i64> = on!(&mut *tx.conn, |c| query.first(c))?;
    let Some(since) = since else { return Ok(None) };
    let query = messages::table
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::deleted_at.ge(since))
        .select(messages::id);
    let gone: Vec<i64> = on!(&mut *tx.conn, |c| query.load(c))?;
    if gone.iter().any(|gone| *gone <= end.get()) {
        return Ok(None);
    }
    if gone.is_empty() {
        return Ok(Some(since));
    }
    let query = runs_table::table.filter(runs_table::message_id.eq_any(gone)).select(runs_table::kind);
    let posted: Vec<String> = on!(&mut *tx.conn, |c| query.load(c))?;
    let is_gone = posted.iter().any(|kind| kind == RunKind::Summary.as_str());
    Ok((!is_gone).then_some(since))
}

/// Keeps what came of a run: one summary per stretch, whoever was first. One of a part gives way to one of the whole. What knows
/// something that was deleted while it was made isn't kept.
pub(super) fn keep(
    tx: &mut Tx<'_>,
    room: RoomId,
    run: RunId,
    (start, end): Stretch,
    body: &str,
) -> Result<(), StoreError> {
    if body.is_empty() {
        return Ok(());
    }
    let Some(since) = knows_since(tx, room, run, end)? else { return Ok(()) };
    // It was told what came before only if that was there when it began.
    let whole = goes_on_from(tx, room, start)?.is_some_and(|kept_at| kept_at <= since);
    let here = summaries::table
        .filter(summaries::room_id.eq(room.get()))
        .filter(summaries::start_id.eq(start.get()));
    let query = here.select(summaries::whole);
    let known: Option<bool> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    match known {
        Some(is_whole) if is_whole || !whole => return Ok(()),
        Some(_) => {
            on!(&mut *tx.conn, |c| diesel::delete(here).execute(c))?;
        }
        None => {}
    }
    let query = diesel::insert_into(summaries::table).values((
        summaries::room_id.eq(room.get()),
        summaries::start_id.eq(start.get()),
        summaries::end_id.eq(end.get()),
        summaries::run_id.eq(run.get()),
        summaries::body.eq(body),
        summaries::created_at.eq(tx.now.as_millis()),
        summaries::whole.eq(whole),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

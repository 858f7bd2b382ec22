//! Answers of assistants: asking for one, stopping it, ending it. Admission is part of the transaction that asks, with all its
//! checks before its first write; a run ends once, by its row.

use super::messages::undecided;
use super::tx::{NewMessage, Tx};
use super::{Done, Halt};
use super::{budgets, hops, summaries};
use crate::domain::command::Recorded;
use crate::domain::run::{EndReason, PLACEHOLDER, presentable, reason};
use crate::domain::{
    Ack, Allowance, Amount, Command, EventBody, MessageId, Person, Prices, Rejection, Role, RoomId, RunEnd,
    RunEnded, RunId, RunKind, RunStart, RunState, Started, Status, Subject, Timestamp, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::runs::{is_answer, is_open, speaks};
use crate::storage::queries::{actions, allowances};
use crate::storage::schema::{assistants, messages, runs, user_settings, users};
use diesel::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// An answer somebody asks for.
pub(super) struct Ask {
    pub(super) assistant: UserId,
    pub(super) prompt: MessageId,
    /// Of a summary the first message it is about; `prompt` is the last.
    pub(super) start: Option<MessageId>,
    pub(super) regenerates: Option<RunId>,
    pub(super) settings: Option<i64>,
}

impl Ask {
    const fn kind(&self) -> RunKind {
        if self.start.is_some() { RunKind::Summary } else { RunKind::Answer }
    }
}

/// A run that may begin.
pub(super) struct Admitted {
    assistant: Person,
    model: String,
    allowance: Allowance,
    settings: (i64, String),
}

#[derive(Queryable)]
struct AssistantRow {
    name: String,
    model: String,
    context_tokens: i64,
    output_tokens: i64,
    prompt_price: i64,
    completion_price: i64,
    tools: String,
    enabled: bool,
    paused_until: Option<i64>,
}

#[derive(Queryable)]
pub(super) struct RunRow {
    kind: String,
    assistant_id: i64,
    asker_id: Option<i64>,
    prompt_id: i64,
    start_id: Option<i64>,
    message_id: Option<i64>,
    state: String,
    stop_asked_by: Option<i64>,
    holder: Option<Vec<u8>>,
    pub(super) partial: String,
    pub(super) used: (i64, i64, bool),
    reserved_tokens: i64,
    reserved_micros: i64,
    created_at: i64,
}

impl RunRow {
    fn state(&self) -> Result<RunState, StoreError> {
        RunState::parse(&self.state).ok_or_else(|| StoreError::nonsense("runs.state", &self.state))
    }

    fn asker(&self) -> Option<UserId> {
        self.asker_id.map(UserId::new)
    }
}

/// Asks about a message that is there already.
pub(super) fn ask(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId, ask: &Ask) -> Done {
    tx.decide(room, actor, command, None, &Subject::Unknown)?;
    tx.flush()?;
    let query = messages::table
        .find(ask.prompt.get())
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::deleted_at.is_null())
        .select(messages::author_id);
    let author: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    if author.is_none() {
        return Err(Rejection::not_found("message").into());
    }
    let assistant = tx.active_person(ask.assistant)?.filter(|person| person.role == Role::Assistant);
    let Some(assistant) = assistant else { return Err(Rejection::not_found("assistant").into()) };
    tx.facts.load_membership(tx.conn, room, assistant.id)?;
    if !tx.room(room)?.is_member(&assistant) {
        return Err(Rejection::not_found("assistant").into());
    }
    if author == Some(assistant.id.get()) {
        return Err(Rejection::invalid("message_id", "is the assistant's own").into());
    }
    if let Some(known) = again(tx, room, ask)? {
        return Ok((Ack::Asked(known), Vec::new()));
    }
    let admitted = admit(tx, Some(actor.id), room, ask)??;
    let (started, recorded) = begin(tx, actor.id, room, ask, admitted)?;
    Ok((Ack::Asked(started), vec![recorded]))
}

/// The run that this was asked for before, if it was (AI-23). Refuses to do again what isn't over.
fn again(tx: &mut Tx<'_>, room: RoomId, ask: &Ask) -> Result<Option<Started>, Halt> {
    let Some(regenerates) = ask.regenerates else {
        let query = runs::table
            .filter(runs::assistant_id.eq(ask.assistant.get()))
            .filter(runs::prompt_id.eq(ask.prompt.get()))
            .filter(is_answer())
            .filter(runs::regenerates.is_null())
            .select((runs::id, runs::message_id));
        return Ok(started(on!(&mut *tx.conn, |c| query.first(c)).optional()?));
    };
    let query = runs::table
        .find(regenerates.get())
        .filter(runs::room_id.eq(room.get()))
        .filter(runs::assistant_id.eq(ask.assistant.get()))
        .filter(runs::prompt_id.eq(ask.prompt.get()))
        .select(runs::state);
    let before: Option<String> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    match before.as_deref().map(RunState::parse) {
        None => return Err(Rejection::invalid("regenerates", "is no answer to this message").into()),
        Some(Some(state)) if state.is_open() => return Err(Rejection::ai_busy(regenerates).into()),
        Some(_) => {}
    }
    let query =
        runs::table.filter(runs::regenerates.eq(regenerates.get())).select((runs::id, runs::message_id));
    Ok(started(on!(&mut *tx.conn, |c| query.first(c)).optional()?))
}

pub(super) fn started(row: Option<(i64, Option<i64>)>) -> Option<Started> {
    let (run, message) = row?;
    Some(Started { run: RunId::new(run), message: MessageId::new(message?), duplicate: true })
}

/// Whether a run may begin; writes nothing.
pub(super) fn admit(
    tx: &mut Tx<'_>,
    asker: Option<UserId>,
    room: RoomId,
    ask: &Ask,
) -> Result<Result<Admitted, Rejection>, StoreError> {
    let query = assistants::table
        .find(ask.assistant.get())
        .inner_join(users::table)
        .filter(users::status.eq(Status::Active.as_str()))
        .select((
            users::name,
            assistants::model,
            assistants::context_tokens,
            assistants::output_tokens,
            assistants::prompt_price,
            assistants::completion_price,
            assistants::tools,
            assistants::enabled,
            assistants::paused_until,
        ));
    let row: Option<AssistantRow> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let Some(row) = row else { return Ok(Err(Rejection::not_found("assistant"))) };
    if !row.enabled {
        return Ok(Err(Rejection::ai_unavailable("this assistant is switched off", None)));
    }
    let pause = row.paused_until.map_or(0, |until| until - tx.now.as_millis());
    if pause > 0 {
        let wait = Duration::from_millis(u64::try_from(pause).unwrap_or_default());
        let why = "this assistant's engine fails at present";
        return Ok(Err(Rejection::ai_unavailable(why, Some(wait))));
    }
    let is_program = match asker {
        Some(asker) => tx.active_person(asker)?.is_some_and(|person| person.role == Role::Bot),
        None => false,
    };
    if is_program && let Some(rejection) = hops::check(tx, room)? {
        return Ok(Err(rejection));
    }
    let query = runs::table
        .filter(runs::room_id.eq(room.get()))
        .filter(runs::assistant_id.eq(ask.assistant.get()))
        .filter(runs::asker_id.eq(asker.map(UserId::get)))
        .filter(is_open())
        .select(runs::id);
    let busy: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    if let Some(run) = busy {
        return Ok(Err(Rejection::ai_busy(RunId::new(run))));
    }
    if let Some(rejection) = full(tx, asker, room)? {
        return Ok(Err(rejection));
    }
    let settings = asker.map_or_else(|| Ok(unsaid()), |asker| settings_of(tx, asker))?;
    if ask.settings.is_some_and(|version| version != settings.0) {
        return Ok(Err(Rejection::settings_conflict(settings.0)));
    }
    let prices = Prices { prompt: row.prompt_price, completion: row.completion_price };
    let allowance = Allowance::of(row.context_tokens, row.output_tokens, prices, !row.tools.is_empty());
    if let Some(rejection) = budgets::check(tx, asker, room, allowance.amount())? {
        return Ok(Err(rejection));
    }
    let assistant = Person { id: ask.assistant, name: row.name.into(), role: Role::Assistant };
    Ok(Ok(Admitted { assistant, model: row.model, allowance, settings }))
}

/// Whether as many runs wait as may.
fn full(tx: &mut Tx<'_>, asker: Option<UserId>, room: RoomId) -> Result<Option<Rejection>, StoreError> {
    let open = || runs::table.filter(is_open()).count();
    let query = open();
    let all: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    let query = open().filter(runs::room_id.eq(room.get())).filter(speaks());
    let here: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    let query = open().filter(runs::asker_id.eq(asker.map(UserId::get)));
    let theirs: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    let terms = tx.terms.runs;
    let over = |count: i64, most: usize| usize::try_from(count).unwrap_or(usize::MAX) >= most;
    let is_full = over(all, terms.queue) || over(here, terms.room_queue) || over(theirs, terms.user_queue);
    Ok(is_full.then(|| Rejection::ai_queue_full(terms.retry_after)))
}

/// What the asker wants to be gone by, with its version; 0 when they never said.
fn settings_of(tx: &mut Tx<'_>, user: UserId) -> Result<(i64, String), StoreError> {
    let query = user_settings::table.find(user.get()).select((user_settings::version, user_settings::body));
    let found: Option<(i64, String)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(found.unwrap_or_else(unsaid))
}

fn unsaid() -> (i64, String) {
    (0, "{}".to_owned())
}

/// The run, and the message that will be its answer.
pub(super) fn begin(
    tx: &mut Tx<'_>,
    asker: UserId,
    room: RoomId,
    ask: &Ask,
    admitted: Admitted,
) -> Result<(Started, Recorded), StoreError> {
    let message = MessageId::new(tx.next_id().get());
    let assistant = admitted.assistant.clone();
    let id = enqueue(tx, Some(asker), room, ask, admitted, Some(message))?;
    let run = RunStart { id, kind: ask.kind(), asker: Some(asker), prompt: ask.prompt };
    let recorded = place(tx, room, &assistant, run)?;
    Ok((Started { run: id, message, duplicate: false }, recorded))
}

/// The run, with what it may cost set aside.
pub(super) fn enqueue(
    tx: &mut Tx<'_>,
    asker: Option<UserId>,
    room: RoomId,
    ask: &Ask,
    admitted: Admitted,
    message: Option<MessageId>,
) -> Result<RunId, StoreError> {
    let Admitted { assistant, model, allowance, settings } = admitted;
    let reserve = allowance.amount();
    let query = diesel::insert_into(runs::table)
        .values((
            runs::kind.eq(ask.kind().as_str()),
            runs::room_id.eq(room.get()),
            runs::assistant_id.eq(assistant.id.get()),
            runs::asker_id.eq(asker.map(UserId::get)),
            runs::prompt_id.eq(ask.prompt.get()),
            runs::start_id.eq(ask.start.map(MessageId::get)),
            runs::message_id.eq(message.map(MessageId::get)),
            runs::regenerates.eq(ask.regenerates.map(RunId::get)),
            runs::state.eq(RunState::Queued.as_str()),
            runs::next_attempt_at.eq(tx.now.as_millis()),
            runs::settings_version.eq(settings.0),
            runs::settings.eq(settings.1),
            runs::model.eq(model),
            runs::reserved_tokens.eq(reserve.tokens),
            runs::reserved_micros.eq(reserve.micros),
            runs::created_at.eq(tx.now.as_millis()),
        ))
        .returning(runs::id);
    let id = RunId::new(on!(&mut *tx.conn, |c| query.get_result(c))?);
    allowances::note(tx.conn, id, allowance)?;
    budgets::reserve(tx, asker, room, reserve)?;
    tx.runs_changed = true;
    Ok(id)
}

/// Posts the message that the run will fill.
fn place(tx: &mut Tx<'_>, room: RoomId, assistant: &Person, run: RunStart) -> Result<Recorded, StoreError> {
    let (body, client_message_id): (Arc<str>, Uuid) = (PLACEHOLDER.into(), message_id(run.id));
    let posted = EventBody::MessagePosted {
        author: assistant.clone(),
        client_message_id,
        body: Arc::clone(&body),
        run: Some(run),
    };
    let recorded = tx.record(room, Some(assistant.id), posted)?;
    tx.add_message(NewMessage {
        position: recorded.event.position(),
        room,
        author: assistant.id,
        client_message_id,
        digest: Sha256::digest(PLACEHOLDER.as_bytes()).into(),
        body,
    });
    Ok(recorded)
}

/// What makes an answer's message unique: one per run. RFC 9562 section 5.8: the layout is ours.
fn message_id(run: RunId) -> Uuid {
    let hash: [u8; 32] = Sha256::digest(format!("run {run}").as_bytes()).into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, of_hash)| *byte = of_hash);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The open run whose answer this message is.
pub(super) fn open_on(tx: &mut Tx<'_>, message: MessageId) -> Result<Option<RunId>, StoreError> {
    if !tx.has_assistants {
        return Ok(None);
    }
    let query = runs::table.filter(runs::message_id.eq(message.get())).filter(is_open()).select(runs::id);
    let run: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(run.map(RunId::new))
}

/// Stops a run: one that waits ends here, of one at work its worker is told.
pub(super) fn stop(tx: &mut Tx<'_>, actor: &Person, command: &Command, room: RoomId, run: RunId) -> Done {
    let row = load(tx, room, run)?;
    let subject = row.as_ref().map_or(Subject::Unknown, |row| Subject::Run { asker: row.asker() });
    tx.decide(room, actor, command, None, &subject)?;
    let Some(row) = row else { return Err(Rejection::not_found("run").into()) };
    if !row.state()?.is_open() {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let why = if row.asker() == Some(actor.id) { reason::CANCELLED } else { reason::STOPPED };
    halt(tx, Some(actor.id), room, run, &row, why)
}

/// Ends what waits, and has what is at work ended.
fn halt(tx: &mut Tx<'_>, by: Option<UserId>, room: RoomId, run: RunId, row: &RunRow, why: EndReason) -> Done {
    if row.state()? == RunState::Queued {
        let end = RunEnd {
            state: RunState::Cancelled,
            text: row.partial.as_str().into(),
            reason: Some(why),
            truncated: false,
            usage: row.used(),
            first_token_at: None,
        };
        return finish(tx, room, run, row, &end);
    }
    let query = diesel::update(runs::table.find(run.get()).filter(runs::stop_asked_at.is_null()))
        .set((runs::stop_asked_at.eq(Some(tx.now.as_millis())), runs::stop_asked_by.eq(by.map(UserId::get))));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    tx.runs_changed = true;
    Ok((Ack::RunStopping { room, run }, Vec::new()))
}

/// A message was deleted: nobody goes on writing it.
pub(super) fn on_deleted(
    tx: &mut Tx<'_>,
    actor: &Person,
    room: RoomId,
    message: MessageId,
) -> Result<Vec<Recorded>, Halt> {
    let Some(run) = open_on(tx, message)? else { return Ok(Vec::new()) };
    let Some(row) = load(tx, room, run)? else { return Ok(Vec::new()) };
    let (_, events) = halt(tx, Some(actor.id), room, run, &row, reason::DELETED)?;
    Ok(events)
}

/// Ends a run, if it is still `holder`'s (AI-05, AI-23).
pub(super) fn end(
    tx: &mut Tx<'_>,
    actor: &Person,
    command: &Command,
    (room, run): (RoomId, RunId),
    holder: Uuid,
    end: &RunEnd,
) -> Done {
    // Whoever was removed from the room meanwhile still has to come to an end.
    let Command::EndRun { .. } = command else { return Err(undecided(command)) };
    let Some(row) = load(tx, room, run)? else { return Err(Rejection::not_found("run").into()) };
    if row.assistant_id != actor.id.get() || actor.role != Role::Assistant {
        return Err(Rejection::forbidden("only the assistant itself says how its answer ended").into());
    }
    let is_theirs = row.holder.as_deref().is_some_and(|held| held == holder.as_bytes());
    if !row.state()?.may_become(end.state) || end.state.is_open() || !is_theirs {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    finish(tx, room, run, &row, end)
}

pub(super) fn finish(tx: &mut Tx<'_>, room: RoomId, run: RunId, row: &RunRow, end: &RunEnd) -> Done {
    tx.flush()?;
    let (body, was_cut) = presentable(&end.text);
    let truncated = end.truncated || was_cut;
    let prices = prices(tx, run, row)?;
    // Engines claim what they like: what can't be summed up would keep every further run from its end.
    let usage = end.usage.plausible();
    let cost_micros = prices.of(usage);
    let shown = if body.is_empty() { PLACEHOLDER } else { &*body };
    let (message, mut why) = (row.message_id.map(MessageId::new), end.reason);
    let mut is_there = false;
    if let Some(message) = message {
        let query =
            diesel::update(messages::table.find(message.get()).filter(messages::deleted_at.is_null()))
                .set(messages::body.eq(shown));
        is_there = on!(&mut *tx.conn, |c| query.execute(c))? > 0;
    }
    if why == Some(reason::CANCELLED) {
        // Whoever works at it doesn't know who wanted it stopped.
        why = match row.stop_asked_by {
            _ if message.is_some() && !is_there => Some(reason::DELETED),
            Some(by) if Some(by) != row.asker_id => Some(reason::STOPPED),
            _ => why,
        };
    }
    let query = diesel::update(runs::table.find(run.get())).set((
        runs::state.eq(end.state.as_str()),
        runs::reason.eq(why),
        runs::truncated.eq(truncated),
        runs::partial.eq(""),
        runs::holder.eq(None::<Vec<u8>>),
        runs::lease_until.eq(None::<i64>),
        runs::prompt_tokens.eq(usage.prompt),
        runs::completion_tokens.eq(usage.completion),
        runs::usage_estimated.eq(usage.estimated),
        runs::cost_micros.eq(cost_micros),
        end.first_token_at.map(|at| runs::first_token_at.eq(Some(at.as_millis()))),
        runs::ended_at.eq(Some(tx.now.as_millis())),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    actions::withdraw_of(tx.conn, &[run.get()], tx.now)?;
    let reserved = Amount { tokens: row.reserved_tokens, micros: row.reserved_micros };
    let spent = Amount { tokens: usage.total(), micros: cost_micros };
    let reserved_at = Timestamp::from_millis(row.created_at);
    budgets::settle(tx, row.asker(), room, reserved_at, reserved, spent)?;
    allowances::forget(tx.conn, run)?;
    tx.runs_changed = true;
    if row.kind == RunKind::Summary.as_str() && end.state == RunState::Done {
        let start = row.start_id.unwrap_or(row.prompt_id);
        summaries::keep(tx, room, run, (MessageId::new(start), MessageId::new(row.prompt_id)), &body)?;
    }
    let Some(message) = message else { return Ok((Ack::Unchanged, Vec::new())) };
    let ended = RunEnded {
        id: run,
        message,
        state: end.state,
        // What was deleted isn't said again.
        body: is_there.then(|| shown.into()),
        reason: why.map(Arc::from),
        truncated,
        usage,
        cost_micros,
    };
    let actor = Some(UserId::new(row.assistant_id));
    let recorded = tx.record(room, actor, EventBody::AnswerEnded { run: Box::new(ended) })?;
    Ok((Ack::Recorded(recorded.event.position()), vec![recorded]))
}

/// The prices it was asked for at.
fn prices(tx: &mut Tx<'_>, run: RunId, row: &RunRow) -> Result<Prices, StoreError> {
    if let Some(allowance) = allowances::of(tx.conn, run)? {
        return Ok(allowance.prices);
    }
    let query = assistants::table
        .find(row.assistant_id)
        .select((assistants::prompt_price, assistants::completion_price));
    let found: Option<(i64, i64)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let (prompt, completion) = found.unwrap_or_default();
    Ok(Prices { prompt, completion })
}

pub(super) fn load(tx: &mut Tx<'_>, room: RoomId, run: RunId) -> Result<Option<RunRow>, StoreError> {
    let query = runs::table.find(run.get()).filter(runs::room_id.eq(room.get())).select((
        runs::kind,
        runs::assistant_id,
        runs::asker_id,
        runs::prompt_id,
        runs::start_id,
        runs::message_id,
        runs::state,
        runs::stop_asked_by,
        runs::holder,
        runs::partial,
        (runs::prompt_tokens, runs::completion_tokens, runs::usage_estimated),
        runs::reserved_tokens,
        runs::reserved_micros,
        runs::created_at,
    ));
    Ok(on!(&mut *tx.conn, |c| query.first(c)).optional()?)
}

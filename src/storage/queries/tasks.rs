//! Runs of assistants, as they are worked at: what waits, who works at what until when, and what a process that is gone left behind.

use super::limited;
use super::runs::{is_running, speaks};
use super::{actions, allowances};
use crate::domain::{
    Allowance, ApiKey, BaseUrl, MessageId, Person, Prices, Role, RoomId, RunId, RunKind, RunState, Status,
    Timestamp, Usage, UserId,
};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{assistants, runs, users};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// A run that may be worked at next in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub room: RoomId,
    pub asker: Option<UserId>,
    pub due: Timestamp,
    pub created_at: Timestamp,
}

/// The engine behind an assistant, as a run needs it. Its key is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    pub base_url: BaseUrl,
    pub api_key: Option<ApiKey>,
    pub model: String,
    pub instructions: String,
    pub context_tokens: i64,
    pub output_tokens: i64,
    pub prices: Prices,
    pub temperature_milli: Option<i64>,
    pub tools: Vec<String>,
}

/// A run that is ours until the lease ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Task {
    pub run: RunId,
    pub kind: RunKind,
    pub room: RoomId,
    pub assistant: Person,
    pub engine: Engine,
    /// As they are now; none when it began by itself. Somebody who isn't active any more is asked for in vain.
    pub asker: Option<(Person, Status)>,
    pub prompt: MessageId,
    /// Of a summary the first message it is about.
    pub start: Option<MessageId>,
    pub message: Option<MessageId>,
    /// JSON, as it was when it was asked for (CORR-13).
    pub settings: String,
    pub settings_version: i64,
    /// Another answer to the same message was there before.
    pub is_further: bool,
    /// This one included.
    pub attempts: i64,
    /// By the attempts before this one.
    pub used: Usage,
    pub created_at: Timestamp,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("run", &self.run).field("room", &self.room).finish_non_exhaustive()
    }
}

/// A sign of life of a run that is worked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub run: RunId,
    /// None when nothing changed since it was noted last.
    pub news: Option<News>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// All that was said.
    pub partial: Arc<str>,
    pub first_token_at: Option<Timestamp>,
    /// Of all prompts so far, as far as they are known to us.
    pub prompt_tokens: i64,
}

/// What became of runs whose holder gave a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renewed {
    /// Somebody wants them to end.
    pub stopping: Vec<RunId>,
    /// They aren't the holder's any more.
    pub lost: Vec<RunId>,
    /// Somebody else is writing at them this moment: nothing was noted, the next sign of life will be.
    pub passed: Vec<RunId>,
}

/// A run whose holder is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub run: RunId,
    pub room: RoomId,
    pub assistant: Person,
    pub partial: String,
    pub attempts: i64,
    pub stopping: bool,
    /// As far as it was noted: without the text that is left.
    pub used: Usage,
}

impl Store {
    /// Woken after each commit that asked for an answer, ended one or wants one stopped.
    pub fn runs_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.runs)
    }

    /// The next run of each room in which nobody speaks, and those that speak in none, oldest first, at most `limit`.
    pub async fn waiting_runs(&self, limit: usize) -> Result<Vec<Waiting>, StoreError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            id: i64,
            #[diesel(sql_type = BigInt)]
            room_id: i64,
            #[diesel(sql_type = Nullable<BigInt>)]
            asker_id: Option<i64>,
            #[diesel(sql_type = BigInt)]
            next_attempt_at: i64,
            #[diesel(sql_type = BigInt)]
            created_at: i64,
        }
        self.read(move |conn| {
            // Of a room the first, even if it isn't due yet: the order of asking is the order of answers (AI-04).
            // What speaks in no room waits for nobody. The sign before the id keeps SQLite from going through all runs there ever were.
            let query = sql_query(
                "SELECT r.id, r.room_id, r.asker_id, r.next_attempt_at, r.created_at FROM runs r
                 WHERE r.state IN ('queued', 'running') AND r.state = 'queued'
                   AND (r.message_id IS NULL OR (
                       NOT EXISTS (SELECT 1 FROM runs o WHERE o.room_id = r.room_id AND o.id < r.id
                                   AND o.message_id IS NOT NULL AND o.state IN ('queued', 'running'))
                       AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.room_id = r.room_id
                                       AND o.message_id IS NOT NULL AND o.state = 'running')))
                 ORDER BY +r.id LIMIT $1",
            )
            .bind::<BigInt, _>(limited(limit));
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            let waiting = |row: Row| Waiting {
                run: RunId::new(row.id),
                room: RoomId::new(row.room_id),
                asker: row.asker_id.map(UserId::new),
                due: Timestamp::from_millis(row.next_attempt_at),
                created_at: Timestamp::from_millis(row.created_at),
            };
            Ok(rows.into_iter().map(waiting).collect())
        })
        .await
    }

    /// Takes a queued run for `holder` until `lease`, counting an attempt; none when somebody else was faster or it is over. The
    /// other way: a run whose rows make no sense, which is taken all the same and has to be brought to an end (AI-22).
    pub async fn take_run(
        &self,
        run: RunId,
        holder: Uuid,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<Result<Task, Orphan>>, StoreError> {
        self.write(move |conn| {
            let queued = runs::table.find(run.get()).filter(runs::state.eq(RunState::Queued.as_str()));
            let query = queued.select((runs::room_id, runs::message_id.is_not_null(), runs::model));
            let found: Option<(i64, bool, String)> = match conn {
                Conn::Pg(c) => query.for_update().first(c).optional()?,
                Conn::Sqlite(c) => query.first(c).optional()?,
            };
            let Some((room, does_speak, model)) = found else { return Ok(None) };
            if does_speak {
                let at_work = runs::table
                    .filter(runs::room_id.eq(room))
                    .filter(is_running())
                    .filter(speaks())
                    .select(runs::id);
                let other: Option<i64> = on!(&mut *conn, |c| at_work.first(c)).optional()?;
                if other.is_some() {
                    return Ok(None);
                }
            }
            let query = diesel::update(queued).set((
                runs::state.eq(RunState::Running.as_str()),
                runs::holder.eq(Some(holder.as_bytes().as_slice())),
                runs::lease_until.eq(Some(lease.as_millis())),
                runs::attempts.eq(runs::attempts + 1),
                runs::started_at.eq(Some(now.as_millis())),
            ));
            on!(&mut *conn, |c| query.execute(c))?;
            match task(conn, run) {
                Ok(task) => {
                    // What was changed since it was asked for counts: it is another model's by now (AI-14).
                    if let Some(task) = task.as_ref().filter(|task| task.engine.model != model) {
                        let query = diesel::update(runs::table.find(run.get()))
                            .set(runs::model.eq(&task.engine.model));
                        on!(&mut *conn, |c| query.execute(c))?;
                    }
                    Ok(task.map(Ok))
                }
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(%error, run.id = %run, "a run can't be worked at");
                    Ok(orphans(conn, &[run.get()])?.pop().map(Err))
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Notes how far runs are, and that their holder lives: one commit for all, and a statement of its own only for a run with news,
    /// for everybody's writes wait meanwhile.
    pub async fn renew_runs(
        &self,
        holder: Uuid,
        progress: Vec<Progress>,
        lease: Timestamp,
    ) -> Result<Renewed, StoreError> {
        self.write(move |conn| {
            let ours =
                || runs::table.filter(is_running()).filter(runs::holder.eq(holder.as_bytes().to_vec()));
            let query = ours().select((runs::id, runs::stop_asked_at.is_not_null()));
            let held: Vec<(i64, bool)> = on!(&mut *conn, |c| query.load(c))?;
            let held: HashMap<i64, bool> = held.into_iter().collect();
            // Whoever writes at several runs may take them in another order: none of them is waited for.
            let free: Option<HashSet<i64>> = match conn {
                Conn::Pg(c) => {
                    let query = ours().order(runs::id).select(runs::id).for_update().skip_locked();
                    Some(query.load::<i64>(c)?.into_iter().collect())
                }
                Conn::Sqlite(_) => None,
            };
            let mut renewed = Renewed::default();
            let mut quiet = Vec::new();
            for Progress { run, news } in progress {
                match held.get(&run.get()) {
                    None => {
                        renewed.lost.push(run);
                        continue;
                    }
                    Some(true) => renewed.stopping.push(run),
                    Some(false) => {}
                }
                if free.as_ref().is_some_and(|free| !free.contains(&run.get())) {
                    renewed.passed.push(run);
                    continue;
                }
                let Some(News { partial, first_token_at, prompt_tokens }) = news else {
                    quiet.push(run.get());
                    continue;
                };
                let query = diesel::update(ours().filter(runs::id.eq(run.get()))).set((
                    runs::lease_until.eq(Some(lease.as_millis())),
                    runs::partial.eq(partial.replace('\0', "")),
                    runs::first_token_at.eq(first_token_at.map(Timestamp::as_millis)),
                    runs::prompt_tokens.eq(prompt_tokens),
                ));
                on!(&mut *conn, |c| query.execute(c))?;
            }
            if !quiet.is_empty() {
                let query = diesel::update(ours().filter(runs::id.eq_any(quiet)))
                    .set(runs::lease_until.eq(Some(lease.as_millis())));
                on!(conn, |c| query.execute(c))?;
            }
            Ok(renewed)
        })
        .await
    }

    /// Puts a run back that nobody has said anything of yet, to be tried from `again_at` on; whether the attempt counts. `used` is all
    /// it used so far, which the next attempt begins with (AI-14). What it asked of clients is withdrawn.
    pub async fn return_run(
        &self,
        run: RunId,
        holder: Uuid,
        now: Timestamp,
        again_at: Timestamp,
        counts: bool,
        used: Usage,
    ) -> Result<bool, StoreError> {
        self.write(move |conn| {
            let ours = runs::table
                .find(run.get())
                .filter(runs::holder.eq(holder.as_bytes().as_slice()))
                .filter(runs::state.eq(RunState::Running.as_str()));
            let query = diesel::update(ours).set((
                runs::state.eq(RunState::Queued.as_str()),
                runs::holder.eq(None::<Vec<u8>>),
                runs::lease_until.eq(None::<i64>),
                runs::next_attempt_at.eq(again_at.as_millis()),
                runs::attempts.eq(runs::attempts - i64::from(!counts)),
                runs::prompt_tokens.eq(used.prompt),
                runs::completion_tokens.eq(used.completion),
                runs::usage_estimated.eq(used.estimated),
            ));
            let returned = on!(&mut *conn, |c| query.execute(c))? > 0;
            if returned {
                actions::withdraw_of(conn, &[run.get()], now)?;
            }
            Ok(returned)
        })
        .await
    }

    /// Takes over, until `lease`, at most `limit` runs whose holder gave no sign of life since `now`; those of others, if nobody else can
    /// be alive, at once (`alone`). What they asked of clients is withdrawn: nobody waits for it any more.
    pub async fn orphaned_runs(
        &self,
        holder: Uuid,
        now: Timestamp,
        alone: bool,
        lease: Timestamp,
        limit: usize,
    ) -> Result<Vec<Orphan>, StoreError> {
        // Looked at first, so that nothing to do costs no write.
        let others = if alone { i64::MAX } else { now.as_millis() };
        let left = move || {
            let is_theirs = runs::holder.ne(holder.as_bytes().to_vec());
            runs::table
                .filter(is_running())
                .filter(runs::lease_until.lt(now.as_millis()).or(runs::lease_until.lt(others).and(is_theirs)))
                .order(runs::id)
                .select(runs::id)
        };
        let query = move |conn: &mut Conn| -> Result<Vec<i64>, StoreError> {
            let query = left().limit(limited(limit));
            Ok(on!(conn, |c| query.load(c))?)
        };
        if self.read(query).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.write(move |conn| {
            let query = left().limit(limited(limit));
            let ids: Vec<i64> = match conn {
                Conn::Pg(c) => query.for_update().skip_locked().load(c)?,
                Conn::Sqlite(c) => query.load(c)?,
            };
            let query = diesel::update(runs::table.filter(runs::id.eq_any(&ids))).set((
                runs::holder.eq(Some(holder.as_bytes().as_slice())),
                runs::lease_until.eq(Some(lease.as_millis())),
            ));
            on!(&mut *conn, |c| query.execute(c))?;
            actions::withdraw_of(conn, &ids, now)?;
            orphans(conn, &ids)
        })
        .await
    }

    /// This model at this address failed too often, or works again: nobody is admitted before `until`. An assistant that has another by
    /// now isn't concerned.
    pub async fn pause_assistant(
        &self,
        assistant: UserId,
        base_url: BaseUrl,
        model: String,
        until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.write(move |conn| {
            let still = assistants::table
                .find(assistant.get())
                .filter(assistants::base_url.eq(base_url.as_str()))
                .filter(assistants::model.eq(&model));
            let query =
                diesel::update(still).set(assistants::paused_until.eq(until.map(Timestamp::as_millis)));
            on!(conn, |c| query.execute(c))?;
            Ok(())
        })
        .await
    }
}

fn orphans(conn: &mut Conn, ids: &[i64]) -> Result<Vec<Orphan>, StoreError> {
    let query = runs::table
        .inner_join(users::table.on(users::id.eq(runs::assistant_id)))
        .filter(runs::id.eq_any(ids))
        .order(runs::id)
        .select((
            runs::id,
            runs::room_id,
            users::id,
            users::name,
            runs::partial,
            runs::attempts,
            runs::stop_asked_at.is_not_null(),
            (runs::prompt_tokens, runs::completion_tokens, runs::usage_estimated),
        ));
    type Row = (i64, i64, i64, String, String, i64, bool, (i64, i64, bool));
    let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
    let orphan = |(run, room, assistant, name, partial, attempts, stopping, used): Row| Orphan {
        run: RunId::new(run),
        room: RoomId::new(room),
        assistant: Person { id: UserId::new(assistant), name: name.into(), role: Role::Assistant },
        partial,
        attempts,
        stopping,
        used: usage(used),
    };
    Ok(rows.into_iter().map(orphan).collect())
}

fn usage((prompt, completion, estimated): (i64, i64, bool)) -> Usage {
    Usage { prompt, completion, estimated }
}

#[derive(Queryable)]
struct TaskRow {
    kind: String,
    room_id: i64,
    assistant: (i64, String),
    asker_id: Option<i64>,
    prompt_id: i64,
    start_id: Option<i64>,
    message_id: Option<i64>,
    settings: String,
    settings_version: i64,
    is_further: bool,
    attempts: i64,
    used: (i64, i64, bool),
    created_at: i64,
    reserved_tokens: i64,
    engine: EngineRow,
}

#[derive(Queryable)]
struct EngineRow {
    base_url: String,
    api_key: Option<String>,
    model: String,
    instructions: String,
    context_tokens: i64,
    output_tokens: i64,
    prompt_price: i64,
    completion_price: i64,
    temperature_milli: Option<i64>,
    tools: String,
}

/// What a run may use of which only is known what was set aside.
fn unnoted(reserved: i64, output: i64, prices: Prices, has_tools: bool) -> Allowance {
    let requests = Allowance::of(reserved, output, prices, has_tools).requests;
    let context = reserved / requests;
    let output = if output < context { output } else { (context / 2).max(1) };
    Allowance { requests, ..Allowance::of(context, output, prices, false) }
}

fn task(conn: &mut Conn, run: RunId) -> Result<Option<Task>, StoreError> {
    let query = runs::table
        .inner_join(users::table.on(users::id.eq(runs::assistant_id)))
        .inner_join(assistants::table.on(assistants::user_id.eq(runs::assistant_id)))
        .filter(runs::id.eq(run.get()))
        .select((
            runs::kind,
            runs::room_id,
            (users::id, users::name),
            runs::asker_id,
            runs::prompt_id,
            runs::start_id,
            runs::message_id,
            runs::settings,
            runs::settings_version,
            runs::regenerates.is_not_null(),
            runs::attempts,
            (runs::prompt_tokens, runs::completion_tokens, runs::usage_estimated),
            runs::created_at,
            runs::reserved_tokens,
            (
                assistants::base_url,
                assistants::api_key,
                assistants::model,
                assistants::instructions,
                assistants::context_tokens,
                assistants::output_tokens,
                assistants::prompt_price,
                assistants::completion_price,
                assistants::temperature_milli,
                assistants::tools,
            ),
        ));
    let row: Option<TaskRow> = on!(&mut *conn, |c| query.first(c)).optional()?;
    let Some(row) = row else { return Ok(None) };
    let asker = match row.asker_id {
        Some(asker) => {
            let query = users::table.find(asker).select((users::id, users::name, users::role, users::status));
            let (id, name, role, status): (i64, String, String, String) =
                on!(&mut *conn, |c| query.first(c))?;
            let role = Role::parse(&role).ok_or_else(|| StoreError::nonsense("users.role", &role))?;
            let status =
                Status::parse(&status).ok_or_else(|| StoreError::nonsense("users.status", &status))?;
            Some((Person { id: UserId::new(id), name: name.into(), role }, status))
        }
        None => None,
    };
    let of = row.engine;
    let mut tools: Vec<String> =
        of.tools.split(',').filter(|tool| !tool.is_empty()).map(str::to_owned).collect();
    let prices = Prices { prompt: of.prompt_price, completion: of.completion_price };
    // Whatever was changed meanwhile, it uses no more than was set aside for it (AI-15).
    let allowance = allowances::of(conn, run)?
        .unwrap_or_else(|| unnoted(row.reserved_tokens, of.output_tokens, prices, !tools.is_empty()));
    let (context_tokens, output_tokens) = allowance.window(of.context_tokens, of.output_tokens);
    if !allowance.has_tools() {
        tools.clear();
    }
    let nonsense = |what: &'static str| move |_rejection| StoreError::nonsense(what, run);
    let engine = Engine {
        base_url: BaseUrl::parse(&of.base_url).map_err(nonsense("assistants.base_url"))?,
        api_key: of
            .api_key
            .map(|key| ApiKey::parse(&key))
            .transpose()
            .map_err(nonsense("assistants.api_key"))?,
        model: of.model,
        instructions: of.instructions,
        context_tokens,
        output_tokens,
        prices: allowance.prices,
        temperature_milli: of.temperature_milli,
        tools,
    };
    Ok(Some(Task {
        run,
        kind: RunKind::parse(&row.kind).ok_or_else(|| StoreError::nonsense("runs.kind", &row.kind))?,
        room: RoomId::new(row.room_id),
        assistant: Person {
            id: UserId::new(row.assistant.0),
            name: row.assistant.1.into(),
            role: Role::Assistant,
        },
        engine,
        asker,
        prompt: MessageId::new(row.prompt_id),
        start: row.start_id.map(MessageId::new),
        message: row.message_id.map(MessageId::new),
        settings: row.settings,
        settings_version: row.settings_version,
        is_further: row.is_further,
        attempts: row.attempts,
        used: usage(row.used),
        created_at: Timestamp::from_millis(row.created_at),
    }))
}

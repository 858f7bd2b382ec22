//! Runs of assistants, as they are shown.

use super::limited;
use crate::domain::{MessageId, RoomId, RunId, RunKind, RunState, Timestamp, Usage, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::runs;
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use std::collections::HashMap;

/// A run, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    pub kind: RunKind,
    pub room: RoomId,
    pub assistant: UserId,
    pub asker: Option<UserId>,
    pub prompt: MessageId,
    pub message: Option<MessageId>,
    pub regenerates: Option<RunId>,
    pub state: RunState,
    pub stopping: bool,
    pub attempts: i64,
    /// What was said so far, while it is open.
    pub partial: String,
    pub reason: Option<String>,
    pub truncated: bool,
    pub model: String,
    pub usage: Usage,
    pub cost_micros: i64,
    pub settings_version: i64,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub first_token_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// How many runs wait and are worked at, and since when the oldest waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunDepth {
    pub queued: usize,
    pub running: usize,
    pub oldest: Option<Timestamp>,
}

/// That a run isn't over. Written out, not bound: only so do the partial indexes serve, and `runs` grows without end.
pub(in crate::storage) fn is_open() -> SqlLiteral<Bool> {
    sql("runs.state IN ('queued', 'running')")
}

/// That a run is worked at; see [`is_open`].
pub(in crate::storage) fn is_running() -> SqlLiteral<Bool> {
    sql("runs.state = 'running'")
}

/// That a run's answer is a message of its room, which has one of them written at a time.
pub(in crate::storage) fn speaks() -> SqlLiteral<Bool> {
    sql("runs.message_id IS NOT NULL")
}

/// That a run answers a message; see [`is_open`].
pub(in crate::storage) fn is_answer() -> SqlLiteral<Bool> {
    sql("runs.kind = 'answer'")
}

/// That a run sums up; see [`is_open`].
pub(in crate::storage) fn is_summary() -> SqlLiteral<Bool> {
    sql("runs.kind = 'summary'")
}

/// The id, so written that no index of all runs is gone through for the few that are open.
fn id_of_few() -> SqlLiteral<BigInt> {
    sql("+runs.id")
}

impl Store {
    /// A run of a room.
    pub async fn run(&self, room: RoomId, run: RunId) -> Result<Option<Run>, StoreError> {
        self.read(move |conn| {
            let query = runs::table.find(run.get()).filter(runs::room_id.eq(room.get())).select(columns());
            let row: Option<Row> = on!(conn, |c| query.first(c)).optional()?;
            row.map(Run::try_from).transpose()
        })
        .await
    }

    /// Runs of a room before `before`, newest first; only open ones, if asked for.
    pub async fn runs_of_room(
        &self,
        room: RoomId,
        before: RunId,
        only_open: bool,
        limit: usize,
    ) -> Result<Vec<Run>, StoreError> {
        self.read(move |conn| {
            let here = runs::table.filter(runs::room_id.eq(room.get())).limit(limited(limit));
            let rows: Vec<Row> = if only_open {
                let query = here
                    .filter(is_open())
                    .filter(id_of_few().lt(before.get()))
                    .order(id_of_few().desc())
                    .select(columns());
                on!(conn, |c| query.load(c))?
            } else {
                let query = here.filter(runs::id.lt(before.get())).order(runs::id.desc()).select(columns());
                on!(conn, |c| query.load(c))?
            };
            rows.into_iter().map(Run::try_from).collect()
        })
        .await
    }

    /// How many runs are open.
    pub async fn run_depth(&self) -> Result<RunDepth, StoreError> {
        self.read(move |conn| {
            let query = runs::table
                .filter(is_open())
                .filter(runs::state.eq(RunState::Queued.as_str()))
                .select((diesel::dsl::count_star(), diesel::dsl::min(runs::created_at)));
            let (queued, oldest): (i64, Option<i64>) = on!(&mut *conn, |c| query.first(c))?;
            let query = runs::table.filter(is_running()).count();
            let running: i64 = on!(conn, |c| query.get_result(c))?;
            let size = |count: i64| usize::try_from(count).unwrap_or_default();
            Ok(RunDepth {
                queued: size(queued),
                running: size(running),
                oldest: oldest.map(Timestamp::from_millis),
            })
        })
        .await
    }
}

/// The runs whose answers these messages are.
pub(super) fn of_messages(conn: &mut Conn, messages: &[i64]) -> Result<HashMap<i64, Run>, StoreError> {
    let query = runs::table.filter(runs::message_id.eq_any(messages)).select(columns());
    let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let run = Run::try_from(row)?;
        if let Some(message) = run.message {
            found.insert(message.get(), run);
        }
    }
    Ok(found)
}

#[derive(Queryable)]
struct Row {
    id: i64,
    kind: String,
    room_id: i64,
    assistant_id: i64,
    asker_id: Option<i64>,
    prompt_id: i64,
    message_id: Option<i64>,
    regenerates: Option<i64>,
    state: String,
    stopping: bool,
    attempts: i64,
    partial: String,
    reason: Option<String>,
    truncated: bool,
    model: String,
    usage: (i64, i64, bool),
    cost_micros: i64,
    settings_version: i64,
    times: (i64, Option<i64>, Option<i64>, Option<i64>),
}

type Columns = (
    runs::id,
    runs::kind,
    runs::room_id,
    runs::assistant_id,
    runs::asker_id,
    runs::prompt_id,
    runs::message_id,
    runs::regenerates,
    runs::state,
    diesel::dsl::IsNotNull<runs::stop_asked_at>,
    runs::attempts,
    runs::partial,
    runs::reason,
    runs::truncated,
    runs::model,
    (runs::prompt_tokens, runs::completion_tokens, runs::usage_estimated),
    runs::cost_micros,
    runs::settings_version,
    (runs::created_at, runs::started_at, runs::first_token_at, runs::ended_at),
);

fn columns() -> Columns {
    (
        runs::id,
        runs::kind,
        runs::room_id,
        runs::assistant_id,
        runs::asker_id,
        runs::prompt_id,
        runs::message_id,
        runs::regenerates,
        runs::state,
        runs::stop_asked_at.is_not_null(),
        runs::attempts,
        runs::partial,
        runs::reason,
        runs::truncated,
        runs::model,
        (runs::prompt_tokens, runs::completion_tokens, runs::usage_estimated),
        runs::cost_micros,
        runs::settings_version,
        (runs::created_at, runs::started_at, runs::first_token_at, runs::ended_at),
    )
}

impl TryFrom<Row> for Run {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let (prompt, completion, estimated) = row.usage;
        let (created_at, started_at, first_token_at, ended_at) = row.times;
        Ok(Self {
            id: RunId::new(row.id),
            kind: RunKind::parse(&row.kind).ok_or_else(|| StoreError::nonsense("runs.kind", &row.kind))?,
            room: RoomId::new(row.room_id),
            assistant: UserId::new(row.assistant_id),
            asker: row.asker_id.map(UserId::new),
            prompt: MessageId::new(row.prompt_id),
            message: row.message_id.map(MessageId::new),
            regenerates: row.regenerates.map(RunId::new),
            state: RunState::parse(&row.state)
                .ok_or_else(|| StoreError::nonsense("runs.state", &row.state))?,
            stopping: row.stopping,
            attempts: row.attempts,
            partial: row.partial,
            reason: row.reason,
            truncated: row.truncated,
            model: row.model,
            usage: Usage { prompt, completion, estimated },
            cost_micros: row.cost_micros,
            settings_version: row.settings_version,
            created_at: Timestamp::from_millis(created_at),
            started_at: started_at.map(Timestamp::from_millis),
            first_token_at: first_token_at.map(Timestamp::from_millis),
            ended_at: ended_at.map(Timestamp::from_millis),
        })
    }
}

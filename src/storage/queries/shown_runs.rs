//! The columns of a run that is shown.

use super::runs::Run;
use crate::domain::{MessageId, RoomId, RunId, RunKind, RunState, Timestamp, Usage, UserId};
use crate::storage::error::StoreError;
use crate::storage::schema::runs;
use diesel::prelude::*;

#[derive(Queryable)]
pub(super) struct Row {
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

pub(super) type Columns = (
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

pub(super) fn columns() -> Columns {
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

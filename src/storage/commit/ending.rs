//! Answers that end because what they hang on is no more: the assistant, its place in the room, the room.

use super::Halt;
use super::runs::{RunRow, finish, load};
use super::tx::Tx;
use crate::domain::command::Recorded;
use crate::domain::run::reason;
use crate::domain::{RoomId, RunEnd, RunId, RunState, Usage, UserId};
use crate::storage::conn::on;
use crate::storage::queries::runs::is_open;
use crate::storage::schema::runs;
use diesel::prelude::*;

/// Ends all open runs of an assistant that is no more.
pub(super) fn end_all_of(tx: &mut Tx<'_>, assistant: UserId) -> Result<Vec<Recorded>, Halt> {
    end_all(tx, Some(assistant), None)
}

/// Ends all open runs of a room that is no more, or those of an assistant that is in it no more.
pub(super) fn end_all_in(
    tx: &mut Tx<'_>,
    room: RoomId,
    assistant: Option<UserId>,
) -> Result<Vec<Recorded>, Halt> {
    end_all(tx, assistant, Some(room))
}

fn end_all(tx: &mut Tx<'_>, assistant: Option<UserId>, room: Option<RoomId>) -> Result<Vec<Recorded>, Halt> {
    if !tx.has_assistants {
        return Ok(Vec::new());
    }
    let whose = assistant.map_or((i64::MIN, i64::MAX), |id| (id.get(), id.get()));
    let place = room.map_or((i64::MIN, i64::MAX), |id| (id.get(), id.get()));
    let query = runs::table
        .filter(runs::assistant_id.between(whose.0, whose.1))
        .filter(runs::room_id.between(place.0, place.1))
        .filter(is_open())
        .order(runs::id)
        .select((runs::id, runs::room_id));
    let open: Vec<(i64, i64)> = on!(&mut *tx.conn, |c| query.load(c))?;
    let mut events = Vec::new();
    for (run, room) in open {
        let (run, room) = (RunId::new(run), RoomId::new(room));
        let Some(row) = load(tx, room, run)? else { continue };
        // Whoever works at it can't speak for the assistant any more.
        let end = RunEnd {
            state: RunState::Cancelled,
            text: row.partial.as_str().into(),
            reason: Some(reason::ASSISTANT_GONE),
            truncated: false,
            usage: so_far(&row),
            first_token_at: None,
        };
        let (_, ended) = finish(tx, room, run, &row, &end)?;
        events.extend(ended);
    }
    Ok(events)
}

impl RunRow {
    /// What was used as far as it is noted: of one that waits by the attempts before.
    pub(super) fn used(&self) -> Usage {
        let (prompt, completion, estimated) = self.used;
        Usage { prompt, completion, estimated }
    }
}

/// What was used as far as it is noted, rather too much than too little (AI-14).
fn so_far(row: &RunRow) -> Usage {
    let completion = i64::try_from(row.partial.len().div_ceil(2)).unwrap_or(i64::MAX);
    row.used().plus(Usage { prompt: 0, completion, estimated: true })
}

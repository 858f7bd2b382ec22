//! Chains of programs end (BOT-08): what a program asks right after an answer that a program asked for is one hop more.

use super::tx::Tx;
use crate::domain::{Rejection, Role, RoomId, Timestamp};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::runs::is_answer;
use crate::storage::schema::{messages, runs, users};
use diesel::prelude::*;
use std::time::Duration;

/// What is asked later than this after the answer before doesn't follow from it.
const PAUSE: Duration = Duration::from_secs(60);
/// Those who aren't programs.
const PEOPLE: [&str; 3] = [Role::Admin.as_str(), Role::Member.as_str(), Role::Guest.as_str()];

/// When the answer was asked for, when it ended, by whom, and about which message.
type Hop = (i64, i64, Option<String>, i64);

/// Why a program may not ask in this room now, if it may not: as many answers as may were asked for by programs, each right after the
/// one before, and nobody else has said anything since.
pub(super) fn check(tx: &mut Tx<'_>, room: RoomId) -> Result<Option<Rejection>, StoreError> {
    let most = tx.terms.runs.hops;
    if most == 0 {
        return Ok(Some(Rejection::forbidden("programs ask no assistants here")));
    }
    let query = runs::table
        .left_join(users::table.on(users::id.nullable().eq(runs::asker_id)))
        .filter(runs::room_id.eq(room.get()))
        .filter(is_answer())
        // What isn't answered yet nobody goes on from.
        .filter(runs::ended_at.is_not_null())
        .order(runs::id.desc())
        .limit(i64::from(most))
        .select((
            runs::created_at,
            runs::ended_at.assume_not_null(),
            users::role.nullable(),
            runs::prompt_id,
        ));
    let hops: Vec<Hop> = on!(&mut *tx.conn, |c| query.load(c))?;
    let Some(wait) = until_broken(tx.now, &hops, most) else { return Ok(None) };
    tx.flush()?;
    let since = hops.last().map_or(i64::MAX, |(.., prompt)| *prompt);
    let query = messages::table
        .inner_join(users::table.on(users::id.eq(messages::author_id)))
        .filter(messages::room_id.eq(room.get()))
        .filter(messages::id.gt(since))
        .filter(users::role.eq_any(PEOPLE))
        .select(messages::id);
    let word: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    Ok(word.is_none().then(|| Rejection::rate_limited("questions of programs in a row", wait)))
}

/// How long it takes until what is asked isn't the next hop of this chain, newest first, if it is as long as may be.
fn until_broken(now: Timestamp, hops: &[Hop], most: u32) -> Option<Duration> {
    let mut next = now.as_millis();
    for (asked, ended, role, _) in hops {
        // Where several were asked at once, one may have ended after the next was asked.
        let pause = u128::try_from(next - ended).unwrap_or_default();
        if role.as_deref() != Some(Role::Bot.as_str()) || pause >= PAUSE.as_millis() {
            return None;
        }
        next = *asked;
    }
    let (_, ended, ..) = hops.first()?;
    let since = Duration::from_millis(u64::try_from(now.as_millis() - ended).unwrap_or_default());
    (hops.len() >= usize::try_from(most).unwrap_or(usize::MAX)).then(|| PAUSE.saturating_sub(since))
}

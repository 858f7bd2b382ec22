//! Reserving and settling what assistants use (AI-15): reserved with the run, settled with its end. All commits follow one
//! another, so that what many ask for at once is never more than there is.

use super::tx::Tx;
use super::{Done, Halt};
use crate::domain::{
    Ack, Amount, AuditAction, AuditNote, AuditTarget, Budget, Command, Person, Rejection, RejectionCode,
    RoomId, RoomKind, Scope, Subject, Timestamp, UserId,
};
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{budgets, spending, users};
use diesel::prelude::*;

/// Whose budgets a run counts against. What began by itself is nobody's.
pub(super) fn scopes(asker: Option<UserId>, room: RoomId) -> impl Iterator<Item = Scope> {
    asker.map(Scope::User).into_iter().chain([Scope::Room(room), Scope::Account])
}

/// Says how much may be used, or that nobody counts.
pub(super) fn set(tx: &mut Tx<'_>, actor: &Person, command: &Command, scope: Scope, budget: Budget) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let target = match scope {
        Scope::User(user) if user.get() != 0 => {
            let query = users::table.find(user.get()).select(users::id);
            let known: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
            known.ok_or_else(|| Rejection::invalid("scope_id", "is nobody's"))?;
            AuditTarget::User(user)
        }
        Scope::Room(room) if room.get() != 0 => {
            must_be_talked_in(tx, room)?;
            AuditTarget::Room(room)
        }
        Scope::User(_) | Scope::Room(_) | Scope::Account => AuditTarget::Account,
    };
    let row = budgets::table.find((scope.kind(), scope.id()));
    let query = row.select((budgets::tokens_max, budgets::micros_max));
    let before: Option<(Option<i64>, Option<i64>)> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
    let after = (budget != Budget::default()).then_some((budget.tokens, budget.micros));
    if before == after {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    on!(&mut *tx.conn, |c| diesel::delete(row).execute(c))?;
    if after.is_some() {
        let query = diesel::insert_into(budgets::table).values((
            budgets::scope.eq(scope.kind()),
            budgets::scope_id.eq(scope.id()),
            budgets::tokens_max.eq(budget.tokens),
            budgets::micros_max.eq(budget.micros),
            budgets::updated_at.eq(tx.now.as_millis()),
        ));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let shown = |most: Option<i64>| most.map_or_else(|| "none".to_owned(), |most| most.to_string());
    let note = AuditNote::new(AuditAction::BudgetChanged, target).with("scope", scope.kind());
    let note = note.with("tokens", shown(budget.tokens)).with("micros", shown(budget.micros));
    tx.audit(Some(actor.id), &note)?;
    Ok((Ack::Unchanged, Vec::new()))
}

/// Refuses a room that is none, or that nobody posts in.
fn must_be_talked_in(tx: &mut Tx<'_>, room: RoomId) -> Result<(), Halt> {
    let known = tx.facts.room(tx.conn, room)?.filter(|room| !room.deleted);
    match known.map(|room| room.kind) {
        Some(RoomKind::Open | RoomKind::Closed | RoomKind::Direct) => Ok(()),
        Some(RoomKind::Inbox | RoomKind::Commons) | None => {
            Err(Rejection::invalid("scope_id", "is no room's").into())
        }
    }
}

/// Refuses what wouldn't fit; writes nothing.
pub(super) fn check(
    tx: &mut Tx<'_>,
    asker: Option<UserId>,
    room: RoomId,
    wanted: Amount,
) -> Result<Option<Rejection>, StoreError> {
    for scope in scopes(asker, room) {
        let Some(budget) = budget(tx.conn, scope)? else { continue };
        let used = used(tx.conn, scope, tx.now)?;
        if !budget.covers(used.plus(wanted)) {
            let whose = match scope {
                Scope::User(_) => "your budget for assistants is used up for this month",
                Scope::Room(_) => "this room's budget for assistants is used up for today",
                Scope::Account => "the account's budget for assistants is used up for this month",
            };
            return Ok(Some(Rejection::new(RejectionCode::BudgetExceeded, whose)));
        }
    }
    Ok(None)
}

/// Sets `amount` aside.
pub(super) fn reserve(
    tx: &mut Tx<'_>,
    asker: Option<UserId>,
    room: RoomId,
    amount: Amount,
) -> Result<(), StoreError> {
    let now = tx.now;
    scopes(asker, room).try_for_each(|scope| add(tx.conn, scope, now, Amount::default(), amount))
}

/// Takes back what was set aside at `reserved_at`, and notes what was used instead.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    asker: Option<UserId>,
    room: RoomId,
    reserved_at: Timestamp,
    reserved: Amount,
    spent: Amount,
) -> Result<(), StoreError> {
    let back = Amount { tokens: -reserved.tokens, micros: -reserved.micros };
    scopes(asker, room).try_for_each(|scope| add(tx.conn, scope, reserved_at, spent, back))
}

/// Somebody's own budget, or everybody's.
fn budget(conn: &mut Conn, scope: Scope) -> Result<Option<Budget>, StoreError> {
    let query = budgets::table
        .filter(budgets::scope.eq(scope.kind()))
        .filter(budgets::scope_id.eq_any([scope.id(), 0]))
        .order(budgets::scope_id.desc())
        .select((budgets::tokens_max, budgets::micros_max));
    let found: Option<(Option<i64>, Option<i64>)> = on!(conn, |c| query.first(c)).optional()?;
    Ok(found.map(|(tokens, micros)| Budget { tokens, micros }))
}

/// What was used and is set aside in the period of `now`.
fn used(conn: &mut Conn, scope: Scope, now: Timestamp) -> Result<Amount, StoreError> {
    let found = stored(conn, scope, &scope.period(now))?;
    Ok(found.map_or_else(Amount::default, |Stored { spent, reserved }| spent.plus(reserved)))
}

/// Adds to what was spent, which stays at the most a budget can be once it is there, and to what is set aside.
fn add(
    conn: &mut Conn,
    scope: Scope,
    at: Timestamp,
    spent: Amount,
    reserved: Amount,
) -> Result<(), StoreError> {
    let period = scope.period(at);
    let row = spending::table.find((scope.kind(), scope.id(), &period));
    let Some(before) = stored(&mut *conn, scope, &period)? else {
        let query = diesel::insert_into(spending::table).values((
            spending::scope.eq(scope.kind()),
            spending::scope_id.eq(scope.id()),
            spending::period.eq(&period),
            spending::spent_tokens.eq(spent.tokens),
            spending::spent_micros.eq(spent.micros),
            spending::reserved_tokens.eq(reserved.tokens),
            spending::reserved_micros.eq(reserved.micros),
        ));
        on!(conn, |c| query.execute(c))?;
        return Ok(());
    };
    let (spent, reserved) = (before.spent.plus(spent), before.reserved.plus(reserved));
    let query = diesel::update(row).set((
        spending::spent_tokens.eq(spent.tokens.min(Budget::MOST)),
        spending::spent_micros.eq(spent.micros.min(Budget::MOST)),
        spending::reserved_tokens.eq(reserved.tokens),
        spending::reserved_micros.eq(reserved.micros),
    ));
    on!(conn, |c| query.execute(c))?;
    Ok(())
}

/// What stands in a period.
struct Stored {
    spent: Amount,
    reserved: Amount,
}

fn stored(conn: &mut Conn, scope: Scope, period: &str) -> Result<Option<Stored>, StoreError> {
    let query = spending::table.find((scope.kind(), scope.id(), period)).select((
        spending::spent_tokens,
        spending::spent_micros,
        spending::reserved_tokens,
        spending::reserved_micros,
    ));
    let found: Option<(i64, i64, i64, i64)> = on!(conn, |c| query.first(c)).optional()?;
    Ok(found.map(|(spent_tokens, spent_micros, reserved_tokens, reserved_micros)| Stored {
        spent: Amount { tokens: spent_tokens, micros: spent_micros },
        reserved: Amount { tokens: reserved_tokens, micros: reserved_micros },
    }))
}

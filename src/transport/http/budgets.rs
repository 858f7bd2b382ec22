//! How much assistants may use, and what they used, for admins.

use super::call::{Call, ok};
use super::problem::{Answer, Problem};
use super::query::Query;
use crate::auth::identity::refusal;
use crate::domain::{Budget, Command, Rejection, Scope, Timestamp};
use crate::storage::{BudgetView, SpendingView, StoreError, UsageBy, UsageView};
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Entries of each list (count): what uses the most comes first.
const MOST: usize = 500;

#[derive(Deserialize)]
struct Set {
    scope: String,
    /// 0, or missing: everybody, or every room, without a budget of their own.
    scope_id: Option<i64>,
    tokens_max: Option<i64>,
    micros_max: Option<i64>,
}

#[derive(Serialize)]
struct View {
    scope: &'static str,
    scope_id: i64,
    tokens_max: Option<i64>,
    micros_max: Option<i64>,
}

impl From<&BudgetView> for View {
    fn from(view: &BudgetView) -> Self {
        let BudgetView { scope, budget } = view;
        Self {
            scope: scope.kind(),
            scope_id: scope.id(),
            tokens_max: budget.tokens,
            micros_max: budget.micros,
        }
    }
}

#[derive(Serialize)]
struct Spending<'a> {
    scope: &'static str,
    scope_id: i64,
    period: &'a str,
    spent_tokens: i64,
    spent_micros: i64,
    reserved_tokens: i64,
    reserved_micros: i64,
}

impl<'a> From<&'a SpendingView> for Spending<'a> {
    fn from(view: &'a SpendingView) -> Self {
        Self {
            scope: view.scope.kind(),
            scope_id: view.scope.id(),
            period: &view.period,
            spent_tokens: view.spent_tokens,
            spent_micros: view.spent_micros,
            reserved_tokens: view.reserved_tokens,
            reserved_micros: view.reserved_micros,
        }
    }
}

#[derive(Serialize)]
struct Used<'a> {
    /// Of the user, room or assistant; none for what began by itself, and for models.
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    runs: i64,
    failed: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    cost_micros: i64,
}

impl<'a> From<&'a UsageView> for Used<'a> {
    fn from(view: &'a UsageView) -> Self {
        Self {
            id: view.id,
            model: view.model.as_deref(),
            runs: view.runs,
            failed: view.failed,
            prompt_tokens: view.prompt_tokens,
            completion_tokens: view.completion_tokens,
            cost_micros: view.cost_micros,
        }
    }
}

/// `GET /ai/budgets`
pub(super) async fn list(call: Call) -> Answer {
    shown(&call, refusal_of).await
}

/// `PUT /ai/budgets`
pub(super) async fn set(mut call: Call) -> Answer {
    let Set { scope, scope_id, tokens_max, micros_max } = call.read().await?;
    let id = scope_id.unwrap_or_default();
    if id < 0 {
        return Err(Rejection::invalid("scope_id", "is negative").into());
    }
    if !Scope::KINDS.contains(&&*scope) {
        return Err(Rejection::invalid("scope", "is not user, room or account").into());
    }
    let scope = Scope::of(&scope, id);
    let scope = scope.ok_or_else(|| Rejection::invalid("scope_id", "has no meaning for the account"))?;
    for (name, most) in [("tokens_max", tokens_max), ("micros_max", micros_max)] {
        if most.is_some_and(|most| !(0..=Budget::MOST).contains(&most)) {
            return Err(Rejection::invalid(name, "is not between 0 and 9007199254740991").into());
        }
    }
    let budget = Budget { tokens: tokens_max, micros: micros_max };
    call.submit(Command::SetBudget { scope, budget }).await?;
    // It is done, but the list may be out of reach.
    shown(&call, |error| refusal_of(error).after_commit()).await
}

fn refusal_of(error: StoreError) -> Problem {
    refusal(error).into()
}

async fn shown(call: &Call, lost: impl FnOnce(StoreError) -> Problem) -> Answer {
    let mut budgets = call.state.store.budgets(MOST + 1).await.map_err(lost)?;
    let more = budgets.len() > MOST;
    budgets.truncate(MOST);
    let budgets: Vec<_> = budgets.iter().map(View::from).collect();
    ok(&json!({ "budgets": budgets, "next": null, "more": more }))
}

/// `GET /ai/usage`
pub(super) async fn usage(call: Call) -> Answer {
    let query = call.query()?;
    let now = super::now();
    let by = match query.text("by") {
        None => UsageBy::User,
        Some(by) => UsageBy::parse(by)
            .ok_or_else(|| Rejection::invalid("by", "is not user, room, assistant or model"))?,
    };
    let from = moment(&query, "from")?.map_or_else(|| month_of(now), Ok)?;
    let to = moment(&query, "to")?.unwrap_or(now);
    if from > to {
        return Err(Rejection::invalid("from", "is after to").into());
    }
    let store = &call.state.store;
    let mut used = store.usage(by, from, to, MOST + 1).await.map_err(refusal)?;
    let more = used.len() > MOST;
    used.truncate(MOST);
    let spending = store.spending(now, MOST).await.map_err(refusal)?;
    let usage: Vec<_> = used.iter().map(Used::from).collect();
    let spending: Vec<_> = spending.iter().map(Spending::from).collect();
    let (from, to) = (from.to_string(), to.to_string());
    ok(&json!({ "usage": usage, "more": more, "spending": spending, "from": from, "to": to }))
}

fn moment(query: &Query, name: &'static str) -> Result<Option<Timestamp>, Rejection> {
    let parse = |text: &str| {
        let at = DateTime::parse_from_rfc3339(text);
        at.map(|at| at.to_utc().into())
            .map_err(|_no_time| Rejection::invalid(name, "is not a time like 2026-01-01T00:00:00Z"))
    };
    query.text(name).map(parse).transpose()
}

/// When the month began that `at` is in.
fn month_of(at: Timestamp) -> Result<Timestamp, Rejection> {
    let at = DateTime::<Utc>::from_timestamp_millis(at.as_millis()).and_then(|at| at.with_day(1));
    let midnight = at.and_then(|first| first.date_naive().and_hms_opt(0, 0, 0));
    midnight.map(|midnight| midnight.and_utc().into()).ok_or_else(Rejection::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_with_its_first_day() {
        let at = |text: &str| Timestamp::from(DateTime::parse_from_rfc3339(text).expect("a time").to_utc());
        assert_eq!(month_of(at("2026-11-30T23:59:59.999Z")), Ok(at("2026-11-01T00:00:00Z")));
        assert_eq!(month_of(at("2028-03-31T00:00:00Z")), Ok(at("2028-03-01T00:00:00Z")));
    }
}

//! How much assistants may use, and what they used: for whom, where, by which model.

use super::limited;
use crate::domain::{Budget, RoomId, Scope, Timestamp};
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{budgets, spending};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};

/// How much may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetView {
    /// Of id 0: everybody's, or every room's.
    pub scope: Scope,
    pub budget: Budget,
}

/// What was used in a period and is set aside in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendingView {
    pub scope: Scope,
    pub period: String,
    pub spent_tokens: i64,
    pub spent_micros: i64,
    pub reserved_tokens: i64,
    pub reserved_micros: i64,
}

/// What is summed up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// Who asked.
    User,
    Room,
    Assistant,
    Model,
}

/// What runs used together.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct UsageView {
    /// None for what began by itself, and for models.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub id: Option<i64>,
    /// A model's name.
    #[diesel(sql_type = Nullable<Text>)]
    pub model: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub runs: i64,
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    #[diesel(sql_type = BigInt)]
    pub prompt_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub completion_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cost_micros: i64,
}

impl UsageBy {
    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "room" => Some(Self::Room),
            "assistant" => Some(Self::Assistant),
            "model" => Some(Self::Model),
            _ => None,
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::User => "asker_id",
            Self::Room => "room_id",
            Self::Assistant => "assistant_id",
            Self::Model => "model",
        }
    }
}

impl Store {
    /// Budgets by scope, at most `limit`.
    pub async fn budgets(&self, limit: usize) -> Result<Vec<BudgetView>, StoreError> {
        self.read(move |conn| {
            let query = budgets::table
                .order((budgets::scope, budgets::scope_id))
                .limit(limited(limit))
                .select((budgets::scope, budgets::scope_id, budgets::tokens_max, budgets::micros_max));
            let rows: Vec<(String, i64, Option<i64>, Option<i64>)> = on!(conn, |c| query.load(c))?;
            let view = |(kind, id, tokens, micros): (String, i64, Option<i64>, Option<i64>)| {
                Ok(BudgetView { scope: scope(&kind, id)?, budget: Budget { tokens, micros } })
            };
            rows.into_iter().map(view).collect()
        })
        .await
    }

    /// What runs that were asked for from `from` on and before `to` used, the most expensive first, at most `limit` sums.
    pub async fn usage(
        &self,
        by: UsageBy,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<UsageView>, StoreError> {
        self.read(move |conn| {
            let column = by.column();
            let (id, model) = match by {
                UsageBy::Model => ("CAST(NULL AS BIGINT)", column),
                UsageBy::User | UsageBy::Room | UsageBy::Assistant => (column, "CAST(NULL AS TEXT)"),
            };
            let query = sql_query(format!(
                "SELECT {id} AS id, {model} AS model, count(*) AS runs,
                        count(CASE WHEN state = 'failed' THEN 1 END) AS failed,
                        CAST(sum(prompt_tokens) AS BIGINT) AS prompt_tokens,
                        CAST(sum(completion_tokens) AS BIGINT) AS completion_tokens,
                        CAST(sum(cost_micros) AS BIGINT) AS cost_micros
                 FROM runs WHERE created_at >= $1 AND created_at < $2 GROUP BY {column}
                 ORDER BY sum(cost_micros) DESC, sum(prompt_tokens + completion_tokens) DESC, {column} LIMIT $3"
            ))
            .bind::<BigInt, _>(from.as_millis())
            .bind::<BigInt, _>(to.as_millis())
            .bind::<BigInt, _>(limited(limit));
            Ok(on!(conn, |c| query.load(c))?)
        })
        .await
    }

    /// What counts against budgets at `now`, the most first, at most `limit`.
    pub async fn spending(&self, now: Timestamp, limit: usize) -> Result<Vec<SpendingView>, StoreError> {
        self.read(move |conn| {
            type Row = (String, i64, String, i64, i64, i64, i64);
            let periods = [Scope::Room(RoomId::default()).period(now), Scope::Account.period(now)];
            let query = spending::table
                .filter(spending::period.eq_any(periods))
                .order((spending::spent_micros.desc(), spending::spent_tokens.desc(), spending::scope_id))
                .limit(limited(limit))
                .select((
                    spending::scope,
                    spending::scope_id,
                    spending::period,
                    spending::spent_tokens,
                    spending::spent_micros,
                    spending::reserved_tokens,
                    spending::reserved_micros,
                ));
            let rows: Vec<Row> = on!(conn, |c| query.load(c))?;
            let view = |row: Row| {
                let (kind, id, period, spent_tokens, spent_micros, reserved_tokens, reserved_micros) = row;
                let scope = scope(&kind, id)?;
                Ok(SpendingView {
                    scope,
                    period,
                    spent_tokens,
                    spent_micros,
                    reserved_tokens,
                    reserved_micros,
                })
            };
            rows.into_iter().map(view).collect()
        })
        .await
    }
}

fn scope(kind: &str, id: i64) -> Result<Scope, StoreError> {
    Scope::of(kind, id).ok_or_else(|| StoreError::nonsense("a scope of budgets", kind))
}

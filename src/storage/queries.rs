//! Typed questions to the store, a file per group of tables.

pub(super) mod actions;
pub(super) mod allowances;
pub(super) mod assistants;
pub(super) mod audit;
pub(super) mod badges;
pub(super) mod bans;
pub(super) mod bot_keys;
pub(super) mod bots;
pub(super) mod budgets;
pub(super) mod drift;
pub(super) mod events;
mod idempotency;
pub(super) mod invites;
pub(super) mod messages;
pub(super) mod outbox;
pub(super) mod people;
pub(super) mod probing;
pub(super) mod remains;
pub(super) mod rooms;
pub(super) mod runs;
pub(super) mod search;
pub(super) mod seen;
pub(super) mod sessions;
pub(super) mod settings;
pub(super) mod signing_in;
mod signing_keys;
pub(super) mod summaries;
pub(super) mod tasks;
pub(super) mod trail;
pub(super) mod transfers;

/// A limit as the databases take it.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

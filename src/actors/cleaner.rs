//! Clears away, every so often, what is over (AUTH-11), a few rows at a time: between two batches the commits that wait go first.

use super::clock;
use crate::config::{Cleanup, Config};
use crate::storage::{Remains, Store, StoreError};
use crate::telemetry::metrics;
use std::sync::Arc;
use std::time::Duration;

/// The name of the audit trail in metrics: the table's.
const AUDIT: &str = "audit";

/// The name of action requests in metrics: the table's.
const ACTIONS: &str = "action_requests";

/// Runs for ever; an interval of zero is never. The first time comes at a random moment, so that nodes that start together don't clean
/// together.
pub async fn run(store: Store, all: Arc<Config>) {
    let config = &all.cleanup;
    // Each kind is in the list of metrics before anything is over.
    Remains::ALL.into_iter().for_each(|what| metrics::cleared(what.as_str(), 0));
    metrics::cleared(AUDIT, 0);
    metrics::cleared(ACTIONS, 0);
    if config.every.is_zero() {
        return;
    }
    tokio::time::sleep(config.every.mul_f64(rand::random())).await;
    loop {
        for what in Remains::ALL {
            // One that can't be cleared away is no reason to leave the others.
            if let Err(error) = clear(&store, config, what).await {
                tracing::warn!(%error, what = what.as_str(), "what is over can't be cleared away; tried again later");
            }
        }
        if let Err(error) = trim(&store, config, all.audit.keep()).await {
            tracing::warn!(%error, "the audit trail can't be shortened; tried again later");
        }
        if let Err(error) = forget(&store, config, all.actions.keep).await {
            tracing::warn!(%error, "action requests can't be cleared away; tried again later");
        }
        tokio::time::sleep(config.every).await;
    }
}

/// Gives up what of the audit trail is older than `keep` (AUD-02).
async fn trim(store: &Store, config: &Cleanup, keep: Duration) -> Result<(), StoreError> {
    let before = clock::now().before(keep);
    let mut all = 0;
    loop {
        let trimmed = store.trim_audit(before, config.batch).await?;
        metrics::cleared(AUDIT, trimmed);
        all += trimmed;
        if trimmed < config.batch {
            break;
        }
    }
    if all > 0 {
        tracing::info!(count = all, %before, "the audit trail is shortened");
    }
    Ok(())
}

/// Takes away the action requests that ended longer ago than `keep`.
async fn forget(store: &Store, config: &Cleanup, keep: Duration) -> Result<(), StoreError> {
    loop {
        let cleared = store.trim_actions(clock::now().before(keep), config.batch).await?;
        metrics::cleared(ACTIONS, cleared);
        if cleared < config.batch {
            return Ok(());
        }
    }
}

async fn clear(store: &Store, config: &Cleanup, what: Remains) -> Result<(), StoreError> {
    let mut all = 0;
    loop {
        let cleared = store.clear_away(what, clock::now(), config.keep, config.batch).await?;
        metrics::cleared(what.as_str(), cleared);
        all += cleared;
        if cleared < config.batch {
            break;
        }
    }
    if all > 0 {
        tracing::debug!(what = what.as_str(), count = all, "cleared away");
    }
    Ok(())
}

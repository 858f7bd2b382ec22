//! Compares, every so often, what is derived with what it is derived from, counts what has drifted, and repairs it (DB-15).

use super::registry::Rooms;
use crate::storage::{Drift, Finding, StoreError};
use crate::telemetry::metrics;
use std::sync::Arc;
use std::time::Duration;

/// Runs for ever; zero is never. The first time comes at a random moment, so that nodes that start together don't
/// check together.
pub async fn run(rooms: Arc<Rooms>, every: Duration) {
    // Each kind is in the list of metrics before anything drifts.
    Drift::ALL.into_iter().for_each(|kind| metrics::drift(kind.as_str(), 0, 0));
    if every.is_zero() {
        return;
    }
    tokio::time::sleep(every.mul_f64(rand::random())).await;
    loop {
        if let Err(error) = once(&rooms).await {
            tracing::warn!(%error, "the store can't be reconciled");
        }
        tokio::time::sleep(every).await;
    }
}

async fn once(rooms: &Rooms) -> Result<(), StoreError> {
    let findings = rooms.store().reconcile(true).await?;
    for Finding { kind, found, repaired, examples } in &findings {
        metrics::drift(kind.as_str(), *found, *repaired);
        if *found > 0 {
            tracing::error!(kind = kind.as_str(), found, repaired, ?examples, "what is derived had drifted");
        }
    }
    // Rooms remember the head they were loaded with.
    if findings.iter().any(|finding| finding.kind == Drift::RoomHead && finding.repaired > 0) {
        rooms.forget_all();
    }
    tracing::debug!("the store is reconciled");
    Ok(())
}

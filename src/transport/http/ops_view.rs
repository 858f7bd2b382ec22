//! What this process is at, for its operators: `GET /ops` (OBS-09, CORR-16). Sizes and ids, nothing that anybody said.

use super::call::{Call, ok};
use super::problem::Answer;
use crate::domain::Timestamp;
use crate::storage::{RunDepth, StoreError};
use crate::telemetry::errors;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// A database that takes longer is left out: the rest is wanted most when it doesn't answer.
const STORE_WAIT: Duration = Duration::from_secs(2);

/// `GET /ops`
pub(super) async fn show(call: Call) -> Answer {
    let state = &call.state;
    let (bus, now) = (&state.bus, super::now());
    let stats = state.store.stats();
    let (log, depth) = tokio::join!(within(state.store.answered_head()), within(state.store.run_depth()));
    let log = log.map(|head| json!({ "epoch": head.epoch.0, "last_id": head.last_id.get() }));
    let hubs: usize = bus.rooms().hubs().iter().map(|hub| hub.waiting()).sum();
    let failed: Vec<Value> = errors::last()
        .iter()
        .map(|last| json!({ "class": last.class.as_str(), "code": last.code, "at": last.at.to_string() }))
        .collect();
    ok(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "since": state.since.to_string(),
        "uptime_s": seconds_between(state.since, now),
        "level": bus.load().level().as_str(),
        "draining": bus.draining(),
        "connections": {
            "open": bus.sockets().count(),
            "users": bus.sockets().users(),
            "most": state.config.socket.per_instance,
        },
        "queues": {
            "commands": bus.pending(),
            "writer": stats.write_queue,
            "readers": stats.read_queue,
            "handshakes": bus.admission().waiting(),
            "hubs": hubs,
        },
        "log": log,
        "ai": ai(&call, depth, now),
        "actions": actions(&call),
        "last_errors": failed,
    }))
}

/// Answers in the making here, and those that wait anywhere.
fn ai(call: &Call, depth: Option<RunDepth>, now: Timestamp) -> Value {
    let thinking = &call.state.thinking;
    let running: Vec<Value> = thinking
        .at_work()
        .iter()
        .map(|at_work| {
            json!({
                "run_id": at_work.run.get(),
                "room_id": at_work.room.get(),
                "asker_id": at_work.asker.map(|asker| asker.get()),
                "since": at_work.since.to_string(),
                "said_bytes": at_work.said_bytes,
            })
        })
        .collect();
    let breakers: Vec<Value> = thinking
        .breakers()
        .iter()
        .map(|breaker| json!({ "url": breaker.base_url, "model": breaker.model, "state": breaker.state }))
        .collect();
    let rate = thinking.sustainable_rate().and_then(|thousandths| u32::try_from(thousandths).ok());
    json!({
        "workers": call.state.config.ai.workers,
        "queued": depth.as_ref().map(|depth| depth.queued),
        "oldest_s": depth.and_then(|depth| depth.oldest).map(|oldest| seconds_between(oldest, now)),
        "running": running,
        "sustainable_rate": rate.map(|thousandths| f64::from(thousandths) / 1000.0),
        "breakers": breakers,
    })
}

/// What people's clients are asked to do here.
fn actions(call: &Call) -> Value {
    let stats = call.state.bus.actions().stats();
    let latency = stats.latency.map(|latency| {
        json!({
            "p50": millis(latency.p50),
            "p90": millis(latency.p90),
            "p99": millis(latency.p99),
            "max": millis(latency.max),
        })
    });
    json!({
        "pending": stats.pending,
        "done": stats.done,
        "failed": stats.failed,
        "timeouts": stats.timeouts,
        "late": stats.late,
        "latency_ms": latency,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// None when the store doesn't answer in time, or not at all.
async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match timeout(STORE_WAIT, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the view of operators is without the database");
            None
        }
        Err(_elapsed) => None,
    }
}

/// Whole seconds; none when the clock went back.
fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    (to.as_millis() - from.as_millis()).max(0) / 1000
}

//! What has to be done for runs beside working at them: signs of life with checkpoints, and runs whose worker is gone.

use super::worker::put_back;
use super::{Active, Far, Leaving, RESTART, Shared};
use crate::actors::clock;
use crate::domain::run::reason;
use crate::domain::{RunEnd, RunId, RunState, Usage};
use crate::inference::tokens;
use crate::storage::{News, Orphan, Progress};
use crate::telemetry::{ai, metrics};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Between two checkpoints at least, however much is said.
const GAP: Duration = Duration::from_millis(200);
/// Orphans that are looked after at a time (count).
const ORPHANS: usize = 100;
/// How often the gauges are read.
const GAUGES: Duration = Duration::from_secs(5);

/// Has something done for ever, even if it fails.
pub(super) async fn steadily<F: Future<Output = ()>>(work: impl Fn() -> F) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        metrics::actor_panicked("inference");
        tracing::error!("the upkeep of runs failed; it starts anew");
        tokio::time::sleep(RESTART).await;
    }
}

/// Notes how far the runs here are, all in one commit, and hears which are to be stopped.
pub(super) async fn heartbeats(shared: Arc<Shared>) {
    let ai = &shared.config.ai;
    let every = ai.checkpoint.min(ai.heartbeat);
    loop {
        tokio::time::sleep(GAP.min(every)).await;
        tokio::select! {
            () = tokio::time::sleep(every.saturating_sub(GAP)) => {}
            () = shared.full.notified() => {}
        }
        if !shared.active.is_empty() {
            beat(&shared).await;
        }
    }
}

async fn beat(shared: &Shared) {
    let active: Vec<(RunId, Arc<Active>)> =
        shared.active.iter().map(|active| (*active.key(), Arc::clone(&active))).collect();
    let mut noted = Vec::with_capacity(active.len());
    let mut progress = Vec::with_capacity(active.len());
    for (run, active) in &active {
        let far = Far { said: active.answer.said(), prompt_tokens: active.prompt_so_far() };
        let is_new = active.noted.lock().unwrap_or_else(PoisonError::into_inner).ne(&far);
        let news = is_new.then(|| News {
            partial: active.answer.until(far.said).into(),
            first_token_at: active.first_token_at.get().copied(),
            prompt_tokens: far.prompt_tokens,
        });
        progress.push(Progress { run: *run, news });
        noted.push(far);
    }
    let lease = clock::now().after(shared.config.ai.lease);
    match shared.store.renew_runs(shared.holder, progress, lease).await {
        Ok(renewed) => {
            for ((run, active), far) in active.iter().zip(noted) {
                if !renewed.passed.contains(run) {
                    *active.noted.lock().unwrap_or_else(PoisonError::into_inner) = far;
                }
                if renewed.stopping.contains(run) {
                    active.answer.stop();
                }
                if renewed.lost.contains(run) {
                    active.lost.notify_one();
                }
            }
        }
        Err(error) => tracing::warn!(%error, "how far runs are can't be noted"),
    }
}

/// Looks after runs whose holder gave no sign of life: what they said is kept, what said nothing begins anew (AI-09, AI-22).
pub(super) async fn orphans(shared: Arc<Shared>) {
    let every = shared.config.ai.lease / 3;
    // Alone with the store, whatever somebody else holds was held by a process that is gone.
    let alone = shared.store.is_alone();
    while *shared.leaving.borrow() < Leaving::Now {
        let lease = clock::now().after(shared.config.ai.lease);
        match shared.store.orphaned_runs(shared.holder, clock::now(), alone, lease, ORPHANS).await {
            Ok(found) => {
                let is_all = found.len() < ORPHANS;
                // What is worked at here lives: it just couldn't be noted for as long as the lease.
                for orphan in found.into_iter().filter(|orphan| !shared.active.contains_key(&orphan.run)) {
                    adopt(&shared, orphan).await;
                }
                if !is_all {
                    continue;
                }
            }
            Err(error) => tracing::warn!(%error, "runs without a holder can't be looked for"),
        }
        tokio::time::sleep(every).await;
    }
}

pub(super) async fn adopt(shared: &Shared, orphan: Orphan) {
    let Orphan { run, room, assistant, partial, attempts, stopping, used } = orphan;
    // Clients that were asked something need not answer it any more.
    shared.bus.actions().look();
    // What the engine counted is lost with whoever asked it.
    let said = i64::try_from(tokens::estimate(&partial)).unwrap_or(i64::MAX);
    let usage = used.plus(Usage { prompt: 0, completion: said, estimated: true });
    let is_over = attempts >= i64::from(shared.config.ai.attempts);
    let (state, why) = if stopping {
        (RunState::Cancelled, reason::CANCELLED)
    } else if !partial.is_empty() {
        (RunState::Interrupted, reason::LEASE_LOST)
    } else if is_over {
        (RunState::Failed, reason::DEAD_LETTER)
    } else {
        put_back(shared, run, clock::now(), true, usage).await;
        shared.store.runs_changed().notify_one();
        return;
    };
    let end = RunEnd {
        state,
        text: partial.into(),
        reason: Some(why),
        truncated: false,
        usage,
        first_token_at: None,
    };
    ai::ended(end.state, end.reason, Duration::ZERO, end.usage);
    shared.end(room, run, assistant, end).await;
}

/// Reads the gauges that nobody else writes.
pub(super) async fn gauges(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(GAUGES);
    loop {
        tick.tick().await;
        match shared.store.run_depth().await {
            Ok(depth) => {
                let age = depth.oldest.map_or(0, |oldest| clock::now().as_millis() - oldest.as_millis());
                let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
                ai::depth(depth.queued, depth.running, age);
            }
            Err(error) => tracing::debug!(%error, "runs can't be counted"),
        }
        let states = shared.breakers.states();
        ai::breakers(states.iter().map(|breaker| breaker.state));
        ai::rate(shared.rate.load(Ordering::Relaxed));
    }
}

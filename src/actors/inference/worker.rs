//! One worker: one run at a time. What fails in it ends that run's attempt and nothing else (AI-22).

use super::job::{self, Outcome};
use super::{Active, Freed, Pool, Shared};
use crate::actors::clock;
use crate::domain::run::reason;
use crate::domain::{RunEnd, RunId, RunKind, RunState, Timestamp, Usage};
use crate::storage::Task;
use crate::telemetry::{ai, metrics};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A run to be worked at.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Work {
    pub(super) task: Task,
    pub(super) pool: Addr<Pool>,
}

/// See the module.
pub(super) struct Worker {
    at: usize,
    shared: Arc<Shared>,
}

/// Is there as long as a run is worked at, and takes it off the list when it isn't, however that came.
struct OnList<'s>(&'s Shared, RunId, Arc<Active>);

impl Drop for OnList<'_> {
    fn drop(&mut self) {
        self.0.active.remove_if(&self.1, |_, active| Arc::ptr_eq(active, &self.2));
    }
}

impl Worker {
    /// Starts it on the current arbiter.
    pub(super) fn start(at: usize, shared: Arc<Shared>) -> Addr<Self> {
        Self { at, shared }.start()
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<Work> for Worker {
    type Result = ();

    fn handle(&mut self, Work { task, pool }: Work, ctx: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        let began = Instant::now();
        let done = AssertUnwindSafe(async move { work(&shared, task).await }).catch_unwind();
        ctx.spawn(done.into_actor(self).map(move |done, worker, _| {
            let was_run = done.unwrap_or_else(|_| {
                // The attempt itself is contained; this is what comes around it.
                metrics::actor_panicked("inference");
                false
            });
            worker.free(&pool, was_run.then(|| began.elapsed()));
        }));
    }
}

impl Worker {
    #[expect(clippy::disallowed_methods, reason = "one message for each run that was given")]
    fn free(&self, pool: &Addr<Pool>, took: Option<Duration>) {
        pool.do_send(Freed { worker: self.at, took });
    }
}

/// Works at a run until it is ended or put down; whether an answer came of it.
async fn work(shared: &Shared, task: Task) -> bool {
    let (run, room) = (task.run, task.room);
    let asker = task.asker.as_ref().map(|(person, _)| person.id);
    let speaking = shared.bus.rooms().answers().begin(run, room, task.message, asker);
    let answer = Arc::clone(speaking.answer());
    let active = Arc::new(Active {
        answer: Arc::clone(&answer),
        since: clock::now(),
        noted: Mutex::default(),
        first_token_at: OnceLock::new(),
        prompt_tokens: AtomicI64::new(0),
        asked: AtomicBool::new(false),
        dispatched: AtomicBool::new(false),
        used: Mutex::default(),
        unsaid: AtomicI64::new(0),
        from: AtomicUsize::new(0),
        waited_ms: AtomicU64::new(0),
        before: Mutex::new(task.used),
        lost: Notify::new(),
    });
    shared.active.insert(run, Arc::clone(&active));
    let _on_list = OnList(shared, run, Arc::clone(&active));
    shared.bus.rooms().said(&answer);
    let began = Instant::now();
    let attempt = AssertUnwindSafe(job::run(shared, &task, &active)).catch_unwind();
    let outcome = tokio::select! {
        outcome = attempt => outcome.unwrap_or_else(|_| {
            metrics::actor_panicked("inference");
            tracing::error!(run.id = %run, "a run failed in an unexpected way");
            job::put_down(shared, &active, reason::WORKER_FAILED)
        }),
        () = active.lost.notified() => Outcome::Lost,
    };
    let end = match outcome {
        Outcome::End(end) => end,
        Outcome::Again(after) if task.attempts < i64::from(shared.config.ai.attempts) => {
            ai::requeued();
            let again_at = clock::now().after(after);
            put_back(shared, run, again_at, true, active.usage()).await;
            return false;
        }
        Outcome::PutBack(after) => {
            put_back(shared, run, clock::now().after(after), false, active.usage()).await;
            return false;
        }
        Outcome::Again(_) => RunEnd {
            state: RunState::Failed,
            text: "".into(),
            reason: Some(reason::DEAD_LETTER),
            truncated: false,
            usage: active.usage(),
            first_token_at: None,
        },
        Outcome::Lost => {
            tracing::warn!(run.id = %run, "a run isn't ours any more");
            return false;
        }
    };
    ai::ended(end.state, end.reason, began.elapsed(), end.usage);
    tracing::debug!(run.id = %run, room.id = %room, state = end.state.as_str(), reason = end.reason, "a run ended");
    let was_done = end.state == RunState::Done;
    shared.end(room, run, task.assistant, end).await;
    if task.kind == RunKind::Summary {
        shared.summed.notify_one();
    }
    was_done
}

/// Puts a run back into the queue, with all it used so far; whether the attempt counts.
pub(super) async fn put_back(shared: &Shared, run: RunId, again_at: Timestamp, counts: bool, used: Usage) {
    if let Err(error) =
        shared.store.return_run(run, shared.holder, clock::now(), again_at, counts, used).await
    {
        tracing::warn!(%error, run.id = %run, "a run can't be put back; its lease ends");
    }
}

//! Answers of assistants: takes runs that wait, as many at a time as there are workers, rooms by turns, and sees to it that each
//! comes to its end, whoever dies on the way.

mod breakers;
mod job;
pub mod stretch;
mod summaries;
mod tools;
mod turns;
mod upkeep;
mod worker;
#[cfg(test)]
mod worker_tests;

pub use breakers::BreakerState;

use super::answers::Answer;
use super::bus::Bus;
use super::clock;
use super::watch::{self, Ending};
use crate::config::Config;
use crate::domain::{Command, Person, Principal, RoomId, RunEnd, RunId, Timestamp, Usage, UserId};
use crate::inference::upstream::Timeouts;
use crate::inference::{ContentFilter, Upstream, tokens};
use crate::protocol::TraceId;
use crate::storage::{Store, StoreError, Task, Waiting};
use crate::telemetry::{ai, metrics};
use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message, SpawnHandle,
    WrapFuture,
};
use breakers::Breakers;
use dashmap::DashMap;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch as signal};
use turns::Asker;
use uuid::Uuid;
use worker::{Work, Worker};

/// Rooms that are looked at in one go (count); those beyond it wait for the next.
const LOOK: usize = 1000;
/// How often it is looked for runs that another node left, or that were put off.
const POLL: Duration = Duration::from_secs(1);
/// A pool that failed starts anew after this long.
const RESTART: Duration = Duration::from_secs(1);
/// Between the first two tries to note how a run ended; from then on twice as long each time.
const END_AGAIN: Duration = Duration::from_millis(200);
/// Between two of them at most.
const END_AGAIN_MAX: Duration = Duration::from_secs(5);

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Leaving {
    No,
    /// Nothing new is taken.
    Soon,
    /// What is under way is put down.
    Now,
}

/// What the pool, its workers and their upkeep share.
pub(super) struct Shared {
    bus: Bus,
    store: Store,
    config: Arc<Config>,
    upstream: Upstream,
    filter: Arc<dyn ContentFilter>,
    breakers: Breakers,
    /// Names this process to the others.
    holder: Uuid,
    /// What is worked at here.
    active: DashMap<RunId, Arc<Active>>,
    leaving: signal::Sender<Leaving>,
    /// Enough was said for a checkpoint.
    full: Notify,
    /// A summary ended: there may be more to sum up.
    summed: Notify,
    /// Answers a second of late, in thousandths: the rate that can be kept up (AI-03).
    rate: AtomicUsize,
}

/// A run that is worked at.
pub(super) struct Active {
    answer: Arc<Answer>,
    since: Timestamp,
    /// How far it was when that was stored last.
    noted: Mutex<Far>,
    first_token_at: OnceLock<Timestamp>,
    /// Tokens of the prompt, as we count them.
    prompt_tokens: AtomicI64,
    /// An engine was asked, and may have worked at it.
    asked: AtomicBool,
    /// The first request went out.
    dispatched: AtomicBool,
    /// What the engine says that it used.
    used: Mutex<Option<Usage>>,
    /// Tokens the engine wrote for the current request that aren't in the text: thoughts and calls, as we count them.
    unsaid: AtomicI64,
    /// Bytes that were said before the current request.
    from: AtomicUsize,
    /// How long it waited for what it called.
    waited_ms: AtomicU64,
    /// What the requests before the current one used, those of attempts before included.
    before: Mutex<Usage>,
    /// It isn't ours any more.
    lost: Notify,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Far {
    /// Bytes.
    said: usize,
    prompt_tokens: i64,
}

impl Active {
    /// What all requests used by now.
    fn usage(&self) -> Usage {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).plus(self.of_this_request())
    }

    /// Tokens of all prompts so far, those of attempts before included.
    fn prompt_so_far(&self) -> i64 {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).prompt;
        let asked = self.asked.load(Ordering::Relaxed);
        before.saturating_add(if asked { self.prompt_tokens.load(Ordering::Relaxed) } else { 0 })
    }

    /// What the current request used: as the engine says, else as we count; one that reached no engine used nothing.
    fn of_this_request(&self) -> Usage {
        if !self.asked.load(Ordering::Relaxed) {
            return Usage::default();
        }
        let known = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        known.unwrap_or_else(|| {
            let said = self.answer.since(self.from.load(Ordering::Relaxed)).unwrap_or_default();
            let said = i64::try_from(tokens::estimate(&said)).unwrap_or(i64::MAX);
            Usage {
                prompt: self.prompt_tokens.load(Ordering::Relaxed),
                completion: said.saturating_add(self.unsaid.load(Ordering::Relaxed)),
                estimated: true,
            }
        })
    }

    /// One request is over, and another follows.
    fn goes_on(&self) {
        let used = self.usage();
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = used;
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.asked.store(false, Ordering::Relaxed);
        self.unsaid.store(0, Ordering::Relaxed);
        self.from.store(self.answer.said(), Ordering::Relaxed);
    }
}

/// What is worked at, for the operators' view (CORR-16).
#[derive(Debug, Clone)]
pub struct AtWork {
    pub run: RunId,
    pub room: RoomId,
    pub asker: Option<UserId>,
    pub since: Timestamp,
    pub said_bytes: usize,
}

/// What the rest of the process sees of it.
#[derive(Clone)]
pub struct InferenceHandle {
    shared: Arc<Shared>,
}

impl InferenceHandle {
    /// From now on nothing new is taken; what is under way may go on for the configured time, and is put down then: with its text
    /// if there is any, else back into the queue (AI-19).
    pub fn stop(&self) {
        self.shared.leaving.send_replace(Leaving::Soon);
        let shared = Arc::clone(&self.shared);
        actix_rt::spawn(async move {
            tokio::time::sleep(shared.config.ai.drain).await;
            shared.leaving.send_replace(Leaving::Now);
        });
    }

    /// Runs under way here.
    pub fn under_way(&self) -> usize {
        self.shared.active.len()
    }

    /// Those runs.
    pub fn at_work(&self) -> Vec<AtWork> {
        let mut found: Vec<AtWork> = self
            .shared
            .active
            .iter()
            .map(|active| AtWork {
                run: *active.key(),
                room: active.answer.room,
                asker: active.answer.asker,
                since: active.since,
                said_bytes: active.answer.said(),
            })
            .collect();
        found.sort_unstable_by_key(|at_work| at_work.run);
        found
    }

    /// Endpoints with their breakers.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.shared.breakers.states()
    }

    /// Answers a second that can be kept up, in thousandths: workers by the mean duration of late; none before the first end.
    pub fn sustainable_rate(&self) -> Option<usize> {
        Some(self.shared.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }
}

/// See the module.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Addr<Worker>>,
    idle: Vec<usize>,
    /// For whom those who aren't idle work.
    serving: HashMap<usize, Asker>,
    /// When a room was last served, or first waited: who waits longest comes first.
    turns: HashMap<RoomId, u64>,
    turn: u64,
    looking: bool,
    again: bool,
    timer: Option<SpawnHandle>,
    /// Seconds a run took, the mean of late.
    mean: f64,
}

/// A worker has nothing to do any more.
#[derive(Message)]
#[rtype(result = "()")]
struct Freed {
    worker: usize,
    took: Option<Duration>,
}

impl Pool {
    /// Starts it on `arbiter`, with a filter for what is asked and answered; should it fail, it is started anew.
    pub fn start(
        bus: Bus,
        store: Store,
        config: Arc<Config>,
        filter: Arc<dyn ContentFilter>,
        arbiter: &ArbiterHandle,
    ) -> Result<InferenceHandle, String> {
        let upstream = Upstream::new(Timeouts::from(&config.ai)).map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            filter,
            breakers: Breakers::new(&config.ai),
            bus,
            store,
            upstream,
            holder: Uuid::new_v4(),
            active: DashMap::new(),
            leaving: signal::Sender::new(Leaving::No),
            full: Notify::new(),
            summed: Notify::new(),
            rate: AtomicUsize::new(0),
            config,
        });
        let upkeep = Arc::clone(&shared);
        arbiter.spawn_fn(move || {
            let shared = Arc::clone(&upkeep);
            actix_rt::spawn(upkeep::steadily(move || upkeep::heartbeats(Arc::clone(&shared))));
            let shared = Arc::clone(&upkeep);
            actix_rt::spawn(upkeep::steadily(move || upkeep::orphans(Arc::clone(&shared))));
            let shared = Arc::clone(&upkeep);
            actix_rt::spawn(upkeep::steadily(move || summaries::run(Arc::clone(&shared))));
            actix_rt::spawn(upkeep::steadily(move || upkeep::gauges(Arc::clone(&upkeep))));
        });
        launch(Arc::clone(&shared), arbiter.clone());
        Ok(InferenceHandle { shared })
    }

    fn is_leaving(&self) -> bool {
        *self.shared.leaving.borrow() > Leaving::No
    }

    /// Looks for runs that may be worked at, as far as hands are free.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if self.is_leaving() || self.idle.is_empty() {
            return;
        }
        if self.looking {
            self.again = true;
            return;
        }
        self.looking = true;
        let (store, holder, lease) =
            (self.shared.store.clone(), self.shared.holder, self.shared.config.ai.lease);
        let (free, turns, turn) = (self.idle.len(), self.turns.clone(), self.turn);
        let share = turns::share(self.workers.len());
        let mut serving: HashMap<Asker, usize> = HashMap::new();
        self.serving.values().for_each(|asker| *serving.entry(*asker).or_default() += 1);
        let shared = Arc::clone(&self.shared);
        let found = async move {
            let waiting = store.waiting_runs(LOOK).await?;
            let rooms: Vec<RoomId> = waiting.iter().map(|waiting| waiting.room).collect();
            let now = clock::now();
            let due: Vec<Waiting> = waiting.iter().filter(|waiting| waiting.due <= now).copied().collect();
            let next = waiting.iter().filter(|waiting| waiting.due > now).map(|waiting| waiting.due).min();
            // Rooms take turns: who was served, or came, longest ago is next.
            let turn_of = |room| turns.get(&room).copied().unwrap_or(turn);
            let (chosen, left) = turns::choose(due, free, share, serving, turn_of);
            let mut taken = Vec::new();
            for waiting in chosen {
                match store.take_run(waiting.run, holder, now, now.after(lease)).await {
                    Ok(Some(Ok(task))) => taken.push(task),
                    Ok(Some(Err(poisoned))) => {
                        let shared = Arc::clone(&shared);
                        actix_rt::spawn(async move { upkeep::adopt(&shared, poisoned).await });
                    }
                    // Another node took one of the same room at the same moment.
                    Ok(None) | Err(StoreError::Conflict(_)) => {}
                    // Those that were taken before are worked at all the same.
                    Err(error) if error.is_transient() => {
                        tracing::warn!(%error, run.id = %waiting.run, "a run can't be taken");
                        break;
                    }
                    Err(error) => tracing::error!(%error, run.id = %waiting.run, "a run can't be taken"),
                }
            }
            Ok(Found { taken, rooms, next, left })
        };
        ctx.spawn(found.into_actor(self).map(|found, pool, ctx| pool.on_found(found, ctx)));
    }

    fn on_found(&mut self, found: Result<Found, StoreError>, ctx: &mut Context<Self>) {
        self.looking = false;
        let mut wait = POLL;
        match found {
            Ok(Found { taken, rooms, next, left }) => {
                // Who neither waits nor is served begins anew.
                let served: HashSet<RoomId> =
                    self.shared.active.iter().map(|active| active.answer.room).collect();
                let waiting: HashSet<RoomId> = rooms.into_iter().collect();
                self.turns.retain(|room, _| waiting.contains(room) || served.contains(room));
                for room in waiting {
                    self.turns.entry(room).or_insert(self.turn);
                }
                if let Some(next) = next {
                    let ms = u64::try_from(next.as_millis() - clock::now().as_millis()).unwrap_or_default();
                    wait = wait.min(Duration::from_millis(ms.max(1)));
                }
                for task in taken {
                    self.turn += 1;
                    self.turns.insert(task.room, self.turn);
                    self.give(task, ctx);
                }
                self.again |= left && !self.idle.is_empty();
            }
            Err(error) => tracing::warn!(%error, "waiting runs can't be read"),
        }
        if std::mem::take(&mut self.again) {
            self.look(ctx);
        } else {
            self.timer = Some(ctx.run_later(wait, |pool, ctx| {
                pool.timer = None;
                pool.look(ctx);
            }));
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "one message at a time for each worker that has nothing to do"
    )]
    fn give(&mut self, task: Task, ctx: &Context<Self>) {
        let worker = self.idle.pop().and_then(|at| Some((at, self.workers.get(at)?)));
        let Some((at, worker)) = worker else {
            // Can't be: as many were taken as were free. Its lease ends, and it comes again.
            tracing::error!(run.id = %task.run, "nobody is free for a run that was taken");
            return;
        };
        let wait = clock::now().as_millis() - task.created_at.as_millis();
        ai::waited(Duration::from_millis(u64::try_from(wait).unwrap_or_default()));
        self.serving.insert(at, task.asker.as_ref().map(|(person, _)| person.id));
        worker.do_send(Work { task, pool: ctx.address() });
    }

    /// Waits for the next commit that concerns runs, again and again.
    fn listen(&self, ctx: &mut Context<Self>) {
        let changed = self.shared.store.runs_changed();
        let woken = async move { changed.notified().await };
        ctx.spawn(woken.into_actor(self).map(|(), pool, ctx| {
            pool.listen(ctx);
            pool.look(ctx);
        }));
    }
}

/// What a look into the queue gave.
struct Found {
    taken: Vec<Task>,
    /// Those that wait.
    rooms: Vec<RoomId>,
    /// When the next one is due.
    next: Option<Timestamp>,
    /// More is due than hands are free.
    left: bool,
}

fn launch(shared: Arc<Shared>, arbiter: ArbiterHandle) {
    let (again, restarted) = (arbiter.clone(), Arc::clone(&shared));
    let make = move || Pool {
        workers: (0..shared.config.ai.workers).map(|at| Worker::start(at, Arc::clone(&shared))).collect(),
        idle: (0..shared.config.ai.workers).rev().collect(),
        serving: HashMap::new(),
        shared,
        turns: HashMap::new(),
        turn: 0,
        looking: false,
        again: false,
        timer: None,
        mean: 0.0,
    };
    let ended = move |ending| {
        if ending == Ending::Panicked {
            metrics::actor_panicked("inference");
            tracing::error!("the pool of workers failed; it starts anew");
            actix_rt::spawn(async move {
                tokio::time::sleep(RESTART).await;
                launch(restarted, again);
            });
        }
    };
    drop(watch::start_on(&arbiter, make, ended));
}

impl Actor for Pool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(ctx);
        self.look(ctx);
    }
}

impl Handler<Freed> for Pool {
    type Result = ();

    fn handle(&mut self, Freed { worker, took }: Freed, ctx: &mut Self::Context) {
        self.idle.push(worker);
        self.serving.remove(&worker);
        if let Some(took) = took {
            let took = took.as_secs_f64().max(0.001);
            self.mean = if self.mean == 0.0 { took } else { self.mean.mul_add(0.9, took * 0.1) };
            let workers = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
            let rate = Duration::from_secs_f64(f64::from(workers) / self.mean).as_millis();
            self.shared.rate.store(usize::try_from(rate).unwrap_or(usize::MAX), Ordering::Relaxed);
        }
        self.look(ctx);
    }
}

impl Shared {
    /// Ends a run in the log, trying until it is known to be ended or not ours any more: while the store takes nothing, nothing else
    /// could be begun either, and what was said isn't lost.
    async fn end(&self, room: RoomId, run: RunId, assistant: Person, end: RunEnd) {
        let mut wait = END_AGAIN;
        let command = Command::EndRun { room, run, holder: self.holder, end };
        loop {
            let by = Principal::of_system(assistant.clone());
            match self.bus.submit(by, command.clone(), TraceId::random()).await {
                Ok(_) => return,
                Err(rejection) if rejection.code.retryable() => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(END_AGAIN_MAX);
                }
                Err(rejection) => {
                    tracing::warn!(run.id = %run, code = rejection.code.as_str(), "a run can't be ended; it is found again when its lease is over");
                    return;
                }
            }
        }
    }
}

//! The way to the actor, for whoever asks, whoever answers, and the hubs.

use super::Actions;
use super::figures::{self, ActionStats, Figures};
use super::lines::{Lines, Used};
use crate::actors::clock;
use crate::actors::hub::ConnId;
use crate::actors::reply::{Asked, ReplySink};
use crate::config;
use crate::domain::{
    Ack, Action, ActionId, ActionRequest, ActionResult, NewAction, Outcome, Rejection, Target, Timestamp,
    UserId, may,
};
use crate::protocol::TraceId;
use actix::{Addr, Message};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// How a request ends for whoever waits.
pub(super) type End = Result<Outcome, Rejection>;

/// A request that was made, and how it will end.
pub struct Made {
    pub request: ActionRequest,
    pub(super) end: oneshot::Receiver<End>,
    /// Of a run: nobody else is interested.
    pub(super) care: Option<Care>,
}

/// Withdraws a request when whoever waits for it goes away.
pub(super) struct Care {
    actions: ActionsHandle,
    id: ActionId,
    is_over: bool,
}

impl Care {
    pub(super) fn of(request: &ActionRequest, actions: Arc<Shared>) -> Option<Self> {
        request.run.map(|_| Self { actions: ActionsHandle(actions), id: request.id, is_over: false })
    }
}

impl Drop for Care {
    fn drop(&mut self) {
        if !self.is_over {
            self.actions.tell(ActionsMsg::Withdraw { id: self.id });
        }
    }
}

impl Made {
    /// Waits for the result; `request_timeout` at the deadline. Whoever stops waiting leaves the request to its deadline, a run withdraws
    /// it.
    pub async fn outcome(&mut self) -> End {
        let Ok(end) = (&mut self.end).await else { return Err(Rejection::unavailable()) };
        if let Some(care) = &mut self.care {
            care.is_over = true;
        }
        end
    }
}

/// What the actor is told.
#[derive(Message)]
#[rtype(result = "()")]
pub enum ActionsMsg {
    Ask {
        new: NewAction,
        asker: oneshot::Sender<Result<Made, Rejection>>,
        permit: OwnedSemaphorePermit,
    },
    Answer {
        result: ActionResult,
        at: Timestamp,
        sink: ReplySink,
        permit: OwnedSemaphorePermit,
    },
    /// A socket of somebody who is asked for something can be asked.
    Came {
        user: UserId,
    },
    /// A socket of somebody who is asked for something is gone.
    Went {
        user: UserId,
        conn: ConnId,
    },
    /// Whether the socket has the request in its outbox.
    Offered {
        id: ActionId,
        conn: ConnId,
        taken: bool,
    },
    /// Nobody waits for it any more, and its result is no use to anybody.
    Withdraw {
        id: ActionId,
    },
    /// Requests ended, or were made, by other hands.
    Look,
}

/// The way to the actor, and what hubs and others keep for it.
#[derive(Clone)]
pub struct ActionsHandle(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) address: RwLock<Option<Addr<Actions>>>,
    pub(super) lines: Lines,
    pub(super) figures: Figures,
    /// Requests that may be on their way to the store.
    asking: Arc<Semaphore>,
    /// The places of the mailbox of results (CORR-06).
    results: Arc<Semaphore>,
    /// Requests in memory.
    pub(super) entries: AtomicUsize,
    pub(super) config: config::Actions,
}

impl ActionsHandle {
    /// A handle whose actor is yet to be started.
    pub fn new(config: &config::Actions) -> Self {
        Self(Arc::new(Shared {
            address: RwLock::default(),
            lines: Lines::new(),
            figures: Figures::default(),
            asking: Arc::new(Semaphore::new(config.pending_max)),
            results: Arc::new(Semaphore::new(config.results)),
            entries: AtomicUsize::new(0),
            config: config.clone(),
        }))
    }

    /// Asks a user's client to do something, and waits for the one result.
    pub async fn request(&self, new: NewAction) -> End {
        self.ask(new).await?.outcome().await
    }

    /// The same without waiting for the result.
    pub async fn ask(&self, mut new: NewAction) -> Result<Made, Rejection> {
        may(&new.by.person, Action::RequestAction, Target::Nothing)?;
        new.timeout = new.timeout.min(self.0.config.timeout_max);
        let permit =
            Arc::clone(&self.0.asking).try_acquire_owned().map_err(|_full| Rejection::overloaded())?;
        let (asker, made) = oneshot::channel();
        self.tell(ActionsMsg::Ask { new, asker, permit });
        made.await.unwrap_or_else(|_| Err(Rejection::unavailable()))
    }

    /// Hands over a result; `sink` is told once the store has decided. A full mailbox is told at once.
    pub fn answer(&self, result: ActionResult, sink: ReplySink) {
        match Arc::clone(&self.0.results).try_acquire_owned() {
            Ok(permit) => self.tell(ActionsMsg::Answer { result, at: clock::now(), sink, permit }),
            Err(_full) => {
                self.0.figures.count(figures::Outcome::Overloaded);
                sink.answer(Err(Rejection::overloaded()));
            }
        }
    }

    /// The same for a call that waits.
    pub async fn take(&self, result: ActionResult, trace: TraceId) -> Result<Ack, Rejection> {
        let (sink, outcome) = ReplySink::request(Asked::result(result.user, trace));
        self.answer(result, sink);
        outcome.await.unwrap_or_else(|_| Err(Rejection::unavailable()))
    }

    /// How it goes (CORR-04, CORR-16).
    pub fn stats(&self) -> ActionStats {
        self.0.figures.stats(self.pending())
    }

    /// Requests in memory.
    pub fn pending(&self) -> usize {
        self.0.entries.load(Ordering::Relaxed)
    }

    /// Results that wait for the store.
    pub fn results_waiting(&self) -> usize {
        self.0.config.results.saturating_sub(self.0.results.available_permits())
    }

    /// A socket is used by its client.
    pub fn used(&self, used: &Used, now: Instant) {
        self.0.lines.touch(used, now);
    }

    /// A socket can be asked.
    pub fn came(&self, user: UserId, conn: ConnId, used: &Used) {
        if self.0.lines.enter(user, conn, used) {
            self.tell(ActionsMsg::Came { user });
        }
    }

    /// A socket is gone.
    pub fn went(&self, user: UserId, conn: ConnId) {
        if self.0.lines.leave(user, conn) {
            self.tell(ActionsMsg::Went { user, conn });
        }
    }

    /// Whether the socket has the request in its outbox.
    pub fn offered(&self, id: ActionId, conn: ConnId, taken: bool) {
        self.tell(ActionsMsg::Offered { id, conn, taken });
    }

    /// Requests may have ended by other hands: what is kept is held against the rows.
    pub fn look(&self) {
        self.tell(ActionsMsg::Look);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "bounded: requests and results by their permits, the rest by sockets, open requests and runs taken over"
    )]
    fn tell(&self, message: ActionsMsg) {
        if let Some(address) = &*self.0.address.read().unwrap_or_else(PoisonError::into_inner) {
            address.do_send(message);
        }
    }
}

//! Action requests: what somebody's client is asked to do, offered to one of their sockets, waited for until its deadline.
//!
//! The rows decide which result counts. What is kept here is who waits, who was offered what, and the next deadline; all of it can
//! be made anew from the rows, but for those who wait.

mod figures;
mod handle;
mod lines;
mod rows;

pub use figures::{ActionStats, Latency};
pub use handle::{ActionsHandle, ActionsMsg, Made};
pub use lines::Used;

use super::clock;
use super::hub::{ConnId, HubMsg};
use super::outbox::Class;
use super::registry::Rooms;
use super::reply::ReplySink;
use super::sequencer::rejection_of;
use super::watch;
use crate::domain::{
    Ack, ActionId, ActionRequest, ActionResult, ActionState, NewAction, Outcome, Rejection, Timestamp, UserId,
};
use crate::protocol::{action, websocket};
use crate::storage::{ActionBounds, Answered, StoreError};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use bytes::Bytes;
use handle::{Care, End, Shared};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// After a failure of the store it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// A result that came is handled after this long.
const SOON: Duration = Duration::from_millis(1);

/// A request that is waited for.
struct Entry {
    user: UserId,
    deadline: Timestamp,
    frame: Bytes,
    /// The socket that has it, or is about to.
    offered: Option<ConnId>,
    /// A client has it by way of another process, as far as the row says.
    elsewhere: bool,
    waiter: Option<oneshot::Sender<End>>,
}

/// A result on its way to the store.
struct Waiting {
    result: ActionResult,
    at: Timestamp,
    sink: ReplySink,
    permit: OwnedSemaphorePermit,
}

/// The actor.
pub struct Actions {
    rooms: Arc<Rooms>,
    shared: Arc<Shared>,
    /// As many as may be open.
    entries: HashMap<ActionId, Entry>,
    /// The same by user, the oldest first.
    by_user: HashMap<UserId, Vec<ActionId>>,
    deadlines: BTreeSet<(Timestamp, ActionId)>,
    /// For the first of the deadlines.
    alarm: Option<(Timestamp, SpawnHandle)>,
    expiring: bool,
    /// In the order they came.
    results: VecDeque<Waiting>,
    /// What is being made: its row may be there before we know that it is.
    making: HashSet<ActionId>,
    /// Whose results are at the store: the rows may have them before we know which of them counted.
    answering: HashSet<ActionId>,
    /// A deadline was over at this moment; it is seen to after at most so many batches of results more.
    rung: Option<(u8, Timestamp)>,
    /// Which requests a socket has and which none, to be noted.
    marks: HashMap<ActionId, bool>,
    marking: bool,
    /// The rows are being read; again, when they are.
    looking: bool,
    look_again: bool,
    /// What ended meanwhile: as it was read it may be open.
    left: HashSet<ActionId>,
}

impl Actions {
    /// Starts the actor of `rooms` on the current arbiter. It goes on with the requests there are.
    pub fn start(rooms: &Arc<Rooms>) {
        let shared = Arc::clone(&rooms.actions().0);
        let actions = Self {
            rooms: Arc::clone(rooms),
            shared: Arc::clone(&shared),
            entries: HashMap::new(),
            by_user: HashMap::new(),
            deadlines: BTreeSet::new(),
            alarm: None,
            expiring: false,
            results: VecDeque::new(),
            making: HashSet::new(),
            answering: HashSet::new(),
            rung: None,
            marks: HashMap::new(),
            marking: false,
            looking: false,
            look_again: false,
            left: HashSet::new(),
        };
        let address = watch::start_vital(Context::new(), actions, "actions");
        *shared.address.write().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn ask(
        &mut self,
        new: NewAction,
        asker: oneshot::Sender<Result<Made, Rejection>>,
        permit: OwnedSemaphorePermit,
        ctx: &mut Context<Self>,
    ) {
        if self.rooms.load().is_read_only() {
            drop(asker.send(Err(Rejection::read_only())));
            return;
        }
        let config = &self.shared.config;
        let bounds = ActionBounds {
            per_user: config.per_user,
            all: config.pending_max,
            per_requester: config.per_requester,
            per_pair: config.per_pair,
        };
        let (store, id) = (self.rooms.store().clone(), ActionId::new_v4());
        self.making.insert(id);
        let add = async move { store.add_action(id, new, bounds, clock::now()).await };
        ctx.spawn(add.into_actor(self).map(move |added, actions, ctx| {
            actions.making.remove(&id);
            let made = match added {
                Ok(Ok(request)) => {
                    let (waiter, end) = oneshot::channel();
                    actions.enter(&request, Some(waiter), false, ctx);
                    let care = Care::of(&request, Arc::clone(&actions.shared));
                    Ok(Made { request, end, care })
                }
                Ok(Err(rejection)) => Err(rejection),
                Err(error) => Err(refused(&error)),
            };
            // Whoever asked may have gone: the request is left to its deadline, or withdrawn.
            drop(asker.send(made));
            drop(permit);
        }));
    }

    /// A request is waited for from here on.
    fn enter(
        &mut self,
        request: &ActionRequest,
        waiter: Option<oneshot::Sender<End>>,
        elsewhere: bool,
        ctx: &mut Context<Self>,
    ) {
        let frame = websocket::text(&action::request(request));
        let (id, user, deadline) = (request.id, request.user, request.deadline);
        self.entries.insert(id, Entry { user, deadline, frame, offered: None, elsewhere, waiter });
        self.by_user.entry(user).or_default().push(id);
        self.deadlines.insert((deadline, id));
        self.count();
        // Before a socket is looked for.
        self.shared.lines.ask(user, true);
        self.offer(id);
        self.arm(ctx);
    }

    /// Offers a request that no socket has to the one its user used last.
    fn offer(&mut self, id: ActionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.offered.is_some() || entry.elsewhere {
            return;
        }
        let Some(conn) = self.shared.lines.last_used(entry.user) else { return };
        if let Some(hub) = self.rooms.hubs().iter().find(|hub| hub.id() == conn.hub) {
            entry.offered = Some(conn);
            hub.tell(HubMsg::Offer { conn, id, frame: entry.frame.clone() });
        }
    }

    /// Somebody came. Whoever had their requests elsewhere may be gone with its process: a client knows a request that comes twice.
    fn offer_all(&mut self, user: UserId) {
        for id in self.by_user.get(&user).cloned().unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.elsewhere = false;
            }
            self.offer(id);
        }
    }

    fn on_offered(&mut self, id: ActionId, conn: ConnId, taken: bool, ctx: &mut Context<Self>) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.offered == Some(conn)) else {
            return;
        };
        if taken {
            self.mark(id, true, ctx);
            return;
        }
        // It is on its way out, and won't be back.
        entry.offered = None;
        let user = entry.user;
        self.shared.lines.leave(user, conn);
        self.offer(id);
    }

    /// What the socket had goes to another, or waits for one.
    fn on_gone(&mut self, user: UserId, conn: ConnId, ctx: &mut Context<Self>) {
        for id in self.by_user.get(&user).cloned().unwrap_or_default() {
            let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.offered == Some(conn)) else {
                continue;
            };
            entry.offered = None;
            self.mark(id, false, ctx);
            self.offer(id);
        }
    }

    /// Notes whether a client has a request. The last word counts; it is written behind the one before.
    fn mark(&mut self, id: ActionId, held: bool, ctx: &mut Context<Self>) {
        self.marks.insert(id, held);
        self.write_marks(ctx);
    }

    fn write_marks(&mut self, ctx: &mut Context<Self>) {
        if self.marking || self.marks.is_empty() {
            return;
        }
        self.marking = true;
        let marks: Vec<(ActionId, bool)> = std::mem::take(&mut self.marks).into_iter().collect();
        let store = self.rooms.store().clone();
        let write = async move { store.mark_actions(marks).await };
        ctx.spawn(write.into_actor(self).map(|written, actions, ctx| {
            actions.marking = false;
            if let Err(error) = written {
                // Only shown: what decides is whether it has ended.
                tracing::debug!(%error, "it can't be noted who has action requests");
            }
            actions.write_marks(ctx);
        }));
    }

    /// Takes what has come so far to the store in one piece.
    fn pass_on(&mut self, ctx: &mut Context<Self>) {
        if !self.answering.is_empty() || self.results.is_empty() {
            return;
        }
        let waiting: Vec<Waiting> = self.results.drain(..).collect();
        self.answering.extend(waiting.iter().map(|one| one.result.id));
        let results = waiting.iter().map(|one| (one.result.clone(), one.at)).collect();
        let store = self.rooms.store().clone();
        let answer = async move { (waiting, store.answer_actions(results).await) };
        ctx.spawn(answer.into_actor(self).map(|(waiting, answered), actions, ctx| {
            actions.answering.clear();
            match answered {
                Ok(answered) => {
                    for (one, answered) in waiting.into_iter().zip(answered) {
                        actions.on_answered(one, answered, ctx);
                    }
                }
                Err(error) => {
                    let rejection = refused(&error);
                    waiting.into_iter().for_each(|one| one.sink.answer(Err(rejection.clone())));
                }
            }
            actions.pass_on(ctx);
            match actions.rung.take() {
                Some((more, at)) if more > 1 && !actions.answering.is_empty() => {
                    actions.rung = Some((more - 1, at))
                }
                Some((_, at)) => actions.expire(at, ctx),
                None => actions.arm(ctx),
            }
        }));
    }

    fn on_answered(&mut self, one: Waiting, answered: Answered, ctx: &mut Context<Self>) {
        let Waiting { result, at, sink, permit } = one;
        let (id, state) = (result.id, result.state());
        // Whoever reads the answer finds its place free.
        drop(permit);
        if matches!(answered, Answered::Duplicate(_) | Answered::Expired) && self.entries.contains_key(&id) {
            // It ended by other hands.
            self.look(ctx);
        }
        let figures = &self.shared.figures;
        let outcome = match answered {
            Answered::Applied { since } => {
                figures.count(if result.done { figures::Outcome::Done } else { figures::Outcome::Failed });
                let took = at.as_millis().saturating_sub(since.as_millis());
                figures.took(Duration::from_millis(u64::try_from(took).unwrap_or_default()));
                self.leave(id, Ok(Outcome { state, result: result.result }));
                Ok(Ack::ActionAnswered { id, state, duplicate: false })
            }
            Answered::Duplicate(state) => {
                figures.count(figures::Outcome::Duplicate);
                Ok(Ack::ActionAnswered { id, state, duplicate: true })
            }
            Answered::Expired => {
                figures.count(figures::Outcome::Late);
                Err(Rejection::expired())
            }
            Answered::Forbidden => Err(Rejection::forbidden("this was asked of somebody else")),
            Answered::Unknown => Err(Rejection::not_found("action request")),
        };
        sink.answer(outcome);
    }

    /// A request has ended, and the socket that has it doesn't know.
    fn over(&mut self, id: ActionId, state: ActionState, end: End) {
        let conn = self.entries.get(&id).and_then(|entry| entry.offered);
        if let Some(conn) = conn
            && let Some(hub) = self.rooms.hubs().iter().find(|hub| hub.id() == conn.hub)
        {
            let frame = websocket::text(&action::ended(id, state));
            hub.tell(HubMsg::Send { conn, class: Class::Control, frame });
        }
        self.leave(id, end);
    }

    /// A request has ended: nothing of it is kept.
    fn leave(&mut self, id: ActionId, end: End) {
        if self.looking {
            self.left.insert(id);
        }
        let Some(entry) = self.entries.remove(&id) else { return };
        self.deadlines.remove(&(entry.deadline, id));
        self.marks.remove(&id);
        if let Some(ids) = self.by_user.get_mut(&entry.user) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_user.remove(&entry.user);
                self.shared.lines.ask(entry.user, false);
            }
        }
        self.count();
        if let Some(waiter) = entry.waiter {
            // Whoever waited may have gone.
            drop(waiter.send(end));
        }
    }

    fn count(&self) {
        self.shared.entries.store(self.entries.len(), Ordering::Relaxed);
    }

    /// Sets the one alarm to the next deadline.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let next = self.deadlines.first().map(|(deadline, _)| *deadline);
        if self.expiring || self.rung.is_some() || self.alarm.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, handle)) = self.alarm.take() {
            ctx.cancel_future(handle);
        }
        let Some(at) = next else { return };
        let left = at.as_millis().saturating_sub(clock::now().as_millis());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
        self.alarm = Some((at, ctx.run_later(left, |actions, ctx| actions.ring(ctx))));
    }

    /// A deadline may be over.
    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm = None;
        let now = clock::now();
        if self.expiring || self.deadlines.first().is_none_or(|(deadline, _)| *deadline > now) {
            return self.arm(ctx);
        }
        // What came before is decided before: what is at the store, what waits behind it, and what is still in the mailbox.
        if !self.answering.is_empty() {
            self.rung = Some((2, now));
        } else if let Some((deadline, _)) = self.deadlines.first()
            && ActionsHandle(Arc::clone(&self.shared)).results_waiting() > 0
        {
            self.alarm = Some((*deadline, ctx.run_later(SOON, |actions, ctx| actions.ring(ctx))));
        } else {
            self.expire(now, ctx);
        }
    }

    /// Ends what was over at a moment.
    fn expire(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        self.expiring = true;
        let (store, most) = (self.rooms.store().clone(), self.shared.config.pending_max);
        let expire = async move { store.expire_actions(now, most).await };
        ctx.spawn(expire.into_actor(self).map(move |expired, actions, ctx| {
            actions.expiring = false;
            match expired {
                Ok(expired) => {
                    for id in expired {
                        actions.shared.figures.count(figures::Outcome::Timeout);
                        actions.over(id, ActionState::Expired, Err(Rejection::request_timeout()));
                    }
                    actions.look_up(now, ctx);
                    actions.arm(ctx);
                }
                Err(error) => {
                    tracing::warn!(%error, "action requests can't be ended; tried again soon");
                    actions.give_up(now);
                    ctx.run_later(AGAIN, |actions, ctx| actions.arm(ctx));
                }
            }
        }));
    }

    /// The store doesn't answer: those who wait are told in time, the rows follow.
    fn give_up(&mut self, now: Timestamp) {
        let over = self.deadlines.range(..(now.after(Duration::from_millis(1)), ActionId::nil()));
        for (_, id) in over {
            if let Some(waiter) = self.entries.get_mut(id).and_then(|entry| entry.waiter.take()) {
                drop(waiter.send(Err(Rejection::request_timeout())));
            }
        }
    }

    /// What is over and wasn't ended by us has a result we haven't heard of: it is on its way, or another process took it.
    fn look_up(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        let over: Vec<ActionId> = self
            .deadlines
            .range(..(now.after(Duration::from_millis(1)), ActionId::nil()))
            .map(|(_, id)| *id)
            .collect();
        for id in over {
            // Not rung for again.
            if let Some(entry) = self.entries.get(&id) {
                self.deadlines.remove(&(entry.deadline, id));
            }
            let store = self.rooms.store().clone();
            let read = async move { store.action(id).await };
            ctx.spawn(read.into_actor(self).map(move |read, actions, _| match read {
                Ok(Some(request)) => actions.on_ended(request),
                Ok(None) => actions.leave(id, Err(Rejection::request_timeout())),
                Err(error) => actions.leave(id, Err(refused(&error))),
            }));
        }
    }

    fn on_message(&mut self, message: ActionsMsg, ctx: &mut Context<Self>) {
        match message {
            ActionsMsg::Ask { new, asker, permit } => self.ask(new, asker, permit, ctx),
            ActionsMsg::Answer { sink, .. } if self.rooms.load().is_read_only() => {
                sink.answer(Err(Rejection::read_only()));
            }
            ActionsMsg::Answer { result, at, sink, permit } => {
                self.results.push_back(Waiting { result, at, sink, permit });
                self.pass_on(ctx);
            }
            ActionsMsg::Came { user } => self.offer_all(user),
            ActionsMsg::Went { user, conn } => self.on_gone(user, conn, ctx),
            ActionsMsg::Offered { id, conn, taken } => self.on_offered(id, conn, taken, ctx),
            ActionsMsg::Withdraw { id } => self.withdraw(id, ctx),
            ActionsMsg::Look => self.look(ctx),
        }
    }

    /// What is remembered can't be trusted: those who wait are told that the outcome is unknown, the rows are read again.
    fn begin_anew(&mut self, ctx: &mut Context<Self>) {
        for user in self.by_user.keys() {
            self.shared.lines.ask(*user, false);
        }
        self.entries.clear();
        self.by_user.clear();
        self.deadlines.clear();
        self.marks.clear();
        self.count();
        self.look(ctx);
    }
}

fn refused(error: &StoreError) -> Rejection {
    tracing::debug!(%error, "the store refuses an action request");
    rejection_of(error)
}

impl Actor for Actions {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        if !self.rooms.store().is_alone() {
            ctx.run_interval(self.shared.config.poll, |actions, ctx| {
                if !actions.entries.is_empty() || actions.shared.lines.is_anybody() {
                    actions.look(ctx);
                }
            });
        }
    }
}

impl Handler<ActionsMsg> for Actions {
    type Result = ();

    fn handle(&mut self, message: ActionsMsg, ctx: &mut Self::Context) {
        if watch::contained("actions", || self.on_message(message, ctx)).is_err() {
            self.begin_anew(ctx);
        }
    }
}

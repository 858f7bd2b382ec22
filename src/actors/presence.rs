//! Who is here: users with at least one live socket, told in the commons. Hubs report their sockets, each change at once and
//! all of them now and then; what is lost between, the tracker's own memory even, is made good by the next census.

mod last_seen;
mod tracker;

pub use tracker::{Change, Sockets, Tracker};

use super::clock;
use super::hub::HubMsg;
use super::registry::Rooms;
use super::watch;
use crate::config::Config;
use crate::domain::{PresenceState, Signal, Timestamp, UserId};
use crate::protocol::encode::{self, Here};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use dashmap::DashMap;
use last_seen::{LastSeen, Seen};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What the tracker is told.
#[derive(Message)]
#[rtype(result = "()")]
pub enum PresenceMsg {
    /// A hub's sockets of a user changed.
    Report {
        hub: u16,
        user: UserId,
        sockets: Sockets,
        /// The socket that is gone ended with its session.
        signed_out: bool,
    },
    /// All sockets of a hub.
    Census { hub: u16, users: HashMap<UserId, Sockets> },
    /// Somebody did something without a socket.
    Seen { user: UserId },
    /// The process ends: what is known of when people were last seen is to be written.
    Flush { done: oneshot::Sender<()> },
}

/// The address of the presence tracker, and what it has announced: the one source of every view (PRES-07).
#[derive(Clone, Default)]
pub struct PresenceHandle {
    /// Who isn't in it is offline.
    view: Arc<DashMap<UserId, PresenceState>>,
    /// Users the tracker keeps, as of its last tick.
    tracked: Arc<AtomicUsize>,
    /// The view as text, once somebody asked for it.
    shown: Arc<Mutex<Option<Arc<str>>>>,
    address: Arc<RwLock<Option<Addr<PresenceTracker>>>>,
}

/// Everybody who isn't offline, as it was announced.
#[derive(Debug, Default)]
pub struct Roll {
    /// Here, looking or not.
    pub online: Vec<UserId>,
    /// Those of them who don't look.
    pub away: Vec<UserId>,
    pub signed_out: Vec<UserId>,
}

impl PresenceHandle {
    /// A handle whose tracker is yet to be started.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was announced of the user.
    pub fn state(&self, user: UserId) -> PresenceState {
        self.view.get(&user).map_or(PresenceState::Offline, |state| *state)
    }

    /// What was announced of everybody, for snapshots. It stays until something else is announced: a crowd that comes at once
    /// is told the same.
    pub fn shown(&self) -> Arc<str> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.get_or_insert_with(|| {
            let Roll { online, away, signed_out } = &self.roll();
            encode::here(&Here::All { online, away, signed_out }).into()
        });
        Arc::clone(shown)
    }

    /// What was announced of everybody.
    pub fn roll(&self) -> Roll {
        let mut roll = Roll::default();
        for entry in self.view.iter() {
            match entry.value() {
                PresenceState::Online => roll.online.push(*entry.key()),
                PresenceState::Away => {
                    roll.online.push(*entry.key());
                    roll.away.push(*entry.key());
                }
                PresenceState::SignedOut => roll.signed_out.push(*entry.key()),
                PresenceState::Offline => {}
            }
        }
        roll
    }

    /// Users who have sockets, or had some a moment ago.
    pub fn tracked(&self) -> usize {
        self.tracked.load(Ordering::Relaxed)
    }

    /// Somebody did something without a socket.
    pub fn seen(&self, user: UserId) {
        self.tell(PresenceMsg::Seen { user });
    }

    /// Writes what is known of when people were last seen; returns when it is done or can't be.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        self.tell(PresenceMsg::Flush { done });
        drop(written.await);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "one message per socket that comes or goes, per user and beat, per hub and census, per renewed session"
    )]
    pub(super) fn tell(&self, message: PresenceMsg) {
        if let Some(address) = &*self.address.read().unwrap_or_else(PoisonError::into_inner) {
            address.do_send(message);
        }
    }
}

/// The tracker's actor.
pub struct PresenceTracker {
    tracker: Tracker,
    last_seen: LastSeen,
    /// A write is under way; the next waits for it.
    writing: bool,
    view: Arc<DashMap<UserId, PresenceState>>,
    shown: Arc<Mutex<Option<Arc<str>>>>,
    tracked: Arc<AtomicUsize>,
    rooms: Arc<Rooms>,
    tick: Duration,
}

impl PresenceTracker {
    /// Starts the tracker of `rooms` on the current arbiter, anew even: it goes on from what was announced and asks every
    /// hub who is there.
    pub fn start(rooms: &Arc<Rooms>) {
        let config: &Config = rooms.config();
        let handle = rooms.presence();
        let mut presence = Self {
            tracker: Tracker::new(config.presence.grace, config.presence.lease),
            last_seen: LastSeen::new(config.presence.last_seen),
            writing: false,
            view: Arc::clone(&handle.view),
            shown: Arc::clone(&handle.shown),
            tracked: Arc::clone(&handle.tracked),
            rooms: Arc::clone(rooms),
            tick: config.presence.tick,
        };
        presence.begin_anew();
        let address = watch::start_vital(Context::new(), presence, "presence");
        *handle.address.write().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// Begins with what was announced, and asks every hub who is really there.
    fn begin_anew(&mut self) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let config = self.rooms.config();
        self.tracker = Tracker::new(config.presence.grace, config.presence.lease);
        self.tracker.resume(self.view.iter().map(|entry| (*entry.key(), *entry.value())), Instant::now());
        self.last_seen = LastSeen::new(config.presence.last_seen);
        let (now, clock) = (Instant::now(), clock::now());
        for here in self.view.iter().filter(|entry| entry.value().is_here()) {
            self.last_seen.arrived(*here.key(), now, clock);
        }
        let commons = self.rooms.commons();
        for hub in self.rooms.hubs() {
            hub.tell(HubMsg::Census);
            // What was about to be told may not have been.
            if let Some(room) = commons {
                hub.tell(HubMsg::StartAnew { room });
            }
        }
    }

    /// Does a piece of work; after a failure nothing of the tracker's own memory is used any more.
    fn work(&mut self, work: impl FnOnce(&mut Self)) {
        if watch::contained("presence", || work(self)).is_err() {
            self.begin_anew();
        }
    }

    fn on_tick(&mut self, ctx: &mut Context<Self>) {
        #[cfg(test)]
        super::simulation::may_fail("presence");
        let (now, clock) = (Instant::now(), clock::now());
        let changes = self.tracker.tick(now);
        self.tracked.store(self.tracker.kept(), Ordering::Relaxed);
        if !changes.is_empty() {
            self.announce(&changes, now, clock);
        }
        if !self.writing {
            let seen = self.last_seen.take(now, clock);
            self.write(seen, None, ctx);
        }
    }

    fn announce(&mut self, changes: &[Change], now: Instant, clock: Timestamp) {
        for Change { user, state, since } in changes {
            #[cfg(test)]
            super::simulation::may_fail("announce");
            match state {
                PresenceState::Offline => drop(self.view.remove(user)),
                state => drop(self.view.insert(*user, *state)),
            }
            if state.is_here() {
                self.last_seen.arrived(*user, now, clock);
            } else {
                self.last_seen.gone(*user, now, clock.before(now.saturating_duration_since(*since)));
            }
        }
        // After the changes: what is shown from here on has them.
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = None;
        #[cfg(test)]
        super::simulation::may_fail("announce");
        if let Some(commons) = self.rooms.commons() {
            let users = changes.iter().map(|change| (change.user, change.state)).collect();
            self.rooms.signal(commons, Signal::Presence { users });
        }
    }

    /// Writes all of `seen` in one transaction.
    fn write(&mut self, seen: Seen, done: Option<oneshot::Sender<()>>, ctx: &mut Context<Self>) {
        if seen.is_empty() {
            return;
        }
        self.writing = true;
        let store = self.rooms.store().clone();
        let write = async move {
            let written = store.note_seen(seen.clone()).await;
            (seen, written)
        };
        ctx.spawn(write.into_actor(self).map(move |(seen, written), presence, _| {
            presence.writing = false;
            if let Err(error) = written {
                tracing::warn!(%error, "could not note when people were last seen");
                presence.last_seen.failed(&seen);
            }
            drop(done);
        }));
    }

    fn take(&mut self, message: PresenceMsg, ctx: &mut Context<Self>) {
        #[cfg(test)]
        super::simulation::may_fail("presence");
        let now = Instant::now();
        match message {
            PresenceMsg::Report { hub, user, sockets, signed_out } => {
                self.tracker.report(hub, user, sockets, signed_out, now);
            }
            PresenceMsg::Census { hub, users } => self.tracker.census(hub, &users, now),
            PresenceMsg::Seen { user } => self.last_seen.seen(user, now, clock::now()),
            PresenceMsg::Flush { done } => self.flush(done, ctx),
        }
    }

    /// Everybody's last time, of those still here, too.
    fn flush(&mut self, done: oneshot::Sender<()>, ctx: &mut Context<Self>) {
        let (now, clock) = (Instant::now(), clock::now());
        for (user, left) in self.tracker.users() {
            let seen = left.map_or(clock, |since| clock.before(now.saturating_duration_since(since)));
            self.last_seen.gone(user, now, seen);
        }
        let seen = self.last_seen.take(now, clock);
        self.write(seen, Some(done), ctx);
    }
}

impl Actor for PresenceTracker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.tick, |presence, ctx| presence.work(|presence| presence.on_tick(ctx)));
    }
}

impl Handler<PresenceMsg> for PresenceTracker {
    type Result = ();

    fn handle(&mut self, message: PresenceMsg, ctx: &mut Self::Context) {
        self.work(|presence| presence.take(message, ctx));
    }
}

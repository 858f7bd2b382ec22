//! Who is here: users with at least one live socket, told in the commons. Leaving is announced after a grace time, so that a
//! reload doesn't flicker; ten tabs are one user.

use super::registry::Rooms;
use super::watch;
use crate::config::Config;
use crate::domain::{PresenceState, Signal, UserId};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use dashmap::DashSet;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// The pure state: sockets per user, and what has been announced. Time is an argument.
#[derive(Debug)]
pub struct Tracker {
    grace: Duration,
    users: HashMap<UserId, Presence>,
}

#[derive(Debug)]
struct Presence {
    sockets: usize,
    announced: bool,
    /// When a user without sockets counts as gone.
    gone_at: Option<Instant>,
}

impl Tracker {
    /// Users are online for `grace` after their last socket.
    pub fn new(grace: Duration) -> Self {
        Self { grace, users: HashMap::new() }
    }

    /// A socket of the user opened.
    pub fn opened(&mut self, user: UserId) {
        let presence =
            self.users.entry(user).or_insert(Presence { sockets: 0, announced: false, gone_at: None });
        presence.sockets += 1;
        presence.gone_at = None;
    }

    /// A socket of the user closed.
    pub fn closed(&mut self, user: UserId, now: Instant) {
        if let Some(presence) = self.users.get_mut(&user) {
            presence.sockets = presence.sockets.saturating_sub(1);
            if presence.sockets == 0 {
                presence.gone_at = Some(now + self.grace);
            }
        }
    }

    /// What changed since the last tick, one entry per user.
    pub fn tick(&mut self, now: Instant) -> Vec<(UserId, PresenceState)> {
        let mut changes = Vec::new();
        self.users.retain(|user, presence| {
            if presence.gone_at.is_some_and(|gone_at| now >= gone_at) {
                if presence.announced {
                    changes.push((*user, PresenceState::Offline));
                }
                return false;
            }
            if !presence.announced {
                presence.announced = true;
                changes.push((*user, PresenceState::Online));
            }
            true
        });
        changes
    }
}

/// The address of the presence tracker, and what it has announced: the one source of every view (PRES-07).
#[derive(Clone)]
pub struct PresenceHandle {
    online: Arc<DashSet<UserId>>,
    /// Users the tracker knows, as of its last tick.
    tracked: Arc<AtomicUsize>,
    address: Arc<OnceLock<Addr<PresenceTracker>>>,
}

impl PresenceHandle {
    /// A handle whose tracker is yet to be started.
    pub fn new() -> Self {
        Self { online: Arc::default(), tracked: Arc::default(), address: Arc::default() }
    }

    /// A socket of the user opened.
    pub fn opened(&self, user: UserId) {
        self.tell(Moved { user, opened: true });
    }

    /// A socket of the user closed.
    pub fn closed(&self, user: UserId) {
        self.tell(Moved { user, opened: false });
    }

    /// Whether the user was announced as online.
    pub fn is_online(&self, user: UserId) -> bool {
        self.online.contains(&user)
    }

    /// Users that are tracked, announced or not.
    pub fn len(&self) -> usize {
        self.tracked.load(Ordering::Relaxed).max(self.online.len())
    }

    /// Whether nobody is tracked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody who was announced as online.
    pub fn online(&self) -> Vec<UserId> {
        self.online.iter().map(|user| *user).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "two messages per socket, and sockets are bounded")]
    fn tell(&self, moved: Moved) {
        if let Some(address) = self.address.get() {
            address.do_send(moved);
        }
    }
}

impl Default for PresenceHandle {
    fn default() -> Self {
        Self::new()
    }
}

/// The tracker's actor.
pub struct PresenceTracker {
    tracker: Tracker,
    online: Arc<DashSet<UserId>>,
    tracked: Arc<AtomicUsize>,
    rooms: Arc<Rooms>,
    tick: Duration,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Moved {
    user: UserId,
    opened: bool,
}

impl PresenceTracker {
    /// Starts the tracker of `rooms` on the current arbiter.
    pub fn start(rooms: &Arc<Rooms>) {
        let config: &Config = rooms.config();
        let handle = rooms.presence();
        let tracker = Self {
            tracker: Tracker::new(config.presence.grace),
            online: Arc::clone(&handle.online),
            tracked: Arc::clone(&handle.tracked),
            rooms: Arc::clone(rooms),
            tick: config.presence.tick,
        };
        if handle.address.set(watch::start_vital(Context::new(), tracker, "presence")).is_err() {
            tracing::error!("a second presence tracker was refused");
        }
    }

    fn on_tick(&mut self) {
        let users = self.tracker.tick(Instant::now());
        self.tracked.store(self.tracker.users.len(), Ordering::Relaxed);
        if users.is_empty() {
            return;
        }
        for (user, state) in &users {
            match state {
                PresenceState::Online => self.online.insert(*user),
                PresenceState::Offline => self.online.remove(user).is_some(),
            };
        }
        if let Some(commons) = self.rooms.commons() {
            self.rooms.signal(commons, Signal::Presence { users });
        }
    }
}

impl Actor for PresenceTracker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.tick, |presence, _| presence.on_tick());
    }
}

impl Handler<Moved> for PresenceTracker {
    type Result = ();

    fn handle(&mut self, Moved { user, opened }: Moved, _: &mut Self::Context) {
        if opened {
            self.tracker.opened(user);
        } else {
            self.tracker.closed(user, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves PRES-02.
    #[test]
    fn ten_tabs_are_one_user() {
        let (mut tracker, t0) = (Tracker::new(Duration::from_secs(10)), Instant::now());
        let ann = UserId::new(1);
        for _ in 0..10 {
            tracker.opened(ann);
        }
        assert_eq!(tracker.tick(t0), [(ann, PresenceState::Online)]);
        for _ in 0..9 {
            tracker.closed(ann, t0);
        }
        assert_eq!(tracker.tick(t0 + Duration::from_secs(60)), []);
        tracker.closed(ann, t0);
        assert_eq!(tracker.tick(t0 + Duration::from_secs(9)), [], "within the grace");
        assert_eq!(tracker.tick(t0 + Duration::from_secs(10)), [(ann, PresenceState::Offline)]);
        assert!(tracker.users.is_empty(), "nothing is kept");
    }

    #[test]
    fn a_reload_does_not_flicker() {
        let (mut tracker, t0) = (Tracker::new(Duration::from_secs(10)), Instant::now());
        let ann = UserId::new(1);
        tracker.opened(ann);
        tracker.tick(t0);
        tracker.closed(ann, t0);
        tracker.opened(ann);
        assert_eq!(tracker.tick(t0 + Duration::from_secs(60)), []);
    }
}

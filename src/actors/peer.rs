//! A connected socket as its hub knows it.

use super::actions::Used;
use super::hub::{ConnId, Joining};
use super::outbox::Outbox;
use crate::auth::identity::Identity;
use crate::config::Config;
use crate::domain::{RoomId, Timestamp, UserId};
use crate::protocol::{RequestId, Resume, TraceId};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A change of subscriptions; they are carried out one after the other, so that their replies can't cross.
pub enum Step {
    Subscribe {
        request_id: Option<RequestId>,
        trace: TraceId,
        rooms: Vec<Resume>,
        epoch: Option<Uuid>,
        batch: bool,
    },
    Unsubscribe {
        request_id: Option<RequestId>,
        trace: TraceId,
        room: RoomId,
    },
}

/// A subscription as its hub keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The number of the request it came with: what ends an older one doesn't end this one.
    pub join: u64,
    pub seat: Seat,
}

/// How a socket hears a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Everything; where it stands in the room's list.
    Full(usize),
    /// By badge.
    Badge,
}

/// One socket: who it belongs to, its way out, when it was last heard, what it subscribed to.
pub struct Peer {
    pub id: ConnId,
    pub identity: Identity,
    pub outbox: Rc<Outbox>,
    /// Its places in rooms.
    pub places: RefCell<HashMap<RoomId, Place>>,
    /// The subscription that waits for its rooms.
    pub joining: RefCell<Option<Joining>>,
    /// What waits for that one.
    pub steps: RefCell<VecDeque<Step>>,
    /// When the session ends if it isn't used; none for bots.
    pub expires_at: Cell<Option<Timestamp>>,
    /// When the credentials end, however much they are used.
    pub ends_at: Cell<Option<Timestamp>>,
    /// Whether nobody looks at it, as the client says.
    pub away: Cell<bool>,
    /// When its client last did something.
    pub used: Used,
    heard: Cell<Instant>,
    ping_at: Cell<Instant>,
    pinged: Cell<bool>,
    /// Whether `welcome` is out; nothing goes before it.
    welcomed: Cell<bool>,
}

/// What the heartbeat wants of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    Fine,
    Ping,
    Dead,
}

impl Peer {
    /// A peer that was heard at `now`. Its first ping comes at a random time, so that clients that came together don't
    /// answer together for ever.
    pub fn new(
        id: ConnId,
        identity: Identity,
        outbox: Rc<Outbox>,
        config: &Config,
        now: Instant,
    ) -> Rc<Self> {
        let (expires_at, ends_at) = (identity.expires_at, identity.ends_at);
        let first = config.heartbeat.interval.mul_f64(rand::random::<f64>());
        Rc::new(Self {
            id,
            identity,
            outbox,
            places: RefCell::default(),
            joining: RefCell::default(),
            steps: RefCell::default(),
            expires_at: Cell::new(expires_at),
            ends_at: Cell::new(ends_at),
            away: Cell::new(false),
            used: Used::default(),
            heard: Cell::new(now),
            ping_at: Cell::new(now + first),
            pinged: Cell::new(false),
            welcomed: Cell::new(false),
        })
    }

    /// Whose socket it is.
    pub fn user(&self) -> UserId {
        self.identity.person.id
    }

    /// Whether it hears all of the room.
    pub fn hears(&self, room: RoomId) -> bool {
        matches!(self.places.borrow().get(&room), Some(Place { seat: Seat::Full(_), .. }))
    }

    /// The first frame is out.
    pub fn welcomed(&self) {
        self.welcomed.set(true);
    }

    /// A frame arrived; any will do.
    pub fn heard(&self, now: Instant, heartbeat: Duration) {
        self.heard.set(now);
        self.ping_at.set(now + heartbeat);
        self.pinged.set(false);
    }

    /// How long nothing has been heard.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard.get())
    }

    /// What is due at `now`; a ping is due once per silence.
    pub fn pulse(&self, now: Instant, config: &Config) -> Pulse {
        if self.silence(now) >= config.heartbeat.dead_after {
            return Pulse::Dead;
        }
        if self.welcomed.get() && !self.pinged.get() && now >= self.ping_at.get() {
            self.pinged.set(true);
            return Pulse::Ping;
        }
        Pulse::Fine
    }
}

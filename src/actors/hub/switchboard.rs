//! Which sockets of this thread hear which room.

use super::badges::Badges;
use super::census::Census;
use super::fanout::Way;
use super::handle::{ConnId, HubHandle, JoinSlot, Joined};
use super::joining::{Held, Joining};
use super::places::Audience;
use super::right::recheck;
use crate::actors::clock;
use crate::actors::outbox::{Class, Pushed};
use crate::actors::peer::{Peer, Pulse, Seat, Step};
use crate::actors::presence::PresenceHandle;
use crate::actors::registries::HubCounts;
use crate::actors::registry::Rooms;
use crate::actors::room::Subscribe;
use crate::config::Config;
use crate::domain::{ActionId, BotKeyId, Rejection, RoomId, Timestamp, Via};
use crate::protocol::{CloseCode, RequestId, TraceId, encode, websocket};
use crate::telemetry::metrics;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Subscription requests that wait for one in progress, per socket: more are `overloaded`.
const MAX_STEPS: usize = 16;
/// Within this span the sockets of a hub that failed are asked to come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// See the module.
pub struct Switchboard {
    hub: HubHandle,
    pub(super) rooms: Arc<Rooms>,
    pub(super) config: Arc<Config>,
    pub(super) peers: HashMap<ConnId, Rc<Peer>>,
    pub(super) audiences: HashMap<RoomId, Audience>,
    pub(super) badges: Badges,
    pub(super) census: Census,
    /// Rooms with events that aren't in their audience's queues yet.
    pub(super) unsettled: Vec<RoomId>,
    /// Peers with something to write at the end of this turn.
    pub(super) dirty: Vec<Rc<Peer>>,
    next_serial: u64,
    next_join: u64,
}

impl Switchboard {
    pub(super) fn new(hub: HubHandle, rooms: Arc<Rooms>, config: Arc<Config>) -> Self {
        Self {
            hub,
            rooms,
            config,
            peers: HashMap::new(),
            audiences: HashMap::new(),
            badges: Badges::default(),
            census: Census::default(),
            unsettled: Vec::new(),
            dirty: Vec::new(),
            next_serial: 0,
            next_join: 0,
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn presence(&self) -> &PresenceHandle {
        self.rooms.presence()
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.peers.contains_key(&conn)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Rc<Peer>> {
        self.peers.values()
    }

    /// A name for the next socket.
    pub fn name(&mut self) -> ConnId {
        self.next_serial += 1;
        ConnId { hub: self.hub.id(), serial: self.next_serial }
    }

    /// The way back here for replies.
    pub fn hub(&self) -> &HubHandle {
        &self.hub
    }

    /// A socket is open.
    pub fn open(&mut self, peer: Rc<Peer>) {
        metrics::connection_opened();
        self.count_in(&peer);
        self.peers.insert(peer.id, peer);
    }

    /// A socket is gone, and with it everything that was kept for it (CONN-17).
    pub fn close(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.remove(&conn) else { return };
        let rooms: Vec<RoomId> = peer.places.borrow().keys().copied().collect();
        for room in rooms {
            self.leave(&peer, room);
        }
        peer.joining.borrow_mut().take();
        peer.steps.borrow_mut().clear();
        self.count_out(&peer);
        self.rooms.actions().went(peer.user(), conn);
        metrics::connection_closed(peer.outbox.closing());
    }

    /// A change of subscriptions; waits its turn behind the one in progress.
    pub fn step(&mut self, peer: &Rc<Peer>, step: Step) {
        if peer.joining.borrow().is_none() {
            self.carry_out(peer, step);
            return;
        }
        let mut steps = peer.steps.borrow_mut();
        if steps.len() < MAX_STEPS {
            steps.push_back(step);
            return;
        }
        drop(steps);
        let (Step::Subscribe { request_id, trace, .. } | Step::Unsubscribe { request_id, trace, .. }) = step;
        self.refuse(peer, request_id.as_deref(), trace, &Rejection::overloaded());
    }

    fn carry_out(&mut self, peer: &Rc<Peer>, step: Step) {
        match step {
            Step::Unsubscribe { request_id, trace, room } => {
                self.leave(peer, room);
                let data = format!(r#"{{"room_id":{room}}}"#);
                self.push(
                    peer,
                    Class::Control,
                    websocket::text(&encode::reply(request_id.as_deref(), &data, trace)),
                );
            }
            Step::Subscribe { request_id, trace, rooms, epoch, batch } => {
                let places = peer.places.borrow();
                let fresh = rooms.iter().filter(|resume| !places.contains_key(&resume.room)).count();
                let total = places.len() + fresh;
                drop(places);
                if total > self.config.socket.subscriptions {
                    let rejection = Rejection::invalid("rooms", "are more than one socket may subscribe to");
                    self.refuse(peer, request_id.as_deref(), trace, &rejection);
                    return;
                }
                self.next_join += 1;
                let join = self.next_join;
                *peer.joining.borrow_mut() = Some(Joining::new(join, request_id, trace, batch, rooms.len()));
                if rooms.is_empty() {
                    self.finish(peer);
                }
                for (index, resume) in rooms.into_iter().enumerate() {
                    let slot = JoinSlot { conn: peer.id, join, index, room: resume.room };
                    let person = peer.identity.person.clone();
                    let subscribe = Subscribe::new(slot, self.hub.clone(), person, resume, epoch);
                    self.rooms.subscribe(subscribe);
                }
            }
        }
    }

    fn refuse(&mut self, peer: &Rc<Peer>, request_id: Option<&str>, trace: TraceId, rejection: &Rejection) {
        self.push(peer, Class::Control, websocket::text(&encode::error(request_id, rejection, trace)));
    }

    /// Answers a frame that became no command.
    pub fn reply(&mut self, peer: &Rc<Peer>, request_id: Option<RequestId>, trace: TraceId, data: &str) {
        self.push(peer, Class::Control, websocket::text(&encode::reply(request_id.as_deref(), data, trace)));
    }

    /// Queues a frame for one of this thread's sockets.
    pub fn push(&mut self, peer: &Rc<Peer>, class: Class, frame: Bytes) {
        match peer.outbox.push(class, frame) {
            Pushed::Queued(true) => self.dirty.push(Rc::clone(peer)),
            Pushed::Closed => peer.outbox.flush(),
            Pushed::Resync => {
                if let Class::Events { room, .. } = class {
                    self.leave(peer, room);
                }
                peer.outbox.flush();
            }
            Pushed::Queued(false) | Pushed::Dropped => {}
        }
    }

    pub(super) fn send(&mut self, conn: ConnId, class: Class, frame: Bytes) {
        if let Some(peer) = self.peers.get(&conn).map(Rc::clone) {
            self.push(&peer, class, frame);
        }
    }

    /// Gives an action request to a socket, if it is one that still takes something.
    pub(super) fn offer(&mut self, conn: ConnId, id: ActionId, frame: Bytes) {
        let peer = self.peers.get(&conn).filter(|peer| peer.outbox.closing().is_none()).map(Rc::clone);
        let taken = peer.is_some_and(|peer| {
            self.push(&peer, Class::Control, frame);
            peer.outbox.closing().is_none()
        });
        self.rooms.actions().offered(id, conn, taken);
    }

    pub(super) fn joined(&mut self, joined: Joined) {
        let slot = joined.slot;
        let Some(peer) = self.peers.get(&slot.conn).map(Rc::clone) else {
            self.rooms.left(slot.room, slot.conn, slot.join);
            return;
        };
        self.enter(&peer, slot.room, slot.join, joined.level, joined.head);
        let done = match peer.joining.borrow_mut().as_mut() {
            Some(joining) if joining.number == slot.join => {
                joining.joined(joined, self.config.socket.outbox_bytes / 2)
            }
            _ => false,
        };
        if done {
            self.finish(&peer);
        }
    }

    pub(super) fn refused(&mut self, slot: JoinSlot, rejection: Rejection) {
        let Some(peer) = self.peers.get(&slot.conn).map(Rc::clone) else { return };
        // Subscribing again replaces the subscription there was: refused, there is none.
        self.leave(&peer, slot.room);
        let done = match peer.joining.borrow_mut().as_mut() {
            Some(joining) if joining.number == slot.join => joining.refused(slot.index, slot.room, rejection),
            _ => false,
        };
        if done {
            self.finish(&peer);
        }
    }

    /// All rooms have answered: the reply, then what came meanwhile, then the next request.
    fn finish(&mut self, peer: &Rc<Peer>) {
        let Some(joining) = peer.joining.borrow_mut().take() else { return };
        let confirmed = joining.rooms();
        for room in &confirmed {
            peer.outbox.supersede(*room);
        }
        let (reply, held) = joining.finish();
        self.push(peer, Class::Control, websocket::text(&reply));
        // From here on the others may hear of it (CONN-02).
        for room in confirmed {
            self.rooms.confirmed(room, peer.id);
        }
        let mut held = VecDeque::from(held);
        while let Some(next) = held.pop_front() {
            self.release(peer, next, &held);
        }
        loop {
            let next = peer.steps.borrow_mut().pop_front();
            let Some(step) = next else { break };
            self.carry_out(peer, step);
            if peer.joining.borrow().is_some() {
                break;
            }
        }
    }

    /// Sends what was held back. A signal may be the one word of somebody's coming or going: it doesn't give way to the reply
    /// it waited for. Where it has to, the room's snapshot is to be asked for again.
    fn release(&mut self, peer: &Rc<Peer>, Held { room, class, frame }: Held, rest: &VecDeque<Held>) {
        let seat = peer.places.borrow().get(&room).map(|place| place.seat);
        match seat {
            // Something before it was too much: the room is to be subscribed to anew.
            None => return,
            Some(Seat::Badge) => return self.badges.postpone(peer.id, room, frame),
            Some(Seat::Full(_)) if class != Class::Signal => return self.push(peer, class, frame),
            Some(Seat::Full(_)) => {}
        }
        let mut pushed = peer.outbox.push(class, frame.clone());
        if matches!(pushed, Pushed::Dropped) {
            peer.outbox.flush();
            pushed = peer.outbox.push(class, frame);
        }
        match pushed {
            Pushed::Queued(true) => self.dirty.push(Rc::clone(peer)),
            Pushed::Dropped => {
                // The first event that isn't sent: one that was held behind this, or the next of all.
                let waiting = rest.iter().find_map(|held| match held.class {
                    Class::Events { room: of, first, .. } if of == room => Some(first),
                    _ => None,
                });
                let next = || self.audiences.get(&room).map(|audience| audience.head.next());
                let from = waiting.or_else(next);
                self.leave(peer, room);
                self.resync(peer, room, from.unwrap_or_default());
            }
            _ => {}
        }
    }

    pub(super) fn close_where(&mut self, which: impl Fn(&Peer) -> bool, code: CloseCode) {
        for peer in self.peers.values().filter(|peer| which(peer)) {
            if code.stays_away() {
                peer.outbox.cut(code);
            } else {
                peer.outbox.close(code, code.name());
            }
        }
    }

    /// What was opened with `key` ends at `expires_at`, unless it ends before.
    pub(super) fn limit_key(&self, key: BotKeyId, expires_at: Timestamp) {
        for peer in self.peers.values().filter(|peer| peer.identity.via == Via::BotKey(key)) {
            let at = peer.ends_at.get().map_or(expires_at, |before| before.min(expires_at));
            peer.ends_at.set(Some(at));
        }
    }

    /// Nobody knows whose right ended: each is looked up with the next beat.
    pub(super) fn recheck(&mut self) {
        let now = clock::now();
        for peer in self.peers.values() {
            peer.expires_at.set(Some(now));
        }
    }

    /// Sends everybody away, each to come back after a delay of its own within `spread`.
    pub(super) fn restart(&mut self, spread: Duration) {
        for peer in self.peers.values() {
            self.send_away(peer, spread);
        }
    }

    /// Sends one away, to come back after a random delay within `spread`.
    pub fn send_away(&self, peer: &Rc<Peer>, spread: Duration) {
        let delay = spread.mul_f64(rand::random::<f64>()).as_millis();
        peer.outbox.close(CloseCode::Restart, &format!("restart;delay_ms={delay}"));
    }

    pub(super) fn beat(&mut self) {
        let (now, clock) = (Instant::now(), clock::now());
        let ping = websocket::text(encode::PING);
        for peer in self.peers.values() {
            if peer.ends_at.get().is_some_and(|at| at <= clock) {
                peer.outbox.cut(CloseCode::Unauthenticated);
                continue;
            }
            if peer.expires_at.get().is_some_and(|at| at <= clock) {
                peer.expires_at.set(None);
                actix_rt::spawn(recheck(self.rooms.store().clone(), Rc::clone(peer), clock));
            }
            match peer.pulse(now, &self.config) {
                Pulse::Fine => {}
                Pulse::Ping => {
                    if peer.outbox.push(Class::Control, ping.clone()) == Pushed::Queued(true) {
                        self.dirty.push(Rc::clone(peer));
                    }
                }
                Pulse::Dead => peer.outbox.close(CloseCode::HeartbeatLost, CloseCode::HeartbeatLost.name()),
            }
        }
        self.tell_census(now);
    }

    /// After a failure: nobody is subscribed to anything, and everybody comes back soon. Rooms are told of the whole hub: what
    /// was lost may have been the answer to a subscription.
    pub fn begin_anew(&mut self) {
        self.dirty.clear();
        self.unsettled.clear();
        self.audiences.clear();
        self.badges = Badges::default();
        self.rooms.hub_lost(self.hub.id());
        for peer in self.peers.values() {
            peer.joining.borrow_mut().take();
            peer.steps.borrow_mut().clear();
            metrics::subscriptions_removed(peer.places.borrow().len());
            peer.places.borrow_mut().clear();
            self.send_away(peer, COME_BACK);
        }
    }

    /// Sockets and rooms with listeners.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.peers.len(), self.audiences.len())
    }

    /// How many entries there are.
    pub(super) fn counts(&self) -> HubCounts {
        HubCounts {
            peers: self.peers.len(),
            audiences: self.audiences.len(),
            places: self.audiences.values().map(|audience| audience.peers.len()).sum(),
            followers: self.badges.len(),
            badges_waiting: self.badges.waiting(),
            joins_pending: self.peers.values().filter(|peer| peer.joining.borrow().is_some()).count(),
        }
    }

    /// Ends the turn: everything that was queued in it goes out.
    pub fn flush(&mut self) {
        match std::mem::take(&mut self.unsettled).as_slice() {
            // Nothing else will come for these sockets in this turn.
            [only] => self.hand_out(*only, Way::Direct),
            rooms => rooms.iter().for_each(|room| self.settle(*room)),
        }
        self.write_out();
    }

    /// Writes to all sockets that have something queued.
    pub(super) fn write_out(&mut self) {
        for peer in self.dirty.drain(..) {
            peer.outbox.flush();
        }
    }
}

/// Keeps what a room that has answered sends until the reply is out. False when there is nothing to wait for.
pub(super) fn hold(peer: &Rc<Peer>, room: RoomId, class: Class, frame: &Bytes, limit: usize) -> bool {
    match peer.joining.borrow_mut().as_mut() {
        Some(joining) if joining.holds(room) => {
            if !joining.hold(room, class, frame.clone(), limit) {
                // So far behind before it has begun: the socket isn't worth keeping.
                peer.outbox.close(CloseCode::SlowConsumer, CloseCode::SlowConsumer.name());
            }
            true
        }
        _ => false,
    }
}

//! Which socket has a place in which room, and how places end: one by one, or all of a room at once.

use super::fanout::Batch;
use super::handle::ConnId;
use super::switchboard::Switchboard;
use crate::actors::outbox::Class;
use crate::actors::peer::{Peer, Place, Seat};
use crate::domain::{Rejection, RoomId, Seq};
use crate::protocol::{Level, encode, websocket};
use crate::telemetry::metrics::{self, SlowConsumer};
use std::collections::HashSet;
use std::rc::Rc;

/// A room's full subscribers on this thread.
#[derive(Default)]
pub(super) struct Audience {
    pub(super) peers: Vec<Rc<Peer>>,
    /// The last event they were told, or will be with the end of the turn.
    pub(super) head: Seq,
    /// What they are yet to be told.
    pub(super) batch: Batch,
}

impl Switchboard {
    /// Gives a peer its place, as the request `join` wanted it. Subscribing again on the same level keeps the seat.
    pub(super) fn enter(&mut self, peer: &Rc<Peer>, room: RoomId, join: u64, level: Level, head: Seq) {
        // What is told from here on is for the newcomer, too; what was to be told before isn't.
        self.settle(room);
        let seat = peer.places.borrow().get(&room).map(|place| place.seat);
        let stays =
            matches!((seat, level), (Some(Seat::Full(_)), Level::Full) | (Some(Seat::Badge), Level::Badge));
        if !stays {
            self.strike(peer, room);
        }
        let seat = match level {
            Level::Full => {
                let audience = self.audiences.entry(room).or_default();
                audience.head = audience.head.max(head);
                match seat.filter(|_| stays) {
                    Some(seat) => seat,
                    None => {
                        audience.peers.push(Rc::clone(peer));
                        Seat::Full(audience.peers.len() - 1)
                    }
                }
            }
            Level::Badge => {
                self.badges.enter(peer.id, room, head);
                Seat::Badge
            }
        };
        peer.places.borrow_mut().insert(room, Place { join, seat });
        if !stays {
            metrics::subscriptions_added(1);
        }
    }

    /// Takes a peer off the room's list and tells the room.
    pub(super) fn leave(&mut self, peer: &Rc<Peer>, room: RoomId) {
        if let Some(join) = self.strike(peer, room) {
            self.rooms.left(room, peer.id, join);
        }
    }

    /// Tells a peer whose subscription ended that it is to be made anew, from which event on.
    pub(super) fn resync(&mut self, peer: &Rc<Peer>, room: RoomId, from: Seq) {
        metrics::slow_consumer(SlowConsumer::Resync);
        self.push(peer, Class::Control, websocket::text(&encode::resync(room, from)));
    }

    /// Takes a peer off the room's list. The number of the request that had put it there.
    fn strike(&mut self, peer: &Rc<Peer>, room: RoomId) -> Option<u64> {
        let place = peer.places.borrow_mut().remove(&room)?;
        match place.seat {
            Seat::Badge => self.badges.leave(peer.id, room),
            Seat::Full(index) => {
                if let Some(audience) = self.audiences.get_mut(&room) {
                    audience.peers.swap_remove(index);
                    if let Some(moved) = audience.peers.get(index)
                        && let Some(place) = moved.places.borrow_mut().get_mut(&room)
                    {
                        place.seat = Seat::Full(index);
                    }
                    if audience.peers.is_empty() {
                        self.audiences.remove(&room);
                    }
                }
            }
        }
        metrics::subscriptions_removed(1);
        Some(place.join)
    }

    pub(super) fn unsubscribed(&mut self, conn: ConnId, room: RoomId) {
        // The last they hear is why.
        self.settle(room);
        if let Some(peer) = self.peers.get(&conn).map(Rc::clone) {
            self.strike(&peer, room);
            // Taken in and sent away before the reply: that is what it says then.
            if let Some(joining) = peer.joining.borrow_mut().as_mut() {
                joining.lost(room, &Rejection::not_found("room"));
            }
        }
    }

    /// The room's actor is gone and with it the certainty that nothing was missed: everybody subscribes again.
    pub(super) fn room_lost(&mut self, room: RoomId) {
        drop(self.dismiss(room));
    }

    /// Ends all subscriptions of a room here, so that they begin again from what the store has.
    pub(super) fn start_anew(&mut self, room: RoomId) {
        for (conn, join) in self.dismiss(room) {
            self.rooms.left(room, conn, join);
        }
    }

    /// More came than this thread could take: what was left out is unknown, so every subscription starts anew.
    pub(super) fn overrun(&mut self) {
        let rooms: HashSet<RoomId> = self.audiences.keys().copied().chain(self.badges.rooms()).collect();
        for room in rooms {
            self.start_anew(room);
        }
    }

    fn dismiss(&mut self, room: RoomId) -> Vec<(ConnId, u64)> {
        self.settle(room);
        let (told, followers) = self.badges.of(room);
        let audience = self.audiences.remove(&room).unwrap_or_default();
        let followers = followers.iter().filter_map(|conn| self.peers.get(conn)).map(Rc::clone);
        let everybody: Vec<(Rc<Peer>, Seq)> = audience
            .peers
            .into_iter()
            .map(|peer| (peer, audience.head))
            .chain(followers.map(|peer| (peer, told)))
            .collect();
        let mut dismissed = Vec::with_capacity(everybody.len());
        for (peer, head) in everybody {
            if let Some(join) = self.strike(&peer, room) {
                dismissed.push((peer.id, join));
            }
            // Who hasn't got the reply yet gets a refusal in it instead.
            if peer
                .joining
                .borrow_mut()
                .as_mut()
                .is_some_and(|joining| joining.lost(room, &Rejection::unavailable()))
            {
                continue;
            }
            self.resync(&peer, room, head.next());
        }
        dismissed
    }
}

//! Which sockets of this thread follow which room by badge, and the badges that wait for a socket to take them: the last
//! one always gets through, and none comes sooner than a tick after one that had to wait.

use super::handle::ConnId;
use super::switchboard::{Switchboard, hold};
use crate::actors::outbox::{Class, Pushed};
use crate::domain::{RoomId, Seq};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// See the module.
#[derive(Default)]
pub(super) struct Badges {
    rooms: HashMap<RoomId, Followed>,
    /// At most one per subscription.
    later: HashMap<(ConnId, RoomId), Later>,
}

/// A room that is followed.
#[derive(Default)]
struct Followed {
    /// As far as the last badge reached.
    head: Seq,
    conns: HashSet<ConnId>,
}

enum Later {
    /// The socket didn't take it; with the next tick.
    Send(Bytes),
    /// It was taken late; the one after it waits for a tick.
    Rest,
}

impl Badges {
    pub(super) fn enter(&mut self, conn: ConnId, room: RoomId, head: Seq) {
        // The answer to the subscription is newer.
        self.later.remove(&(conn, room));
        let followed = self.rooms.entry(room).or_default();
        followed.head = followed.head.max(head);
        followed.conns.insert(conn);
    }

    pub(super) fn leave(&mut self, conn: ConnId, room: RoomId) {
        self.later.remove(&(conn, room));
        if let Some(followed) = self.rooms.get_mut(&room) {
            followed.conns.remove(&conn);
            if followed.conns.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// With the next tick.
    pub(super) fn postpone(&mut self, conn: ConnId, room: RoomId, frame: Bytes) {
        self.later.insert((conn, room), Later::Send(frame));
    }

    /// The followers of a room, and how far they were told.
    pub(super) fn of(&self, room: RoomId) -> (Seq, Vec<ConnId>) {
        self.rooms
            .get(&room)
            .map(|followed| (followed.head, followed.conns.iter().copied().collect()))
            .unwrap_or_default()
    }

    /// The rooms that are followed.
    pub(super) fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.keys().copied()
    }

    /// Subscriptions by badge.
    pub(super) fn len(&self) -> usize {
        self.rooms.values().map(|followed| followed.conns.len()).sum()
    }

    /// Badges that wait.
    pub(super) fn waiting(&self) -> usize {
        self.later.len()
    }
}

impl Switchboard {
    pub(super) fn badges(&mut self, room: RoomId, head: Seq, frames: Vec<(ConnId, Bytes)>) {
        match self.badges.rooms.get_mut(&room) {
            Some(followed) => followed.head = followed.head.max(head),
            None => return,
        }
        for (conn, frame) in frames {
            if !self.badges.rooms.get(&room).is_some_and(|followed| followed.conns.contains(&conn)) {
                continue;
            }
            if let Some(later) = self.badges.later.get_mut(&(conn, room)) {
                *later = Later::Send(frame);
            } else if !self.show(conn, room, &frame) {
                self.badges.later.insert((conn, room), Later::Send(frame));
            }
        }
    }

    /// Sends again what sockets didn't take.
    pub(super) fn tick_badges(&mut self) {
        if self.badges.later.is_empty() {
            return;
        }
        let later = std::mem::take(&mut self.badges.later);
        for ((conn, room), later) in later {
            let Later::Send(frame) = later else { continue };
            let next = if self.show(conn, room, &frame) { Later::Rest } else { Later::Send(frame) };
            self.badges.later.insert((conn, room), next);
        }
    }

    /// False when the socket is too full to take it.
    fn show(&mut self, conn: ConnId, room: RoomId, frame: &Bytes) -> bool {
        let Some(peer) = self.peers.get(&conn) else { return true };
        if hold(peer, room, Class::Signal, frame, self.config.socket.outbox_bytes) {
            return true;
        }
        match peer.outbox.push(Class::Signal, frame.clone()) {
            Pushed::Queued(true) => self.dirty.push(Rc::clone(peer)),
            Pushed::Dropped => return false,
            Pushed::Queued(false) | Pushed::Resync | Pushed::Closed => {}
        }
        true
    }
}

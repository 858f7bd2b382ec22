//! From a room to the sockets of this thread that hear it. Events that became ready in one turn go to each socket as one piece of
//! bytes: per recipient a batch costs what one event does.

use super::places::Audience;
use super::switchboard::{Switchboard, hold};
use crate::actors::outbox::{Class, Pushed};
use crate::domain::{RoomId, Seq, UserId};
use crate::protocol::outgoing::OutType;

use crate::telemetry::metrics;
use bytes::{Bytes, BytesMut};
use std::rc::Rc;

/// Bytes of a batch that end it before the turn does.
const BATCH: usize = 64 * 1024;
/// Dirty sockets that end a turn early, so that a full mailbox doesn't keep the first of them waiting.
const FLUSH_AT: usize = 4_096;

/// Events of a room, in order and without a gap, that its audience is yet to get.
#[derive(Default)]
pub(super) struct Batch {
    first: Seq,
    frames: Vec<Bytes>,
    bytes: usize,
    /// The type of the first, and whether there is another.
    kind: Option<OutType>,
    is_mixed: bool,
}

/// How a batch gets to its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the queue, which goes out once with all else that is for a socket in this turn.
    Queued,
    /// At once, where nothing waits.
    Direct,
}

impl Batch {
    fn add(&mut self, seq: Seq, frame: Bytes) {
        if self.frames.is_empty() {
            self.first = seq;
        }
        self.bytes += frame.len();
        let kind = OutType::of(&frame);
        self.is_mixed |= *self.kind.get_or_insert(kind) != kind;
        self.frames.push(frame);
    }

    /// All of it as one piece: what of `room` it is, and its bytes.
    fn take(&mut self, room: RoomId) -> Option<(Class, Bytes)> {
        let Self { first, frames, bytes, is_mixed, .. } = std::mem::take(self);
        let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        let piece = match <[Bytes; 1]>::try_from(frames) {
            Ok([only]) => only,
            Err(frames) if frames.is_empty() => return None,
            Err(frames) => {
                let mut piece = BytesMut::with_capacity(bytes);
                for frame in &frames {
                    piece.extend_from_slice(frame);
                }
                piece.freeze()
            }
        };
        Some((Class::Events { room, first, count, alike: !is_mixed }, piece))
    }
}

impl Switchboard {
    /// Takes a room's next event; its audience gets it with the end of the turn.
    pub(super) fn event(&mut self, room: RoomId, seq: Seq, frame: Bytes) {
        let Some(audience) = self.audiences.get_mut(&room) else { return };
        if seq != audience.head.next() {
            if seq > audience.head {
                tracing::error!(room.id = %room, head = %audience.head, %seq, "a hub missed an event");
                self.start_anew(room);
            }
            return;
        }
        audience.head = seq;
        metrics::fanned_out(audience.peers.len());
        audience.batch.add(seq, frame);
        if audience.batch.bytes >= BATCH {
            self.settle(room);
        } else if audience.batch.frames.len() == 1 {
            self.unsettled.push(room);
        }
    }

    /// Queues what the room's audience is yet to get. Whatever else is told of the room, or changes who hears it, comes after.
    pub(super) fn settle(&mut self, room: RoomId) {
        self.hand_out(room, Way::Queued);
    }

    pub(super) fn hand_out(&mut self, room: RoomId, way: Way) {
        let Some(Audience { peers, batch, .. }) = self.audiences.get_mut(&room) else { return };
        let Some((class, piece)) = batch.take(room) else { return };
        let mut behind = Vec::new();
        for peer in peers.iter() {
            if hold(peer, room, class, &piece, self.config.socket.outbox_bytes) {
                continue;
            }
            if way == Way::Direct && peer.outbox.send(class, &piece) {
                continue;
            }
            match peer.outbox.push(class, piece.clone()) {
                Pushed::Queued(true) => self.dirty.push(Rc::clone(peer)),
                Pushed::Queued(false) | Pushed::Dropped => {}
                Pushed::Resync | Pushed::Closed => behind.push(Rc::clone(peer)),
            }
        }
        for peer in behind {
            self.leave(&peer, room);
            peer.outbox.flush();
        }
        if self.dirty.len() >= FLUSH_AT {
            self.write_out();
        }
    }

    pub(super) fn signal(&mut self, room: RoomId, frame: &Bytes, except: Option<UserId>, vital: bool) {
        self.settle(room);
        let Some(audience) = self.audiences.get(&room) else { return };
        let from = audience.head.next();
        let mut missed = Vec::new();
        for peer in audience.peers.iter().filter(|peer| Some(peer.user()) != except) {
            if hold(peer, room, Class::Signal, frame, self.config.socket.outbox_bytes) {
                continue;
            }
            match peer.outbox.push(Class::Signal, frame.clone()) {
                Pushed::Queued(true) => self.dirty.push(Rc::clone(peer)),
                Pushed::Dropped if vital => missed.push(Rc::clone(peer)),
                _ => {}
            }
        }
        for peer in missed {
            self.leave(&peer, room);
            self.resync(&peer, room, from);
        }
    }
}

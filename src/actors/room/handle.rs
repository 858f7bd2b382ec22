//! How others reach a room: with a permit that bounds its queue.

use super::{Room, Subscribe};
use crate::actors::answers::Answer;
use crate::actors::hub::ConnId;
use crate::actors::reply::ReplySink;
use crate::domain::{Command, Person, Principal, Recorded, Rejection, Signal, UserId};
use crate::protocol::client_frame::TypingChange;
use actix::{Addr, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a room is told.
#[derive(Message)]
#[rtype(result = "()")]
pub enum RoomMsg {
    /// A command; the sink has its permit.
    Submit {
        by: Principal,
        command: Command,
        sink: ReplySink,
    },
    /// The sequencer committed an event of this room.
    Committed(Recorded),
    Subscribe(Subscribe),
    /// The answer to a subscription is on its socket.
    Confirmed {
        conn: ConnId,
    },
    /// A socket's subscription of `join` is over.
    Left {
        conn: ConnId,
        join: u64,
    },
    /// An assistant said more.
    Said(Arc<Answer>),
    /// A reader's mark moved.
    Read {
        user: UserId,
    },
    /// The hub knows of no listeners any more.
    HubLost {
        hub: u16,
    },
    Typing {
        conn: ConnId,
        person: Person,
        typing: TypingChange,
        _permit: OwnedSemaphorePermit,
    },
    Signal(Signal),
    /// The room's own handle, once.
    Named(RoomHandle),
    /// What the room remembers can't be trusted any more.
    Lost,
    /// Nothing more will come.
    Stop,
}

/// The address of a room, with what bounds and counts its work.
#[derive(Clone)]
pub struct RoomHandle {
    address: Addr<Room>,
    generation: u64,
    permits: Arc<Semaphore>,
    queue: usize,
    listeners: Arc<AtomicUsize>,
    typing: Arc<AtomicUsize>,
}

impl RoomHandle {
    pub(super) fn new(address: Addr<Room>, generation: u64, queue: usize) -> Self {
        let permits = Arc::new(Semaphore::new(queue));
        Self { address, generation, permits, queue, listeners: Arc::default(), typing: Arc::default() }
    }

    /// Tells one memory of a room from the next.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A place in the room's queue, or `overloaded`.
    pub fn permit(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => Err(Rejection::overloaded()),
        }
    }

    /// Nobody listens and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.listeners.load(Ordering::Acquire) == 0 && self.permits.available_permits() == self.queue
    }

    #[cfg(test)]
    pub(crate) fn in_hand(&self) -> usize {
        self.queue - self.permits.available_permits()
    }

    /// Sockets that hear the room, by badge or in full.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Acquire)
    }

    /// Users whose typing is remembered.
    pub fn typing(&self) -> usize {
        self.typing.load(Ordering::Relaxed)
    }

    pub(super) fn set_typing(&self, count: usize) {
        self.typing.store(count, Ordering::Relaxed);
    }

    pub(super) fn set_listeners(&self, count: usize) {
        self.listeners.store(count, Ordering::Release);
    }

    /// Puts a message into the room's mailbox; commands and subscriptions bring a permit.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounded by permits, or one message per socket, event or tick"
    )]
    pub fn tell(&self, message: RoomMsg) {
        self.address.do_send(message);
    }
}

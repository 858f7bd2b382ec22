//! How the other threads reach a hub: never blocked, bounded by a backlog whose overrun is told to the clients.

use super::Hub;
use crate::actors::bans::Bans;
use crate::actors::outbox::Class;
use crate::actors::registries::HubCounts;
use crate::domain::{ActionId, BotKeyId, Rejection, Role, RoomId, Seq, SessionId, Timestamp, UserId};
use crate::protocol::{CloseCode, Level};
use actix::{Addr, Message};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// One socket, named by its hub and a number that isn't used again while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub hub: u16,
    pub serial: u64,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.hub, self.serial)
    }
}

/// Where a room's answer to a subscription belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinSlot {
    pub conn: ConnId,
    /// The number of the request among those of its socket.
    pub join: u64,
    /// The room's place in the request.
    pub index: usize,
    pub room: RoomId,
}

/// A room's answer to a subscription: from here on the hub gets its events.
#[derive(Debug)]
pub struct Joined {
    pub slot: JoinSlot,
    pub level: Level,
    pub head: Seq,
    /// JSON text of this room's part of the reply.
    pub part: String,
    /// The same without the missed events, for when the parts of one reply are too much together.
    pub without_events: Option<String>,
}

/// What a hub is told.
#[derive(Message)]
#[rtype(result = "()")]
pub enum HubMsg {
    /// A durable event for the room's subscribers.
    Event {
        room: RoomId,
        seq: Seq,
        frame: Bytes,
    },
    /// An ephemeral notice for the room's subscribers but one user's.
    /// `vital` ones are made up for by a resync when a socket can't take them.
    Signal {
        room: RoomId,
        frame: Bytes,
        except: Option<UserId>,
        vital: bool,
    },
    /// How the room, at `head` by now, stands for those who follow it by badge.
    Badges {
        room: RoomId,
        head: Seq,
        frames: Vec<(ConnId, Bytes)>,
    },
    /// A frame for one socket.
    Send {
        conn: ConnId,
        class: Class,
        frame: Bytes,
    },
    /// An action request for one socket; the actor that asks is told whether it has it.
    Offer {
        conn: ConnId,
        id: ActionId,
        frame: Bytes,
    },
    Joined(Joined),
    JoinRefused {
        slot: JoinSlot,
        rejection: Rejection,
    },
    /// The room takes somebody off its list: removed, or the room is deleted.
    Unsubscribed {
        conn: ConnId,
        room: RoomId,
    },
    /// The room's actor lost its memory.
    RoomLost {
        room: RoomId,
    },
    /// The room's subscribers here may have missed something: they subscribe again.
    StartAnew {
        room: RoomId,
    },
    CloseSession {
        session: SessionId,
        code: CloseCode,
    },
    CloseBotKey {
        key: BotKeyId,
        code: CloseCode,
    },
    /// The key ends at that moment, before its own time.
    LimitBotKey {
        key: BotKeyId,
        expires_at: Timestamp,
    },
    CloseUser {
        user: UserId,
        code: CloseCode,
    },
    /// The user is known by another role from here on.
    ChangeRole {
        user: UserId,
        role: Role,
        code: CloseCode,
    },
    /// Some networks are shut out from here on: nobody stays who came from there.
    ShutOut(Arc<Bans>),
    /// Somebody's right to be connected, or to be what they are, may have ended, nobody knows whose.
    Recheck,
    /// To be answered once everything told before is done.
    Fence(oneshot::Sender<()>),
    /// Something was left out a while ago; by now everything that was on its way then has arrived.
    Overrun,
    /// Presence wants to know of all sockets.
    Census,
    /// How many entries there are.
    Count(oneshot::Sender<HubCounts>),
    /// The process ends: everybody comes back after a delay of their own within `spread`.
    Restart {
        spread: Duration,
    },
}

/// The address of a hub.
#[derive(Clone)]
pub struct HubHandle {
    id: u16,
    address: Addr<Hub>,
    shared: Arc<Backlog>,
}

struct Backlog {
    waiting: AtomicUsize,
    limit: usize,
    overrun: AtomicBool,
}

impl HubHandle {
    pub(super) fn new(id: u16, address: Addr<Hub>, limit: usize) -> Self {
        let shared = Backlog { waiting: AtomicUsize::new(0), limit, overrun: AtomicBool::new(false) };
        Self { id, address, shared: Arc::new(shared) }
    }

    /// The number of the hub's worker.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// What goes to many. Over the backlog it is left out, and the hub tells its subscribers to resync.
    pub fn broadcast(&self, message: HubMsg) {
        if self.shared.waiting.load(Ordering::Relaxed) >= self.shared.limit {
            self.shared.overrun.store(true, Ordering::Release);
            return;
        }
        self.tell(message);
    }

    /// A frame for one socket; as many as there are commands and subscriptions in flight.
    pub fn send(&self, conn: ConnId, class: Class, frame: Bytes) {
        self.tell(HubMsg::Send { conn, class, frame });
    }

    /// What must arrive, and is bounded by what it answers: subscriptions, closings, losses.
    #[expect(clippy::disallowed_methods, reason = "bounded by the backlog, or by the requests it answers")]
    pub fn tell(&self, message: HubMsg) {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.address.do_send(message);
    }

    /// The hub took one message; true when others were left out since.
    pub(super) fn took(&self) -> bool {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.overrun.load(Ordering::Relaxed) && self.shared.overrun.swap(false, Ordering::AcqRel)
    }

    /// Messages on their way.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }
}

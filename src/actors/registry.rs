//! Finds or loads each room exactly once, lets idle ones go, and knows every hub.
//!
//! A message goes to a room while the map's shard is held: a room taken out of the map therefore gets nothing more, and what it
//! got before is answered before it stops. Loading happens in the registry's actor alone, one room one actor.

use super::hub::{ConnId, HubHandle, HubMsg};
use super::presence::PresenceHandle;
use super::reply::ReplySink;
use super::room::{Room, RoomHandle, RoomMsg, Subscribe};
use super::sequencer::SequencerHandle;
use super::watch::{self, Ending};
use crate::config::Config;
use crate::domain::{Command, Person, Recorded, Rejection, RoomId, Signal};
use crate::storage::{Store, StoreError};
use crate::telemetry::metrics;
use actix::{Actor, Addr, Context, Handler, Message};
use dashmap::DashMap;
use dashmap::mapref::one::Ref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// The rooms in memory and the ways to them; shared by all threads.
pub struct Rooms {
    map: DashMap<RoomId, RoomHandle>,
    hubs: RwLock<Vec<HubHandle>>,
    registry: OnceLock<Addr<Registry>>,
    sequencer: OnceLock<SequencerHandle>,
    presence: PresenceHandle,
    loading: Arc<Semaphore>,
    commons: OnceLock<RoomId>,
    tail: broadcast::Sender<Arc<[RoomId]>>,
    store: Store,
    config: Arc<Config>,
}

/// Commits a long poll may fall behind before it has to look at the store anyway.
const TAIL: usize = 256;

impl Rooms {
    /// An empty registry; [`Registry::start`] and the sequencer complete it.
    pub fn new(store: Store, presence: PresenceHandle, config: Arc<Config>) -> Arc<Self> {
        Arc::new(Self {
            map: DashMap::new(),
            hubs: RwLock::default(),
            registry: OnceLock::new(),
            sequencer: OnceLock::new(),
            presence,
            loading: Arc::new(Semaphore::new(config.rooms.loading)),
            commons: OnceLock::new(),
            tail: broadcast::channel(TAIL).0,
            store,
            config,
        })
    }

    /// Puts the sequencer in its place.
    pub fn set_sequencer(&self, sequencer: SequencerHandle) {
        if self.sequencer.set(sequencer).is_err() {
            tracing::error!("a second sequencer was refused");
        }
    }

    /// The one sequencer.
    pub fn sequencer(&self) -> Option<&SequencerHandle> {
        self.sequencer.get()
    }

    /// Who is online.
    pub fn presence(&self) -> &PresenceHandle {
        &self.presence
    }

    /// The store rooms are loaded from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The numbers rooms live by.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The room of everybody, once the account is set up and [`Rooms::find_commons`] has seen it.
    pub fn commons(&self) -> Option<RoomId> {
        self.commons.get().copied()
    }

    /// Looks for the commons until there is one.
    pub async fn find_commons(&self) -> Result<(), StoreError> {
        if self.commons.get().is_none()
            && let Some(room) = self.store.commons().await?
        {
            self.commons.get_or_init(|| room);
        }
        Ok(())
    }

    /// Rooms in memory.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether no room is in memory.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Adds the hub of a worker thread.
    pub fn add_hub(&self, hub: HubHandle) {
        self.hubs.write().unwrap_or_else(PoisonError::into_inner).push(hub);
    }

    /// Every hub.
    pub fn hubs(&self) -> Vec<HubHandle> {
        self.hubs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rooms of each commit, for those who wait for something new.
    pub fn tail(&self) -> broadcast::Receiver<Arc<[RoomId]>> {
        self.tail.subscribe()
    }

    /// Tells those who wait that `rooms` have new events.
    pub fn committed(&self, rooms: Arc<[RoomId]>) {
        // Nobody waiting is the normal case.
        drop(self.tail.send(rooms));
    }

    /// Hands a command to its room; when the room or the loading of rooms has too much to do it is answered `overloaded`.
    pub fn submit(&self, room: RoomId, actor: Person, command: Command, sink: ReplySink) {
        match self.place(room) {
            Ok((place, permit)) => place.put(RoomMsg::Submit { actor, command, sink, permit }),
            Err(rejection) => sink.answer(Err(rejection)),
        }
    }

    /// Hands a subscription to its room; answered `overloaded` like a command.
    pub fn subscribe(&self, subscribe: Subscribe) {
        match self.place(subscribe.slot().room) {
            Ok((place, permit)) => place.put(RoomMsg::Subscribe(subscribe, permit)),
            Err(rejection) => subscribe.refuse(rejection),
        }
    }

    /// A place in the room's queue, or in the queue of rooms to be loaded.
    fn place(&self, room: RoomId) -> Result<(Place<'_>, OwnedSemaphorePermit), Rejection> {
        if let Some(handle) = self.map.get(&room) {
            let permit = handle.permit()?;
            return Ok((Place::Here(handle), permit));
        }
        match (Arc::clone(&self.loading).try_acquire_owned(), self.registry.get()) {
            (Ok(permit), Some(registry)) => Ok((Place::ToLoad(registry, room), permit)),
            (Err(_), _) => Err(Rejection::overloaded()),
            (Ok(_), None) => Err(Rejection::unavailable()),
        }
    }

    /// A socket is off the room's list.
    pub fn left(&self, room: RoomId, conn: ConnId) {
        self.tell(room, RoomMsg::Left { conn });
    }

    /// An event was committed. A room that isn't in memory will read it when it is loaded.
    pub fn route(&self, recorded: Recorded) {
        let room = recorded.event.room;
        self.tell(room, RoomMsg::Committed(recorded));
    }

    /// Shows a signal in a room, if anybody looks.
    pub fn signal(&self, room: RoomId, signal: Signal) {
        self.tell(room, RoomMsg::Signal(signal));
    }

    /// Tells a room something that its sender bounds: one message per socket, event or tick.
    pub fn tell(&self, room: RoomId, message: RoomMsg) {
        if let Some(handle) = self.map.get(&room) {
            handle.tell(message);
        }
    }

    /// A room has nothing to do. It goes unless something arrived meanwhile.
    pub fn let_go(&self, room: RoomId, generation: u64) {
        let gone =
            self.map.remove_if(&room, |_, handle| handle.generation() == generation && handle.is_idle());
        if let Some((_, handle)) = gone {
            handle.tell(RoomMsg::Stop);
        }
        metrics::rooms(self.map.len());
    }

    /// A room doesn't exist, or its memory can't be trusted: the next message loads it anew, its subscribers resync.
    pub fn forget(&self, room: RoomId, generation: u64) {
        if self.map.remove_if(&room, |_, handle| handle.generation() == generation).is_some() {
            for hub in self.hubs() {
                hub.tell(HubMsg::RoomLost { room });
            }
        }
        metrics::rooms(self.map.len());
    }

    /// The outcome of a commit is unknown: what rooms remember may be behind. All of it is dropped.
    pub fn forget_all(&self) {
        let rooms: Vec<(RoomId, u64)> =
            self.map.iter().map(|entry| (*entry.key(), entry.generation())).collect();
        for (room, generation) in rooms {
            if let Some(handle) = self.map.get(&room) {
                handle.tell(RoomMsg::Stop);
            }
            self.forget(room, generation);
        }
    }
}

/// Where a message for a room goes. A room that is here stays in the map until it has the message.
enum Place<'a> {
    Here(Ref<'a, RoomId, RoomHandle>),
    ToLoad(&'a Addr<Registry>, RoomId),
}

impl Place<'_> {
    #[expect(clippy::disallowed_methods, reason = "bounded by the loading permits")]
    fn put(self, message: RoomMsg) {
        match self {
            Self::Here(handle) => handle.tell(message),
            Self::ToLoad(registry, room) => registry.do_send(Open { room, message }),
        }
    }
}

/// The one place where rooms come into being.
pub struct Registry {
    rooms: Arc<Rooms>,
    generations: u64,
}

/// A message for a room that wasn't in memory.
#[derive(Message)]
#[rtype(result = "()")]
struct Open {
    room: RoomId,
    message: RoomMsg,
}

impl Registry {
    /// Starts the registry on the current arbiter; rooms will live there, too.
    pub fn start(rooms: &Arc<Rooms>) {
        let registry = Self { rooms: Arc::clone(rooms), generations: 0 };
        let registry = watch::start_vital(Context::new(), registry, "registry");
        if rooms.registry.set(registry).is_err() {
            tracing::error!("a second registry was refused");
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<Open> for Registry {
    type Result = ();

    fn handle(&mut self, Open { room, message }: Open, _: &mut Self::Context) {
        let handle = self.rooms.map.entry(room).or_insert_with(|| {
            self.generations += 1;
            let generation = self.generations;
            let rooms = Arc::clone(&self.rooms);
            Room::start(room, generation, Arc::clone(&self.rooms), move |ending| {
                if ending == Ending::Panicked {
                    tracing::error!(room.id = %room, "a room failed; it is loaded anew");
                    rooms.forget(room, generation);
                }
            })
        });
        handle.tell(message);
        drop(handle);
        metrics::rooms(self.rooms.map.len());
    }
}

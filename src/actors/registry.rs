//! Finds or loads each room exactly once, lets idle ones go, and knows every hub.
//!
//! A message goes to a room while the map's shard is held, and a room that isn't there is started under the same lock: so each
//! room exists once, messages of one sender stay in order, and a room taken out of the map gets nothing more.

use super::actions::ActionsHandle;
use super::answers::{Answer, Answers};
use super::ending::Endings;
use super::hub::{ConnId, HubHandle, HubMsg};
use super::load::Load;
use super::presence::PresenceHandle;
use super::reply::ReplySink;
use super::room::{Room, RoomHandle, RoomMsg, Subscribe};
use super::sequencer::SequencerHandle;
use crate::config::Config;
use crate::domain::{Command, EventBody, Person, Principal, Recorded, Rejection, RoomId, Signal};
use crate::protocol::client_frame::TypingChange;
use crate::storage::{Store, StoreError};
use crate::telemetry::metrics;
use actix::ArbiterHandle;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use dashmap::mapref::one::RefMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// The rooms in memory and the ways to them; shared by all threads.
pub struct Rooms {
    map: DashMap<RoomId, RoomHandle>,
    hubs: RwLock<Vec<HubHandle>>,
    /// The thread on which rooms live.
    core: ArbiterHandle,
    generations: AtomicU64,
    sequencer: OnceLock<SequencerHandle>,
    presence: PresenceHandle,
    loading: Arc<Semaphore>,
    commons: OnceLock<RoomId>,
    tail: broadcast::Sender<Arc<[RoomId]>>,
    load: Load,
    endings: Endings,
    answers: Arc<Answers>,
    actions: ActionsHandle,
    store: Store,
    config: Arc<Config>,
}

/// What the rooms in memory keep for sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomCounts {
    pub listeners: usize,
    pub typing: usize,
}

/// Commits a long poll may fall behind before it has to look at the store anyway.
const TAIL: usize = 256;

impl Rooms {
    /// An empty registry whose rooms will live on `core`; the sequencer completes it.
    pub fn new(
        store: Store,
        presence: PresenceHandle,
        core: ArbiterHandle,
        config: Arc<Config>,
    ) -> Arc<Self> {
        Arc::new(Self {
            map: DashMap::new(),
            hubs: RwLock::default(),
            core,
            generations: AtomicU64::new(0),
            sequencer: OnceLock::new(),
            presence,
            loading: Arc::new(Semaphore::new(config.rooms.loading)),
            commons: OnceLock::new(),
            tail: broadcast::channel(TAIL).0,
            load: Load::new(&config.load),
            endings: Endings::default(),
            answers: Arc::default(),
            actions: ActionsHandle::new(&config.actions),
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

    /// How heavily the process is loaded.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// What assistants are saying at this moment.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// What people's clients are asked to do.
    pub fn actions(&self) -> &ActionsHandle {
        &self.actions
    }

    /// What ended lately.
    pub(super) fn endings(&self) -> &Endings {
        &self.endings
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

    /// How many listen and type in all rooms together.
    pub fn counts(&self) -> RoomCounts {
        let mut counts = RoomCounts::default();
        for handle in &self.map {
            counts.listeners += handle.listeners();
            counts.typing += handle.typing();
        }
        counts
    }

    /// Whether no room is in memory.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The rooms in memory, each with its listeners and the commands it has in hand.
    #[cfg(test)]
    pub(crate) fn held(&self) -> Vec<(RoomId, usize, usize)> {
        self.map.iter().map(|room| (*room.key(), room.listeners(), room.in_hand())).collect()
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
    pub fn submit(self: &Arc<Self>, room: RoomId, by: Principal, command: Command, mut sink: ReplySink) {
        match self.place(room) {
            Ok((handle, permit)) => {
                sink.in_room(permit);
                handle.tell(RoomMsg::Submit { by, command, sink });
            }
            Err(rejection) => sink.answer(Err(rejection)),
        }
    }

    /// Hands a subscription to its room; answered `overloaded` like a command.
    pub fn subscribe(self: &Arc<Self>, mut subscribe: Subscribe) {
        match self.place(subscribe.slot().room) {
            Ok((handle, permit)) => {
                subscribe.in_room(permit);
                handle.tell(RoomMsg::Subscribe(subscribe));
            }
            Err(rejection) => subscribe.refuse(rejection),
        }
    }

    /// The room, started if need be, and a place in its queue. The map's shard stays locked until the message is sent.
    fn place(
        self: &Arc<Self>,
        room: RoomId,
    ) -> Result<(RefMut<'_, RoomId, RoomHandle>, OwnedSemaphorePermit), Rejection> {
        let handle = match self.map.entry(room) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => {
                let Ok(loading) = Arc::clone(&self.loading).try_acquire_owned() else {
                    return Err(Rejection::overloaded());
                };
                let generation = self.generations.fetch_add(1, Ordering::Relaxed);
                entry.insert(Room::start(room, generation, Arc::clone(self), &self.core, loading))
            }
        };
        let permit = handle.permit()?;
        Ok((handle, permit))
    }

    /// Shows that somebody types, or stopped. Ephemeral: a room that has too much to do lets it go.
    pub fn typing(&self, room: RoomId, conn: ConnId, person: Person, typing: TypingChange) {
        if let Some(handle) = self.map.get(&room)
            && let Ok(permit) = handle.permit()
        {
            handle.tell(RoomMsg::Typing { conn, person, typing, _permit: permit });
        }
    }

    /// A socket has the answer to its subscription.
    pub fn confirmed(&self, room: RoomId, conn: ConnId) {
        self.tell(room, RoomMsg::Confirmed { conn });
    }

    /// A socket is off the room's list.
    pub fn left(&self, room: RoomId, conn: ConnId, join: u64) {
        self.tell(room, RoomMsg::Left { conn, join });
    }

    /// An event was committed. A room that isn't in memory will read it when it is loaded.
    pub fn route(&self, recorded: Recorded) {
        let room = recorded.event.room;
        // The mark is told in its reader's inbox; the room it is about counts with it.
        if let (EventBody::ReadMarked { room, .. }, Some(user)) = (&recorded.event.body, recorded.event.actor)
        {
            self.tell(*room, RoomMsg::Read { user });
        }
        self.tell(room, RoomMsg::Committed(recorded));
    }

    /// An answer has more text.
    pub fn said(&self, answer: &Arc<Answer>) {
        self.tell(answer.room, RoomMsg::Said(Arc::clone(answer)));
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

    /// A room doesn't exist, or its memory can't be trusted: the next message loads it anew, its subscribers resync. Called by the
    /// room itself or after its end, so that nothing it told the hubs comes after this.
    pub fn forget(&self, room: RoomId, generation: u64) {
        if self.map.remove_if(&room, |_, handle| handle.generation() == generation).is_some() {
            for hub in self.hubs() {
                hub.tell(HubMsg::RoomLost { room });
            }
        }
        metrics::rooms(self.map.len());
    }

    /// A hub lost what it knew: nobody listens by it any more.
    pub fn hub_lost(&self, hub: u16) {
        for handle in &self.map {
            handle.tell(RoomMsg::HubLost { hub });
        }
    }

    /// The outcome of a commit is unknown: what rooms remember may be behind. Each drops it, after what it has already.
    pub fn forget_all(&self) {
        for handle in &self.map {
            handle.tell(RoomMsg::Lost);
        }
    }
}

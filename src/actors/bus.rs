//! The one door to the actors: WebSocket, REST and bots submit the same commands here.

use super::actions::ActionsHandle;
use super::admission::Admission;
use super::bans::Bans;
use super::hub::HubMsg;
use super::load::Load;
use super::registry::Rooms;
use super::reply::{Asked, ReplySink};
use super::sequencer::{Append, SequencerHandle, rejection_of};
use super::sockets::Sockets;
use crate::domain::{
    Ack, Command, Enrolment, Origin, PresenceState, Principal, Rejection, RejectionCode, RoomId,
    SessionChange, UserId,
};
use crate::limits::{Limits, fill};
use crate::protocol::TraceId;
use crate::storage::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// Cheap to clone; shared by all threads.
#[derive(Clone)]
pub struct Bus {
    rooms: Arc<Rooms>,
    sockets: Arc<Sockets>,
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    bans: Arc<Bans>,
    draining: Arc<watch::Sender<bool>>,
}

impl Bus {
    /// The door to `rooms`.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        let config = &rooms.config().limits;
        Self {
            sockets: Arc::default(),
            limits: Arc::new(Limits::new(config)),
            admission: Arc::new(Admission::new(config)),
            rooms,
            bans: Arc::default(),
            draining: Arc::new(watch::Sender::new(false)),
        }
    }

    /// The rooms behind it.
    pub fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// The sockets that are open.
    pub fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// What senders may do.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The line in front of the handshakes.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Who is let in from nowhere.
    pub fn bans(&self) -> &Arc<Bans> {
        &self.bans
    }

    /// What people's clients are asked to do.
    pub fn actions(&self) -> &ActionsHandle {
        self.rooms.actions()
    }

    /// How heavily the process is loaded.
    pub fn load(&self) -> &Load {
        self.rooms.load()
    }

    /// Carries out a command and waits for its outcome.
    pub async fn submit(&self, by: Principal, command: Command, trace: TraceId) -> Result<Ack, Rejection> {
        let (sink, outcome) = ReplySink::request(Asked::command(&by.person, &command, trace));
        self.post(by, command, sink);
        outcome.await.unwrap_or_else(|_| Err(Rejection::unavailable()))
    }

    /// Carries out a command; the outcome goes to `sink`.
    pub fn post(&self, by: Principal, command: Command, sink: ReplySink) {
        if self.load().is_read_only() {
            return sink.answer(Err(Rejection::read_only()));
        }
        match self.limits.command(&by.person, &command, Instant::now()) {
            Ok(()) => self.pass_on(by, command, sink),
            Err(rejection) if rejection.code == RejectionCode::DuplicateMessage => {
                self.unless_known(by, command, sink, rejection);
            }
            Err(rejection) => sink.answer(Err(rejection)),
        }
    }

    /// What looks like one time too many may be a retry of what was said long ago: then it gets the original answer. It
    /// writes nothing, so it may be late.
    fn unless_known(&self, by: Principal, command: Command, sink: ReplySink, rejection: Rejection) {
        let Command::PostMessage { room, client_message_id, .. } = &command else {
            return sink.answer(Err(rejection));
        };
        let (bus, room, id) = (self.clone(), *room, *client_message_id);
        actix_rt::spawn(async move {
            match bus.rooms.store().was_posted(room, by.person.id, id).await {
                Ok(true) => bus.pass_on(by, command, sink),
                Ok(false) => sink.answer(Err(rejection)),
                Err(error) => sink.answer(Err(rejection_of(&error))),
            }
        });
    }

    fn pass_on(&self, by: Principal, command: Command, sink: ReplySink) {
        match command.room().or_else(|| self.rooms.commons()) {
            Some(room) => self.rooms.submit(room, by, command, sink),
            None => sink.answer(Err(Rejection::not_found("account"))),
        }
    }

    /// Makes somebody a user.
    pub async fn enrol(
        &self,
        enrolment: Enrolment,
        origin: Origin,
        trace: TraceId,
    ) -> Result<Ack, Rejection> {
        let outcome = self.append(Write::Enrol { enrolment, origin }, Asked::enrolment(trace)).await;
        if let Err(error) = self.rooms.find_commons().await {
            tracing::warn!(%error, "the commons can't be read");
        }
        outcome
    }

    /// Begins or ends sessions. Once it is answered, sockets of sessions that ended hear nothing more (AUTH-15).
    pub async fn change_sessions(
        &self,
        change: SessionChange,
        origin: Origin,
        trace: TraceId,
    ) -> Result<Ack, Rejection> {
        let asked = Asked::sessions(&change, trace);
        let ack = self.append(Write::Session { change, origin }, asked).await?;
        if let Ack::SessionsEnded(_) | Ack::TokenReused = ack {
            self.settled().await;
        }
        Ok(ack)
    }

    /// Hands over what is no room's business.
    async fn append(&self, write: Write, asked: Asked) -> Result<Ack, Rejection> {
        if self.load().is_read_only() {
            return Err(Rejection::read_only());
        }
        let (sink, outcome) = ReplySink::request(asked);
        match self.rooms.sequencer() {
            Some(sequencer) => sequencer.append(Append { write, sink }),
            None => sink.answer(Err(Rejection::unavailable())),
        }
        outcome.await.unwrap_or_else(|_| Err(Rejection::unavailable()))
    }

    /// What is shown of the user.
    pub fn presence(&self, user: UserId) -> PresenceState {
        self.rooms.presence().state(user)
    }

    /// After each commit the rooms that have new events.
    pub fn tail(&self) -> broadcast::Receiver<Arc<[RoomId]>> {
        self.rooms.tail()
    }

    /// Writes that aren't answered yet.
    pub fn pending(&self) -> usize {
        self.rooms.sequencer().map_or(0, SequencerHandle::depth)
    }

    /// How full the queue of writes and the fullest hub are, in thousandths.
    pub fn fills(&self) -> (u64, u64) {
        let config = self.rooms.config();
        let fullest = self.rooms.hubs().iter().map(|hub| hub.waiting()).max().unwrap_or_default();
        (fill(self.pending(), config.storage.write_queue), fill(fullest, config.rooms.hub_backlog))
    }

    /// Whether the process is on its way out.
    pub fn draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the process is on its way out.
    pub async fn leaving(&self) {
        let mut draining = self.draining.subscribe();
        // The sender is ours: it lives as long as we do.
        drop(draining.wait_for(|draining| *draining).await);
    }

    /// Begins the way out: no new sockets, and every client is told to come back after a delay of its own.
    pub fn drain(&self, spread: Duration) {
        self.draining.send_replace(true);
        self.admission.close();
        // Wakes those who wait for something new; they see that nothing will come.
        self.rooms.committed(Arc::from([]));
        for hub in self.rooms.hubs() {
            hub.tell(HubMsg::Restart { spread });
        }
    }
}

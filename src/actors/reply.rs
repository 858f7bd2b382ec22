//! Who waits for the outcome of a command. Every command is answered exactly once, whatever happens on the way.

use super::hub::{ConnId, HubHandle};
use super::outbox::Class;
use crate::domain::{Ack, Command, MessageId, Person, Rejection, RoomId, SessionChange, UserId};
use crate::protocol::{RequestId, TraceId, encode, websocket};
use crate::telemetry::metrics;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::field::display;

/// Where the answer goes. Dropped without one, it answers `unavailable`: then the outcome is unknown, and repeating the
/// command harmless.
pub struct ReplySink {
    to: Option<Asker>,
    asked: Asked,
    /// What the command takes in its room's queue and in that of writes. Given back before the answer is: whoever has it may ask
    /// again at once.
    places: [Option<OwnedSemaphorePermit>; 2],
}

/// Who asked for what, for the log line of the answer (OBS-02).
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    trace: TraceId,
    command: &'static str,
    user: Option<UserId>,
    room: Option<RoomId>,
}

impl Asked {
    /// A command of somebody.
    pub fn command(actor: &Person, command: &Command, trace: TraceId) -> Self {
        Self { trace, command: command.kind(), user: Some(actor.id), room: command.room() }
    }

    /// To become somebody.
    pub fn enrolment(trace: TraceId) -> Self {
        Self { trace, command: "enrol", user: None, room: None }
    }

    /// What came of an action request.
    pub fn result(user: UserId, trace: TraceId) -> Self {
        Self { trace, command: "action.result", user: Some(user), room: None }
    }

    /// A change of sessions.
    pub fn sessions(change: &SessionChange, trace: TraceId) -> Self {
        Self { trace, command: change.kind(), user: change.user(), room: None }
    }

    fn note(&self, request_id: Option<&RequestId>, outcome: &Result<Ack, Rejection>) {
        let Self { trace, command, user, room } = self;
        // As text, as ids are in every line.
        let (user, room) = (user.map(display), room.map(display));
        let request_id = request_id.map(AsRef::<str>::as_ref);
        match outcome {
            Ok(ack) => {
                let message = message_of(ack).map(display);
                tracing::debug!(trace_id = %trace, request_id, user.id = user, room.id = room, message.id = message, command, "done");
            }
            Err(rejection) => {
                let code = rejection.code.as_str();
                tracing::debug!(trace_id = %trace, request_id, user.id = user, room.id = room, command, code, "refused");
            }
        }
    }
}

fn message_of(ack: &Ack) -> Option<MessageId> {
    match ack {
        Ack::Posted { position, .. } => Some(position.id),
        Ack::Asked(started) => Some(started.message),
        Ack::Replayed(original) => message_of(original),
        Ack::Edited { message, .. } | Ack::Deleted { message, .. } => Some(*message),
        _ => None,
    }
}

enum Asker {
    Socket { hub: HubHandle, conn: ConnId, request_id: Option<RequestId> },
    Request(oneshot::Sender<Result<Ack, Rejection>>),
}

impl ReplySink {
    /// Answers a frame of a socket.
    pub fn socket(hub: HubHandle, conn: ConnId, request_id: Option<RequestId>, asked: Asked) -> Self {
        Self { to: Some(Asker::Socket { hub, conn, request_id }), asked, places: [None, None] }
    }

    /// Answers a call that waits.
    pub fn request(asked: Asked) -> (Self, oneshot::Receiver<Result<Ack, Rejection>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { to: Some(Asker::Request(sender)), asked, places: [None, None] }, receiver)
    }

    /// The trace of the request.
    pub fn trace(&self) -> TraceId {
        self.asked.trace
    }

    /// Takes the command's place in its room's queue along.
    pub fn in_room(&mut self, place: OwnedSemaphorePermit) {
        self.places[0] = Some(place);
    }

    /// Takes the command's place in the queue of writes along.
    pub fn in_line(&mut self, place: OwnedSemaphorePermit) {
        self.places[1] = Some(place);
    }

    /// Gives the answer.
    pub fn answer(mut self, outcome: Result<Ack, Rejection>) {
        self.give(outcome);
    }

    fn give(&mut self, outcome: Result<Ack, Rejection>) {
        let Some(asker) = self.to.take() else { return };
        self.places = [None, None];
        if let Err(rejection) = &outcome {
            metrics::rejection(rejection.code);
        }
        let request_id = match &asker {
            Asker::Socket { request_id, .. } => request_id.as_ref(),
            Asker::Request(_) => None,
        };
        self.asked.note(request_id, &outcome);
        match asker {
            Asker::Socket { hub, conn, request_id } => {
                let text = match outcome {
                    Ok(ack) => encode::reply(request_id.as_deref(), &encode::ack(&ack), self.trace()),
                    Err(rejection) => encode::error(request_id.as_deref(), &rejection, self.trace()),
                };
                hub.send(conn, Class::Control, websocket::text(&text));
            }
            Asker::Request(sender) => {
                if sender.send(outcome).is_err() {
                    tracing::debug!(trace_id = %self.trace(), "nobody waits for the answer any more");
                }
            }
        }
    }
}

impl Drop for ReplySink {
    fn drop(&mut self) {
        self.give(Err(Rejection::unavailable()));
    }
}

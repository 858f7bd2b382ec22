//! Who waits for the outcome of a command. Every command is answered exactly once, whatever happens on the way.

use super::hub::{ConnId, HubHandle};
use super::outbox::Class;
use crate::domain::{Ack, Rejection};
use crate::protocol::{RequestId, TraceId, encode, websocket};
use crate::telemetry::metrics;
use tokio::sync::oneshot;

/// Where the answer goes. Dropped without one, it answers `unavailable`: then the outcome is unknown, and repeating the
/// command harmless.
pub struct ReplySink {
    to: Option<Asker>,
    trace: TraceId,
    command: &'static str,
}

enum Asker {
    Socket { hub: HubHandle, conn: ConnId, request_id: Option<RequestId> },
    Request(oneshot::Sender<Result<Ack, Rejection>>),
}

impl ReplySink {
    /// Answers a frame of a socket.
    pub fn socket(
        hub: HubHandle,
        conn: ConnId,
        request_id: Option<RequestId>,
        trace: TraceId,
        command: &'static str,
    ) -> Self {
        Self { to: Some(Asker::Socket { hub, conn, request_id }), trace, command }
    }

    /// Answers a call that waits.
    pub fn request(
        trace: TraceId,
        command: &'static str,
    ) -> (Self, oneshot::Receiver<Result<Ack, Rejection>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { to: Some(Asker::Request(sender)), trace, command }, receiver)
    }

    /// The trace of the request.
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// Gives the answer.
    pub fn answer(mut self, outcome: Result<Ack, Rejection>) {
        self.give(outcome);
    }

    fn give(&mut self, outcome: Result<Ack, Rejection>) {
        let Some(asker) = self.to.take() else { return };
        match &outcome {
            Ok(_) => tracing::debug!(trace_id = %self.trace, command = self.command, "done"),
            Err(rejection) => {
                metrics::rejection(rejection.code);
                tracing::debug!(trace_id = %self.trace, command = self.command, code = rejection.code.as_str(), "refused");
            }
        }
        match asker {
            Asker::Socket { hub, conn, request_id } => {
                let text = match outcome {
                    Ok(ack) => encode::reply(request_id.as_deref(), &encode::ack(&ack), self.trace),
                    Err(rejection) => encode::error(request_id.as_deref(), &rejection, self.trace),
                };
                hub.send(conn, Class::Control, websocket::text(&text));
            }
            Asker::Request(sender) => {
                if sender.send(outcome).is_err() {
                    tracing::debug!(trace_id = %self.trace, "nobody waits for the answer any more");
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

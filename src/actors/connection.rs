//! One actor per socket, on its worker's thread: it turns frames into commands. The way out is the hub's.

use super::bus::Bus;
use super::hub::Board;
use super::peer::{Peer, Step};
use super::reply::{Asked, ReplySink};
use super::sockets::SocketPermit;
use super::watch;
use crate::actors::outbox::Class;
use crate::domain::{Rejection, RoomId, Target, may};
use crate::limits::{FrameVerdict, Spent};
use crate::protocol::client_frame::{BadFrame, TypingChange};
use crate::protocol::{ClientFrame, CloseCode, Request, RequestId, TraceId, encode, websocket};
use crate::telemetry::metrics;
use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler};
use bytes::Bytes;
use futures_util::Stream;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// What a socket gave.
#[derive(Debug)]
pub enum Inbound {
    Frame(Result<ClientFrame, BadFrame>),
    Ping(Bytes),
    Pong,
    /// The peer takes its leave.
    Close,
    /// The bytes broke the protocol.
    Broken(CloseCode),
}

/// A socket that is in its hub's books for as long as this is kept: whoever has it may end in whatever way, a future that is let go
/// or a panic even, and nothing of the socket is left behind (CONN-17).
pub struct Opened {
    peer: Rc<Peer>,
    board: Board,
}

impl Opened {
    /// Enters the socket.
    pub fn new(peer: Rc<Peer>, board: Board) -> Self {
        board.borrow_mut().open(Rc::clone(&peer));
        Self { peer, board }
    }

    /// The socket.
    pub fn peer(&self) -> &Rc<Peer> {
        &self.peer
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let code = self.peer.outbox.closing().map(CloseCode::code);
        tracing::debug!(conn.id = %self.peer.id, user.id = %self.peer.user(), code, "socket closed");
        self.board.borrow_mut().close(self.peer.id);
        // One that was told why it ends has a while to hear it.
        if code.is_none() {
            self.peer.outbox.shut_down();
        }
    }
}

/// See the module.
pub struct Connection {
    peer: Rc<Peer>,
    board: Board,
    _opened: Opened,
    bus: Bus,
    heartbeat: Duration,
    /// Invalid frames that are still forgiven.
    patience: u32,
    spent: Spent,
    _permit: SocketPermit,
}

impl Connection {
    /// Starts the connection: `welcome` goes out first, then `inbound` is read until it ends.
    pub fn start(
        opened: Opened,
        bus: Bus,
        permit: SocketPermit,
        welcome: &str,
        inbound: impl Stream<Item = Vec<Inbound>> + 'static,
    ) {
        let (peer, board) = (Rc::clone(&opened.peer), Rc::clone(&opened.board));
        let config = bus.rooms().config();
        let (heartbeat, patience) = (config.heartbeat.interval, config.socket.invalid_frames);
        // Before its client hears anything: what that does then with another socket is later than this.
        bus.actions().came(peer.user(), peer.id, &peer.used);
        {
            let mut board = board.borrow_mut();
            board.push(&peer, Class::Control, websocket::text(welcome));
            peer.welcomed();
            board.flush();
        }
        let (spent, _opened, _permit) = (Spent::default(), opened, permit);
        let connection = Self { peer, board, _opened, bus, heartbeat, patience, spent, _permit };
        Self::create(|ctx| {
            ctx.add_stream(inbound);
            connection
        });
    }

    fn on_frame(&mut self, frame: Result<ClientFrame, BadFrame>) {
        let trace = TraceId::random();
        if let Err(rejection) = self.allows_frame() {
            metrics::frame_in("refused");
            let request_id = match frame {
                Ok(ClientFrame { request_id, .. }) | Err(BadFrame { request_id, .. }) => request_id,
            };
            return self.refuse(request_id, trace, &rejection);
        }
        match frame {
            Ok(ClientFrame { request_id, request }) => self.on_request(request, request_id, trace),
            Err(BadFrame { request_id, rejection }) => {
                metrics::frame_in("invalid");
                self.refuse(request_id, trace, &rejection);
                self.patience = self.patience.saturating_sub(1);
                if self.patience == 0 {
                    self.close(CloseCode::InvalidPayload);
                }
            }
        }
    }

    /// Counts a frame; a socket that goes on over its limit is closed.
    fn allows_frame(&mut self) -> Result<(), Rejection> {
        match self.bus.limits().frame(&mut self.spent, Instant::now()) {
            FrameVerdict::Fine => Ok(()),
            FrameVerdict::TooMany(wait) => Err(Rejection::rate_limited("frames", wait)),
            FrameVerdict::Hopeless => {
                self.close(CloseCode::RateLimited);
                Err(Rejection::rate_limited("frames", self.heartbeat))
            }
        }
    }

    fn on_request(&mut self, request: Request, request_id: Option<RequestId>, trace: TraceId) {
        let kind = request.kind();
        metrics::frame_in(kind);
        if !matches!(request, Request::Ping | Request::Pong | Request::Presence { away: true }) {
            self.bus.actions().used(&self.peer.used, Instant::now());
        }
        tracing::debug!(
            trace_id = %trace,
            request_id = request_id.as_deref(),
            conn.id = %self.peer.id,
            user.id = %self.peer.user(),
            room.id = request.room().map(tracing::field::display),
            kind,
            "frame"
        );
        if let Err(rejection) = may(&self.peer.identity.person, request.action(), Target::Nothing) {
            return self.refuse(request_id, trace, &rejection);
        }
        match request {
            Request::Command(command) => {
                let hub = self.board.borrow().hub().clone();
                let by = self.peer.identity.principal();
                let asked = Asked::command(&by.person, &command, trace);
                let sink = ReplySink::socket(hub, self.peer.id, request_id, asked);
                self.bus.post(by, command, sink);
            }
            Request::ActionResult(answered) => {
                let hub = self.board.borrow().hub().clone();
                let user = self.peer.user();
                let sink = ReplySink::socket(hub, self.peer.id, request_id, Asked::result(user, trace));
                match answered.of(user) {
                    Ok(result) => self.bus.actions().answer(result, sink),
                    Err(rejection) => sink.answer(Err(rejection)),
                }
            }
            Request::Subscribe { rooms, epoch, batch } => {
                if let Err(rejection) =
                    self.bus.limits().subscribe(&mut self.spent, rooms.len(), Instant::now())
                {
                    return self.refuse(request_id, trace, &rejection);
                }
                self.step(Step::Subscribe { request_id, trace, rooms, epoch, batch });
            }
            Request::Unsubscribe { room } => {
                self.step(Step::Unsubscribe { request_id, trace, room });
            }
            Request::Typing { room, change } => {
                self.on_typing(room, change, request_id, trace);
            }
            Request::Presence { away } => {
                let mut board = self.board.borrow_mut();
                board.set_away(&self.peer, away);
                if request_id.is_some() {
                    board.reply(&self.peer, request_id, trace, "{}");
                }
            }
            Request::Ping => {
                let pong = websocket::text(encode::PONG);
                self.board.borrow_mut().push(&self.peer, Class::Control, pong);
            }
            Request::Pong => {}
        }
    }

    fn on_typing(
        &mut self,
        room: RoomId,
        change: TypingChange,
        request_id: Option<RequestId>,
        trace: TraceId,
    ) {
        if !self.peer.hears(room) {
            let rejection = Rejection::invalid("room_id", "is no room this socket is subscribed to");
            return self.refuse(request_id, trace, &rejection);
        }
        let person = self.peer.identity.person.clone();
        self.bus.rooms().typing(room, self.peer.id, person, change);
        if request_id.is_some() {
            self.board.borrow_mut().reply(&self.peer, request_id, trace, "{}");
        }
    }

    fn step(&mut self, step: Step) {
        self.board.borrow_mut().step(&self.peer, step);
    }

    fn refuse(&mut self, request_id: Option<RequestId>, trace: TraceId, rejection: &Rejection) {
        metrics::rejection(rejection.code);
        tracing::debug!(trace_id = %trace, conn.id = %self.peer.id, user.id = %self.peer.user(), %rejection, "frame refused");
        let frame = websocket::text(&encode::error(request_id.as_deref(), rejection, trace));
        self.board.borrow_mut().push(&self.peer, Class::Control, frame);
    }

    fn close(&self, code: CloseCode) {
        self.board.borrow_mut().flush();
        self.peer.outbox.close(code, code.name());
    }
}

impl Actor for Connection {
    type Context = Context<Self>;
}

/// The peer reads no more, or has said goodbye: nothing is left to wait for.
impl Drop for Connection {
    fn drop(&mut self) {
        self.peer.outbox.shut_down();
    }
}

impl StreamHandler<Vec<Inbound>> for Connection {
    fn handle(&mut self, inbound: Vec<Inbound>, ctx: &mut Self::Context) {
        if watch::contained("connection", || self.take(inbound)).is_err() {
            // It may have failed in the middle of the board.
            self.board.borrow_mut().begin_anew();
            ctx.stop();
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Connection {
    fn take(&mut self, inbound: Vec<Inbound>) {
        #[cfg(test)]
        super::simulation::may_fail("connection");
        // What arrives after we took our leave changes nothing any more, but for the peer's own goodbye.
        if self.peer.outbox.closing().is_some() {
            if inbound.iter().any(|one| matches!(one, Inbound::Close)) {
                self.peer.outbox.part();
            }
            return;
        }
        self.peer.heard(Instant::now(), self.heartbeat);
        for one in inbound {
            match one {
                Inbound::Frame(frame) => self.on_frame(frame),
                Inbound::Ping(_) if self.allows_frame().is_err() => {}
                Inbound::Ping(payload) => {
                    let pong = websocket::pong(&payload);
                    self.board.borrow_mut().push(&self.peer, Class::Control, pong);
                }
                Inbound::Pong => {}
                Inbound::Close => {
                    self.close(CloseCode::Normal);
                    self.peer.outbox.part();
                }
                Inbound::Broken(code) => self.close(code),
            }
            if self.peer.outbox.closing().is_some() {
                break;
            }
        }
        self.board.borrow_mut().flush();
    }
}

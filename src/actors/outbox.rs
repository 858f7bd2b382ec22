//! One socket's way out: a queue bounded in bytes, written directly while the socket takes it.
//!
//! Lives on the worker's thread. Whoever pushes marks the outbox dirty; the hub flushes all dirty ones once per turn of the
//! loop, so that frames that became ready together leave in one write. Only when the socket takes no more does a task of
//! its own wait for it.

use crate::config;
use crate::domain::{RoomId, Seq};
use crate::protocol::outgoing::OutType;
use crate::protocol::{CloseCode, encode, websocket};
use crate::telemetry::metrics::{self, SlowConsumer};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

/// What a frame is, which decides its fate when the socket doesn't keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Replies, errors, `welcome`: never dropped; too much of it closes the socket.
    Control,
    /// Durable: `count` events of a room in one piece, from `first` on; dropped only for a `room.resync`. `alike`: all of one type.
    Events { room: RoomId, first: Seq, count: u32, alike: bool },
    /// Ephemeral: dropped first.
    Signal,
}

impl Class {
    /// Counts what is out: `bytes` of this class, whole.
    fn count(self, bytes: &[u8]) {
        match self {
            Self::Events { alike: false, .. } => {
                OutType::of_each(bytes).for_each(|kind| metrics::frames_out(kind, 1));
            }
            Self::Events { count, .. } => metrics::frames_out(OutType::of(bytes), u64::from(count)),
            Self::Control | Self::Signal => metrics::frames_out(OutType::of(bytes), 1),
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the queue. `true`: the outbox was clean and has to be flushed.
    Queued(bool),
    /// A signal nobody will miss.
    Dropped,
    /// The room's events no longer fit: the client was told to resync and gets no more of this room.
    Resync,
    /// The socket is closed or closing.
    Closed,
}

struct Item {
    class: Class,
    bytes: Bytes,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    cost: usize,
    /// Bytes of the front item that are on the wire already; if there are any it has to be finished: the frame, or the frames, of it.
    begun: usize,
}

/// See the module.
pub struct Outbox {
    socket: OwnedWriteHalf,
    queue: RefCell<Queue>,
    dirty: Cell<bool>,
    draining: Cell<bool>,
    closing: Cell<Option<CloseCode>>,
    closed: Cell<bool>,
    budget: usize,
    coalesce: usize,
    stall: Duration,
    linger: Duration,
    /// Bytes the kernel took.
    #[cfg(test)]
    pub(crate) sent: Cell<usize>,
}

/// What a queued frame costs besides its bytes: many small ones are not for free.
const ITEM: usize = 96;

/// The most buffers one write hands to the kernel.
const MAX_SLICES: usize = 16;

impl Outbox {
    /// An outbox on the writing half of a socket.
    pub fn new(socket: OwnedWriteHalf, limits: &config::Socket) -> Rc<Self> {
        Rc::new(Self {
            socket,
            queue: RefCell::default(),
            dirty: Cell::new(false),
            draining: Cell::new(false),
            closing: Cell::new(None),
            closed: Cell::new(false),
            budget: limits.outbox_bytes,
            coalesce: limits.coalesce.clamp(1, MAX_SLICES),
            stall: limits.stall,
            linger: limits.linger,
            #[cfg(test)]
            sent: Cell::default(),
        })
    }

    /// Queues a frame. The shared bytes aren't copied.
    pub fn push(self: &Rc<Self>, class: Class, bytes: Bytes) -> Pushed {
        if self.closing.get().is_some() || self.closed.get() {
            return Pushed::Closed;
        }
        if self.backlog() + bytes.len() + ITEM > self.budget && !self.draining.get() && self.write() {
            // The socket took it all: much at once is not the same as too much.
            return self.enqueue(class, bytes);
        }
        let mut queue = self.queue.borrow_mut();
        let after = queue.cost + bytes.len() + ITEM;
        match class {
            // Signals give way while there is still room for what counts.
            Class::Signal if after > self.budget / 2 => {
                metrics::signals_dropped(1);
                Pushed::Dropped
            }
            Class::Events { room, first, .. } if after > self.budget => {
                let from = queue.drop_events(room).unwrap_or(first);
                metrics::slow_consumer(SlowConsumer::Resync);
                queue.put(Class::Control, websocket::text(&encode::resync(room, from)));
                if queue.cost > self.budget.saturating_mul(2) {
                    drop(queue);
                    self.give_up();
                    return Pushed::Closed;
                }
                Pushed::Resync
            }
            Class::Control if after > self.budget.saturating_mul(2) => {
                drop(queue);
                self.give_up();
                Pushed::Closed
            }
            Class::Control | Class::Events { .. } | Class::Signal => {
                drop(queue);
                self.enqueue(class, bytes)
            }
        }
    }

    /// Writes past the queue when nothing waits in it and the socket takes it all, or at least begins to. False: it has to be
    /// pushed.
    pub fn send(self: &Rc<Self>, class: Class, bytes: &Bytes) -> bool {
        // Neither dirty nor draining: the queue is empty.
        if self.dirty.get() || self.draining.get() || self.closing.get().is_some() || self.closed.get() {
            return false;
        }
        match self.try_write(bytes) {
            Ok(written) => {
                #[cfg(test)]
                self.sent.set(self.sent.get() + written);
                if written < bytes.len() {
                    let mut queue = self.queue.borrow_mut();
                    queue.put(class, bytes.clone());
                    queue.advance(written);
                    drop(queue);
                    self.flush();
                } else {
                    metrics::bytes_out(written);
                    class.count(bytes);
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.shut_down();
                true
            }
        }
    }

    /// Asks the kernel first and tokio only when it says no: that spares the runtime's bookkeeping for each of many writes.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let stream: &tokio::net::TcpStream = self.socket.as_ref();
        match socket2::SockRef::from(stream).send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.try_write(bytes),
            result => result,
        }
    }

    /// The answer to a new subscription of the room goes out next and covers what waits of it: sent before, it would only be
    /// heard twice, and dropped later, a resync would begin too early.
    pub fn supersede(&self, room: RoomId) {
        let mut queue = self.queue.borrow_mut();
        if !queue.items.is_empty() {
            queue.drop_events(room);
        }
    }

    fn enqueue(&self, class: Class, bytes: Bytes) -> Pushed {
        self.queue.borrow_mut().put(class, bytes);
        Pushed::Queued(!self.dirty.replace(true))
    }

    /// Writes as much as the socket takes. What is left waits for the socket in a task of its own.
    pub fn flush(self: &Rc<Self>) {
        self.dirty.set(false);
        if !self.draining.get() && !self.write() {
            self.draining.set(true);
            actix_rt::spawn(Rc::clone(self).drain());
        }
    }

    /// Takes leave: what is queued goes out, then the close frame; after a while the socket is shut down whatever came of it.
    pub fn close(self: &Rc<Self>, code: CloseCode, reason: &str) {
        if self.closed.get() || self.closing.get().is_some() {
            return;
        }
        self.queue.borrow_mut().put(Class::Control, websocket::close(code.code(), reason));
        self.closing.set(Some(code));
        self.flush();
        self.shut_down_after(self.linger);
    }

    /// Ends it with nothing more said than why: what is queued is let go, but for a frame that is partly on the wire (AUTH-15).
    pub fn cut(self: &Rc<Self>, code: CloseCode) {
        if self.closed.get() {
            return;
        }
        if self.closing.get().is_none() {
            self.queue.borrow_mut().keep_begun();
            return self.close(code, code.reason());
        }
        // On its way out already. The last item is the goodbye, and it may be what is partly on the wire.
        let mut queue = self.queue.borrow_mut();
        let goodbye = if queue.items.len() > 1 { queue.items.pop_back() } else { None };
        if let Some(goodbye) = goodbye {
            queue.keep_begun();
            queue.put(goodbye.class, goodbye.bytes);
        }
    }

    /// The peer answers our close frame by closing; the connection then ends by itself and this finds it ended.
    fn shut_down_after(self: &Rc<Self>, wait: Duration) {
        let this = Rc::clone(self);
        actix_rt::spawn(async move {
            tokio::time::sleep(wait).await;
            this.shut_down();
        });
    }

    /// Both sides have taken their leave: nothing is left to wait for once our close frame is out.
    pub fn part(&self) {
        if self.backlog() == 0 {
            self.shut_down();
        }
    }

    /// Why the socket is being closed, once it is.
    pub fn closing(&self) -> Option<CloseCode> {
        self.closing.get()
    }

    #[cfg(test)]
    pub(crate) fn is_shut_down(&self) -> bool {
        self.closed.get()
    }

    /// What waits, in bytes, with what it takes to keep it.
    pub fn backlog(&self) -> usize {
        self.queue.borrow().cost
    }

    /// Ends both directions now. The reading side sees the end of the stream.
    pub fn shut_down(&self) {
        if self.closed.replace(true) {
            return;
        }
        let stream: &tokio::net::TcpStream = self.socket.as_ref();
        let socket = socket2::SockRef::from(stream);
        if self.backlog() > 0 {
            // What the peer doesn't read would stay in the kernel for minutes: cut it off with a reset.
            drop(socket.set_linger(Some(Duration::ZERO)));
        }
        *self.queue.borrow_mut() = Queue::default();
        if let Err(error) = socket.shutdown(std::net::Shutdown::Both) {
            tracing::trace!(%error, "socket was gone already");
        }
    }

    /// The peer doesn't read: everything queued is let go, it is told so if it ever reads again.
    fn give_up(self: &Rc<Self>) {
        metrics::slow_consumer(SlowConsumer::Closed);
        self.closing.set(Some(CloseCode::SlowConsumer));
        let mut queue = self.queue.borrow_mut();
        queue.keep_begun();
        queue.put(
            Class::Control,
            websocket::close(CloseCode::SlowConsumer.code(), CloseCode::SlowConsumer.name()),
        );
        drop(queue);
        self.shut_down_after(self.stall);
    }

    /// Writes until nothing is left (true) or the socket takes no more (false).
    fn write(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        while !queue.items.is_empty() {
            // One frame is the normal case, and a plain write is the cheaper call.
            let result = match queue.items.front() {
                Some(only) if queue.items.len() == 1 => {
                    self.try_write(only.bytes.get(queue.begun..).unwrap_or_default())
                }
                _ => self.write_many(&queue),
            };
            match result {
                Ok(written) => {
                    queue.advance(written);
                    #[cfg(test)]
                    self.sent.set(self.sent.get() + written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    drop(queue);
                    self.shut_down();
                    return true;
                }
            }
        }
        queue.rest();
        true
    }

    /// Hands the first frames to the kernel in one call.
    fn write_many(&self, queue: &Queue) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut begun) = (0, queue.begun);
        for (slice, item) in slices.iter_mut().take(self.coalesce).zip(&queue.items) {
            *slice = IoSlice::new(item.bytes.get(begun..).unwrap_or_default());
            (count, begun) = (count + 1, 0);
        }
        self.socket.try_write_vectored(slices.get(..count).unwrap_or_default())
    }

    /// Waits for a socket that took no more. A socket that takes nothing for the stall time is given up.
    async fn drain(self: Rc<Self>) {
        loop {
            match timeout(self.stall, self.socket.writable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break self.shut_down(),
                Err(_) if self.closing.get().is_some() => break self.shut_down(),
                Err(_) => self.give_up(),
            }
            if self.closed.get() || self.write() {
                break;
            }
        }
        self.draining.set(false);
        if self.closing.get() == Some(CloseCode::SlowConsumer) {
            self.shut_down();
        }
    }
}

impl Queue {
    fn put(&mut self, class: Class, bytes: Bytes) {
        self.cost += bytes.len() + ITEM;
        self.items.push_back(Item { class, bytes });
    }

    /// Takes `written` bytes off the front.
    fn advance(&mut self, mut written: usize) {
        self.cost -= written;
        metrics::bytes_out(written);
        while let Some(front) = self.items.front() {
            let left = front.bytes.len() - self.begun;
            if written < left {
                self.begun += written;
                break;
            }
            written -= left;
            self.begun = 0;
            self.cost -= ITEM;
            front.class.count(&front.bytes);
            self.items.pop_front();
        }
    }

    /// Gives memory back once empty: most sockets are idle most of the time.
    fn rest(&mut self) {
        self.items = VecDeque::new();
    }

    /// Takes out the room's events that aren't on the wire and returns the first one's seq.
    fn drop_events(&mut self, room: RoomId) -> Option<Seq> {
        let mut first = None;
        let mut index = 0;
        let begun = self.begun > 0;
        let mut freed = 0;
        self.items.retain(|item| {
            let on_the_wire = index == 0 && begun;
            index += 1;
            match item.class {
                Class::Events { room: of, first: seq, .. } if of == room && !on_the_wire => {
                    first.get_or_insert(seq);
                    freed += item.bytes.len() + ITEM;
                    false
                }
                _ => true,
            }
        });
        self.cost -= freed;
        first
    }

    /// Lets go of everything but a frame that is partly on the wire.
    fn keep_begun(&mut self) {
        self.items.truncate(usize::from(self.begun > 0));
        self.cost = self.items.front().map_or(0, |item| item.bytes.len() - self.begun + ITEM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let near = TcpStream::connect(listener.local_addr().expect("address")).await.expect("connects");
        (near, listener.accept().await.expect("accepts").0)
    }

    fn event(seq: i64, length: usize) -> (Class, Bytes) {
        let class = Class::Events { room: RoomId::new(1), first: Seq::new(seq), count: 1, alike: true };
        (class, websocket::text(&"x".repeat(length)))
    }

    #[actix_rt::test]
    async fn a_full_queue_drops_signals_then_trades_events_for_one_resync() {
        let (near, mut far) = pair().await;
        let (_read, write) = near.into_split();
        let limits = config::Socket { outbox_bytes: 200_000, ..config::Socket::default() };
        let outbox = Outbox::new(write, &limits);
        while outbox.backlog() == 0 {
            outbox.push(Class::Control, websocket::text(&"c".repeat(50_000)));
            outbox.flush();
        }
        let begun = outbox.backlog();
        let mut last = 0;
        let pushed = loop {
            last += 1;
            let (class, bytes) = event(last, 10_000);
            match outbox.push(class, bytes) {
                Pushed::Queued(_) => {}
                other => break other,
            }
            if outbox.backlog() > limits.outbox_bytes / 2 {
                assert_eq!(outbox.push(Class::Signal, websocket::text("s")), Pushed::Dropped);
            }
        };
        assert_eq!(pushed, Pushed::Resync);
        assert!(last > 5, "events were queued before");
        assert!(outbox.backlog() < begun + 200, "only the resync is left");
        outbox.flush();
        outbox.close(CloseCode::Normal, "bye");
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.expect("reads");
        let got = String::from_utf8_lossy(&got).into_owned();
        assert!(got.contains(r#"{"type":"room.resync","room_id":1,"from":1}"#), "told from where on");
        assert!(!got.contains('x'), "none of the room's events");
    }

    /// Proves AUTH-15.
    #[actix_rt::test]
    async fn who_is_cut_off_hears_why_and_nothing_that_waited() {
        for restarting in [false, true] {
            let (near, mut far) = pair().await;
            let (_read, write) = near.into_split();
            let outbox = Outbox::new(write, &config::Socket::default());
            while outbox.backlog() == 0 {
                outbox.push(Class::Control, websocket::text(&"c".repeat(50_000)));
                outbox.flush();
            }
            for seq in 1..10 {
                let (class, bytes) = event(seq, 10_000);
                assert!(matches!(outbox.push(class, bytes), Pushed::Queued(_)));
            }
            if restarting {
                outbox.close(CloseCode::Restart, "restart;delay_ms=1");
            }
            outbox.cut(CloseCode::SessionRevoked);
            assert_eq!(outbox.push(Class::Control, websocket::text("x")), Pushed::Closed);
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.expect("reads");
            let got = String::from_utf8_lossy(&got).into_owned();
            assert!(!got.contains('x'), "nothing that waited");
            let begun = got.bytes().filter(|byte| *byte == b'c').count();
            let why = if restarting { "restart;delay_ms=1" } else { "token_revoked" };
            assert!(got.ends_with(why), "restarting: {restarting}");
            assert_eq!(begun % 50_000, 0, "what was begun is finished");
        }
    }

    #[actix_rt::test]
    async fn a_peer_that_never_reads_is_let_go() {
        let (near, far) = pair().await;
        let (_read, write) = near.into_split();
        let limits = config::Socket { stall: Duration::from_millis(50), ..config::Socket::default() };
        let outbox = Outbox::new(write, &limits);
        let frame = websocket::text(&"x".repeat(60_000));
        let mut most = 0;
        for _ in 0..2_000 {
            if outbox.push(Class::Control, frame.clone()) == Pushed::Closed {
                break;
            }
            outbox.flush();
            most = most.max(outbox.backlog());
        }
        assert!(most <= 2 * limits.outbox_bytes, "{most}");
        assert_eq!(outbox.closing(), Some(CloseCode::SlowConsumer));
        while Rc::strong_count(&outbox) > 1 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(outbox.backlog(), 0);
        drop(far);
    }
}

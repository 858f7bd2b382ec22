//! Somebody's language model behind an OpenAI-compatible API: a real HTTP/1.1 server that answers as the test says, byte for byte, records what
//! it was asked, and knows who hung up.

mod play;
pub(crate) mod script;
mod tests;

use crate::harness::PATIENCE;
use loadtest::server::free_port;
use play::Played;
use script::{Script, says};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Counted from 1, over all connections.
    pub(crate) number: usize,
    /// On which connection, counted from 1: two requests on one were made by a client that keeps connections.
    pub(crate) connection: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// Null when the body is no JSON.
    pub(crate) json: Value,
    pub(crate) at: Instant,
}

impl Asked {
    /// What the messages say that have this role, in order.
    pub(crate) fn said_by(&self, role: &str) -> Vec<&str> {
        let messages = self.json["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        messages
            .iter()
            .filter(|message| message["role"] == role)
            .filter_map(|message| message["content"].as_str())
            .collect()
    }
}

/// How the answer to a request came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The script was played to its end, and the client was there.
    Answered,
    /// The client closed the connection before that.
    HungUp,
    /// The script, or the death of the upstream, cut it off.
    CutOff,
}

type Author = Arc<dyn Fn(&Asked) -> Script + Send + Sync>;

struct State {
    queue: VecDeque<Script>,
    default: Author,
    asked: Vec<Asked>,
    ended: Vec<Option<(Ended, Instant)>>,
    /// How many requests the test was told.
    told: usize,
    open: usize,
    most: usize,
    total: usize,
}

/// The server. Dropped, it is gone with all its connections.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    listening: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Listens. Until the test says otherwise it answers "Hello there." and a usage of 10 and 2 tokens.
    pub(crate) async fn start() -> Self {
        let state = State {
            queue: VecDeque::new(),
            default: Arc::new(|_| says(["Hello", " there."]).then_usage(10, 2)),
            asked: Vec::new(),
            ended: Vec::new(),
            told: 0,
            open: 0,
            most: 0,
            total: 0,
        };
        // One that stays its own while it is dead.
        let port = free_port().expect("a port");
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(state));
        let listening = Some(tokio::spawn(listens(listener, Arc::clone(&state))));
        Self { address, state, listening }
    }

    /// What a client takes for `base_url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The next request that nothing was scripted for is answered so; several wait in line.
    pub(crate) fn answers(&self, script: Script) -> &Self {
        self.state.send_modify(|state| state.queue.push_back(script));
        self
    }

    /// Every request that nothing is in line for is answered so.
    pub(crate) fn always_answers(&self, script: Script) -> &Self {
        self.always_answers_by(move |_| script.clone())
    }

    /// The same, by what was asked: for many at once, whose order nobody knows.
    pub(crate) fn always_answers_by(
        &self,
        author: impl Fn(&Asked) -> Script + Send + Sync + 'static,
    ) -> &Self {
        self.state.send_modify(|state| state.default = Arc::new(author));
        self
    }

    /// The next request that the test wasn't told yet.
    pub(crate) async fn is_asked(&self) -> Asked {
        let next =
            self.becomes("asked again", |state| state.asked.get(state.told).map(|asked| asked.number)).await;
        self.state.send_modify(|state| state.told = next);
        self.asked(next)
    }

    /// The request of this number, which has come.
    pub(crate) fn asked(&self, number: usize) -> Asked {
        self.state.borrow().asked[number - 1].clone()
    }

    /// All requests up to now.
    pub(crate) fn requests(&self) -> Vec<Asked> {
        self.state.borrow().asked.clone()
    }

    /// How the answer to this request ended, and when; waits for it.
    pub(crate) async fn ended(&self, number: usize) -> (Ended, Instant) {
        let ended = |state: &State| state.ended.get(number - 1).copied().flatten();
        self.becomes(&format!("done with request {number}"), ended).await
    }

    /// Waits until the client has hung up on this request, and says when. An answer that came to its end fails the test at once.
    pub(crate) async fn closed(&self, number: usize) -> Instant {
        let (ended, at) = self.ended(number).await;
        assert_eq!(ended, Ended::HungUp, "request {number}");
        at
    }

    /// Waits until so many connections are open.
    pub(crate) async fn open_becomes(&self, open: usize) {
        self.becomes(&format!("at {open} connections"), |state| (state.open == open).then_some(())).await;
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.state.borrow().open
    }

    /// The most that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.state.borrow().most
    }

    /// Connections that were ever made.
    pub(crate) fn total(&self) -> usize {
        self.state.borrow().total
    }

    /// Dies: connections are reset, new ones are refused.
    pub(crate) async fn dies(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            drop(listening.await);
        }
        self.open_becomes(0).await;
    }

    /// Is there again, at the same address.
    pub(crate) async fn returns(&mut self) {
        assert!(self.listening.is_none(), "it isn't dead");
        let listener = TcpListener::bind(self.address).await.expect("its port again");
        self.listening = Some(tokio::spawn(listens(listener, Arc::clone(&self.state))));
    }

    /// Waits for something to be so; a test that waits in vain says for what.
    async fn becomes<T>(&self, what: &str, is: impl Fn(&State) -> Option<T>) -> T {
        let mut state = self.state.subscribe();
        let waited = tokio::time::timeout(PATIENCE, state.wait_for(|state| is(state).is_some())).await;
        let state = waited.unwrap_or_else(|_| panic!("the upstream is never {what}")).expect("it is there");
        is(&state).expect("just seen")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }
}

/// An address that takes no connection: whoever connects waits for ever.
pub(crate) struct Unconnectable {
    address: SocketAddr,
    _queue: (tokio::net::TcpListener, Vec<TcpStream>),
}

impl Unconnectable {
    pub(crate) async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = socket.local_addr().expect("an address");
        // Nobody is ever let in: when the line is full, the kernel drops who comes.
        let listener = socket.listen(1).expect("listens");
        let mut line = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            line.push(stream.expect("a place in the line"));
            assert!(line.len() < 100, "the line has an end");
        }
        Self { address, _queue: (listener, line) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

/// Counts a connection as long as it is there, however it ends.
struct Connection {
    number: usize,
    state: Arc<watch::Sender<State>>,
    /// The request that is being answered.
    answering: Option<usize>,
}

impl Connection {
    fn new(state: Arc<watch::Sender<State>>) -> Self {
        let mut number = 0;
        state.send_modify(|state| {
            state.total += 1;
            state.open += 1;
            state.most = state.most.max(state.open);
            number = state.total;
        });
        Self { number, state, answering: None }
    }

    fn asks(&mut self, request: Request) -> (Asked, Script) {
        let Request { method, path, headers, json } = request;
        let mut asked =
            Asked { number: 0, connection: self.number, method, path, headers, json, at: Instant::now() };
        let mut queued = None;
        self.state.send_modify(|state| {
            asked.number = state.asked.len() + 1;
            state.asked.push(asked.clone());
            state.ended.push(None);
            queued = state.queue.pop_front();
        });
        self.answering = Some(asked.number);
        let author = Arc::clone(&self.state.borrow().default);
        let script = queued.unwrap_or_else(|| author(&asked));
        (asked, script)
    }

    fn ends(&mut self, how: Ended) {
        if let Some(number) = self.answering.take() {
            self.state.send_modify(|state| state.ended[number - 1] = Some((how, Instant::now())));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.ends(Ended::CutOff);
        self.state.send_modify(|state| state.open -= 1);
    }
}

/// Takes connections; whoever ends this ends them all.
async fn listens(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(serves(stream, Connection::new(Arc::clone(&state))));
            }
        }
    }
}

/// Answers the requests of one connection, one after another.
async fn serves(mut stream: TcpStream, mut connection: Connection) {
    stream.set_nodelay(true).expect("it is a socket");
    // Until it says goodbye itself it ends like a process that was killed.
    resets_when_dropped(&stream, true);
    let mut inbox = Vec::new();
    while let Some(request) = reads(&mut stream, &mut inbox).await {
        let (asked, script) = connection.asks(request);
        let (mut from, mut to) = stream.split();
        let played = tokio::select! {
            biased;
            () = is_gone(&mut from, &mut inbox) => None,
            played = play::plays(script, &asked, &mut to) => played.ok(),
        };
        match played {
            None => return connection.ends(Ended::HungUp),
            Some(Played::ToItsEnd) => connection.ends(Ended::Answered),
            Some(Played::ToItsLastEnd) => {
                connection.ends(Ended::Answered);
                break;
            }
            Some(Played::HangsUp) => {
                connection.ends(Ended::CutOff);
                break;
            }
            Some(Played::Resets) => return connection.ends(Ended::CutOff),
        }
    }
    resets_when_dropped(&stream, false);
    drop(stream.shutdown().await);
}

fn resets_when_dropped(stream: &TcpStream, resets: bool) {
    let linger = resets.then_some(Duration::ZERO);
    // It may be gone by now; then there is nothing to say.
    drop(socket2::SockRef::from(stream).set_linger(linger));
}

/// Waits until the client hangs up. What it says meanwhile is its next request.
async fn is_gone(from: &mut (impl AsyncRead + Unpin), inbox: &mut Vec<u8>) {
    while from.read_buf(inbox).await.is_ok_and(|read| read > 0) {}
}

/// What is read of a request.
struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    json: Value,
}

/// The next request; none when the client is gone. `inbox` holds what was read of it, and keeps what comes after it.
async fn reads(from: &mut (impl AsyncRead + Unpin), inbox: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(end) = inbox.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&inbox[..end]).into_owned();
            let headers: HashMap<String, String> = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
                .collect();
            assert!(
                !headers.contains_key("transfer-encoding"),
                "requests of unknown length aren't understood"
            );
            let length: usize =
                headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
            let whole = end + 4 + length;
            if inbox.len() >= whole {
                let json = serde_json::from_slice(&inbox[end + 4..whole]).unwrap_or_default();
                inbox.drain(..whole);
                let mut words = head.split(' ').map(str::to_owned);
                let (method, path) = (words.next()?, words.next()?);
                return Some(Request { method, path, headers, json });
            }
        }
        if from.read_buf(inbox).await.ok()? == 0 {
            return None;
        }
    }
}

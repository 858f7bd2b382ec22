//! Sentences for tests: a house (the real server process), people in it, and what they hear.

pub(crate) mod engine;
pub(crate) mod upstream;

use crate::postgres;
use loadtest::client::{Client, Room, SetUp};
use loadtest::confidential;
use loadtest::server::{Options, Server};
use loadtest::socket::{Frame, Place, Recovery, Socket, Subscribed};
use loadtest::wire::{Ack, Credentials, Event};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// How long anything may take before the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Every person's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The binary under test: the released one when `HEARTH_TEST_BINARY` names it. Whatever is done with it: the log of every server that is
/// started is searched for all secrets when it ends (OBS-03).
pub(crate) fn binary() -> PathBuf {
    confidential::listen();
    std::env::var_os("HEARTH_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_hearth").into(), PathBuf::from)
}

/// Which database a house stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    Sqlite,
    Postgres,
}

/// Runs an async test body on both databases: two tests, one text.
macro_rules! on_both {
    ($(#[$doc:meta])* $name:ident, async |$ground:ident| $body:block) => {
        mod $name {
            use super::*;

            async fn body($ground: Ground) $body

            $(#[$doc])*
            #[tokio::test]
            async fn on_sqlite() {
                body(Ground::Sqlite).await;
            }

            $(#[$doc])*
            #[tokio::test]
            async fn on_postgres() {
                body(Ground::Postgres).await;
            }
        }
    };
}
pub(crate) use on_both;

/// A running server with its account, and the admin who made it.
pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) admin: Person,
    /// The first room.
    pub(crate) lobby: u64,
    _dir: TempDir,
    join_code: String,
}

/// The command line of a server that is not to slow tests down.
fn quick(extra: &[&str]) -> Vec<String> {
    let mut args = vec!["--set".to_owned(), "presence.tick_ms=50".to_owned()];
    args.extend(extra.iter().map(|&arg| arg.to_owned()));
    args
}

/// Starts a server that nobody has set up.
pub(crate) async fn empty(ground: Ground, args: &[&str]) -> (Server, TempDir) {
    empty_on((ground == Ground::Postgres).then(postgres::database), args).await
}

/// The same on a database that the test reaches, too.
async fn empty_on(database_url: Option<String>, args: &[&str]) -> (Server, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let mut options = Options::new(binary(), dir.path().join("data"));
    options.args = quick(args);
    options.env.push(("HEARTH_LOG".to_owned(), "info,hearth=debug".to_owned()));
    options.database_url = database_url;
    let server = Server::start(options).await.expect("the server starts");
    (server, dir)
}

impl House {
    /// A house with its admin, Ann.
    pub(crate) async fn open(ground: Ground) -> Self {
        Self::open_with(ground, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn open_with(ground: Ground, args: &[&str]) -> Self {
        let (server, dir) = empty(ground, args).await;
        Self::furnished(server, dir).await
    }

    /// The same on a PostgreSQL database that the test reaches, too.
    pub(crate) async fn open_on(database_url: &str, args: &[&str]) -> Self {
        let (server, dir) = empty_on(Some(database_url.to_owned()), args).await;
        Self::furnished(server, dir).await
    }

    /// A house on a server that was just started and that nobody has set up.
    pub(crate) async fn furnished(server: Server, dir: TempDir) -> Self {
        let client = Client::new(&server.url()).expect("a client");
        let SetUp { user, room, .. } =
            client.setup("House", "Ann", "ann@example.org", PASSWORD).await.expect("set up");
        let join_code = client.account().await.expect("account").join_code.expect("admins see it");
        let admin = Person { id: user.id, client };
        Self { server, admin, lobby: room.id, _dir: dir, join_code }
    }

    /// Somebody joins by the invite code.
    pub(crate) async fn joined_by(&self, name: &str) -> Person {
        let client = Client::new(&self.server.url()).expect("a client");
        let email = format!("{}@example.org", name.to_lowercase());
        let user = client.join(&self.join_code, name, &email, PASSWORD).await.expect("joins");
        Person { id: user.id, client }
    }

    /// A closed room of these people, made by the admin.
    pub(crate) async fn closed_room(&self, name: &str, members: &[&Person]) -> Room {
        let members: Vec<u64> = members.iter().map(|person| person.id).collect();
        self.admin.client.create_room("closed", name, &members).await.expect("makes a room")
    }

    /// The URL of the server.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The value of a metric, summed over its labels that contain `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = reqwest::get(format!("{}/metrics", self.url())).await.expect("metrics");
        let text = text.text().await.expect("text");
        text.lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric has a value.
    pub(crate) async fn metric_becomes(&self, name: &str, labels: &str, wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name, labels).await;
            if (value - wanted).abs() < 0.5 {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {value}, not {wanted}\n{}", self.server.log_tail());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The server's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.server.log_path()).expect("the log is readable")
    }
}

/// Somebody with a session.
pub(crate) struct Person {
    pub(crate) id: u64,
    pub(crate) client: Client,
}

impl Person {
    /// Opens a socket.
    pub(crate) async fn connects(&self) -> Listener {
        self.tries_to_connect().await.expect("connects")
    }

    /// Opens a socket, if allowed.
    pub(crate) async fn tries_to_connect(&self) -> Result<Listener, loadtest::socket::SocketError> {
        let socket = Socket::connect(self.client.base(), &self.client.credentials()).await?;
        Ok(Listener { socket })
    }

    /// Opens a socket and subscribes to a room at its head.
    pub(crate) async fn listens_to(&self, room: u64) -> Listener {
        let mut listener = self.connects().await;
        listener.joins(room, None).await;
        listener
    }

    /// This person's credentials.
    pub(crate) fn credentials(&self) -> Credentials {
        self.client.credentials()
    }

    /// The whole history of a room, oldest first, as bodies.
    pub(crate) async fn reads(&self, room: u64) -> Vec<String> {
        let (history, _) = self.client.history(room).await.expect("history");
        history.into_iter().map(|message| message.body).collect()
    }
}

/// A socket with what it hears.
pub(crate) struct Listener {
    pub(crate) socket: Socket,
}

impl Listener {
    /// Subscribes after `after`, or at the head.
    pub(crate) async fn joins(&mut self, room: u64, after: Option<u64>) -> Subscribed {
        let epoch = self.socket.welcome().epoch.clone();
        let places = [Place { room_id: room, after }];
        let mut joined = self.socket.subscribe(&places, Some(&epoch)).await.expect("subscribes");
        joined.pop().expect("one room")
    }

    /// Posts and waits for the ack.
    pub(crate) async fn posts(&mut self, room: u64, body: &str) -> Ack {
        self.socket.post(room, Uuid::new_v4(), body).await.expect("posted")
    }

    /// Asks for something and takes the reply's data.
    pub(crate) async fn asks(&mut self, kind: &str, data: Value) -> Value {
        self.socket.request(kind, &data).await.unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    /// Asks for something that is refused; the code.
    pub(crate) async fn is_refused(&mut self, kind: &str, data: Value) -> String {
        self.socket.request(kind, &data).await.expect_err("refused").code().to_owned()
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Frame {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        next.expect("something is heard in time").expect("the socket is open")
    }

    /// The next durable event; signals are passed over.
    pub(crate) async fn hears(&mut self) -> Event {
        loop {
            match self.next().await {
                Frame::Event(event) => return event,
                Frame::Signal { .. } => {}
                other => panic!("heard {other:?}"),
            }
        }
    }

    /// The next posted message's body.
    pub(crate) async fn hears_message(&mut self) -> String {
        let event = self.hears().await;
        assert_eq!(event.kind, "message.posted", "{event:?}");
        event.json["data"]["body"].as_str().expect("a body").to_owned()
    }

    /// The next signal of a kind; events are not expected before it.
    pub(crate) async fn notices(&mut self, wanted: &str) -> Value {
        loop {
            match self.next().await {
                Frame::Signal { kind, json } if kind == wanted => return json,
                Frame::Signal { .. } => {}
                other => panic!("heard {other:?} while waiting for {wanted}"),
            }
        }
    }

    /// Hears nothing more of a kind until a marker message arrives: proof of absence without a sleep.
    pub(crate) async fn frames_until(&mut self, body: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if let Frame::Event(event) = &frame
                && event.json["data"]["body"] == json!(body)
            {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// How the socket ends: the close code.
    pub(crate) async fn is_closed(&mut self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("closes in time") {
                Ok(_) => {}
                Err(loadtest::socket::SocketError::Closed { code, .. }) => return code,
                Err(error) => panic!("ended without a close frame: {error}"),
            }
        }
        panic!("the socket stays open");
    }
}

/// The events of a recovery that has to be complete.
pub(crate) fn missed(subscribed: &Subscribed) -> &[Event] {
    match &subscribed.recovery {
        Recovery::Complete(events) => events,
        Recovery::Gap { reason, .. } => panic!("a gap: {reason}"),
    }
}

//! The server of a simulation, and how the steps of a plan are carried out on it.

use super::device::Device;
use super::plan::{DEVICES, Plan, Step};
use super::{BEGAN, FAILING, trace};
use crate::actors::Bus;
use crate::actors::connection::{Connection, Opened};
use crate::actors::hub::{Board, Hub};
use crate::actors::outbox::Outbox;
use crate::actors::peer::Peer;
use crate::actors::presence::{PresenceHandle, PresenceTracker};
use crate::actors::registry::Rooms;
use crate::actors::sequencer::Sequencer;
use crate::auth::identity::Identity;
use crate::config::{self, Config};
use crate::domain::{
    Ack, Command, Enrolment, Name, NewRoomKind, Origin, Person, Principal, Role, RoomId, SessionId,
    Timestamp, UserId, Via,
};
use crate::protocol::{TraceId, payload};
use crate::storage::{Database, StorageOptions, Store, Synchronous, Verdict, Write, simulated};
use actix_rt::{Arbiter, System};
use serde_json::json;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// What all simulations of a thread stand on: a store with three people.
pub(crate) struct Ground {
    store: Store,
    options: StorageOptions,
    people: Vec<Person>,
    listener: TcpListener,
    _directory: TempDir,
}

pub(crate) struct House {
    pub(crate) bus: Bus,
    pub(crate) boards: Vec<Board>,
    pub(crate) rooms: Vec<RoomId>,
    pub(super) devices: Vec<Device>,
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) people: Vec<Person>,
    listener: TcpListener,
    numbers: i64,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let options = StorageOptions {
            synchronous: Synchronous::Normal,
            readers: 1,
            ..StorageOptions::new(Database::Sqlite { path: directory.path().join("hearth.db") })
        };
        let store = Store::open(options.clone(), payload::encode).expect("opens");
        let name = |text: &str| Name::parse("name", text).expect("a name");
        let enrol = |enrolment| {
            let outcome = store
                .submit(vec![Write::Enrol { enrolment, origin: Origin::SYSTEM }], Timestamp::default())
                .expect("room");
            match outcome.blocking_recv().expect("answered").pop().expect("one").expect("done") {
                Verdict::Accepted { ack: Ack::Enrolled { person, .. }, .. } => person,
                other => panic!("{other:?}"),
            }
        };
        let ann = enrol(Enrolment::SetUp {
            account_name: name("House"),
            join_code: "code".to_owned(),
            name: name("Ann"),
            email: "ann@example.org".to_owned(),
            password_hash: "none".to_owned(),
        });
        let operator = |who: &str| Enrolment::Operator {
            name: name(who),
            email: format!("{who}@example.org"),
            password_hash: "none".to_owned(),
            role: Role::Member,
        };
        let people = vec![ann, enrol(operator("Bob")), enrol(operator("Cid"))];
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        Self { store, options, people, listener, _directory: directory }
    }

    /// Runs one simulation on a clock of its own.
    pub(crate) fn run<F: Future<Output = ()>>(
        &self,
        seed: u64,
        life: impl FnOnce(House) -> F,
    ) -> std::thread::Result<()> {
        simulated::begin(&self.options, payload::encode, seed);
        let system = System::with_tokio_rt(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().start_paused(true).build().expect("a runtime")
        });
        let lived = catch_unwind(AssertUnwindSafe(|| {
            system.block_on(async {
                BEGAN.set(Some(Instant::now()));
                life(House::open(self).await).await;
            });
        }));
        BEGAN.set(None);
        FAILING.set(None);
        drop(system);
        simulated::end();
        lived
    }
}

impl House {
    async fn open(ground: &Ground) -> Self {
        let mut config = Config::default();
        config.rooms.replay_events = 50;
        config.rooms.replay_bytes = 40_000;
        config.rooms.idle = Duration::from_secs(20);
        config.socket.outbox_bytes = 48_000;
        config.storage.commit_batch = 4;
        // Nobody is held up here by how much they do.
        config.limits = config::Limits { messages: 0, commands: 0, repeats: 0, frames: 0, ..config.limits };
        config.limits.subscriptions = 0;
        config.load.store_failures = 0;
        let config = Arc::new(config);
        let store = ground.store.clone();
        let rooms = Rooms::new(store.clone(), PresenceHandle::new(), Arbiter::current(), Arc::clone(&config));
        rooms.set_sequencer(Sequencer::start(&rooms));
        PresenceTracker::start(&rooms);
        let bus = Bus::new(Arc::clone(&rooms));
        bus.rooms().find_commons().await.expect("commons");
        let boards = (0..2)
            .map(|id| {
                let (hub, board) = Hub::start(id, Arc::clone(&rooms), Arc::clone(&config));
                rooms.add_hub(hub);
                board
            })
            .collect();
        let mut house = Self {
            bus,
            boards,
            rooms: Vec::new(),
            devices: Vec::new(),
            store,
            config,
            people: ground.people.clone(),
            listener: ground.listener.try_clone().expect("another handle"),
            numbers: 0,
        };
        for kind in [NewRoomKind::Open, NewRoomKind::Closed, NewRoomKind::Open] {
            house.make_room(kind).await;
        }
        let epoch = house.store.epoch().0;
        house.devices = (0..DEVICES)
            .map(|n| {
                let person = house.people[n % house.people.len()].clone();
                Device::new(format!("{}/{n}", person.name), person, epoch)
            })
            .collect();
        house
    }

    async fn make_room(&mut self, kind: NewRoomKind) {
        let members =
            if kind == NewRoomKind::Closed { self.people.iter().map(|one| one.id).collect() } else { vec![] };
        let name = Some(Name::parse("name", "Room").expect("a name"));
        let command = Command::CreateRoom { kind, name, members, key: None };
        match self.bus.submit(Principal::of_system(self.people[0].clone()), command, TraceId::random()).await
        {
            Ok(Ack::RoomCreated { room, .. }) => self.rooms.push(room.id),
            other => panic!("{other:?}"),
        }
    }

    /// Every room there is to listen to.
    pub(super) fn all_rooms(&self) -> Vec<RoomId> {
        self.rooms.iter().copied().chain(self.bus.rooms().commons()).collect()
    }

    pub(super) async fn carry_out(&mut self, plan: &Plan) {
        for (pause, step) in &plan.steps {
            self.pass(*pause).await;
            trace(|| format!("{pause:?} {step:?}"));
            self.step(*step);
        }
    }

    /// Lets time pass; everybody who isn't deaf listens meanwhile.
    pub(super) async fn pass(&mut self, mut time: Duration) {
        loop {
            let part = time.min(Duration::from_secs(4));
            sleep(part).await;
            self.listen().await;
            time -= part;
            if time.is_zero() {
                return;
            }
        }
    }

    /// Who isn't deaf hears all that is on its way. Kernels hand over by a clock of their own: that one is waited for.
    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel's time, in which the paused clock stands still"
    )]
    async fn listen(&mut self) {
        for _ in 0..5_000 {
            let mut all = true;
            for device in self.devices.iter_mut().filter(|device| !device.deaf) {
                device.listen();
                all &= !device.is_behind();
            }
            if all {
                return;
            }
            std::thread::sleep(Duration::from_micros(100));
            tokio::task::yield_now().await;
        }
    }

    fn step(&mut self, step: Step) {
        let all = self.all_rooms();
        self.numbers += 1;
        let number = self.numbers;
        match step {
            Step::Connect(device) => self.connect(device),
            Step::Lose(device) => self.devices[device].disconnected(),
            Step::Close(device) => self.devices[device].say_goodbye(),
            Step::Join { device, room, forget } => self.devices[device].joins(self.rooms[room], forget),
            Step::JoinAll(device) => self.devices[device].joins_all(&all),
            Step::Part { device, room } => self.devices[device].parts(self.rooms[room]),
            Step::Post { device, room, large, repeat } => {
                let room = self.rooms[room];
                let device = &mut self.devices[device];
                match device.posts.last().filter(|_| repeat) {
                    Some(last) => {
                        let (room, id, body) = (last.room, last.id, last.body.clone());
                        device.posts(room, id, body);
                    }
                    None => {
                        let body =
                            format!("{number}{}", if large { "x".repeat(9_000) } else { String::new() });
                        device.posts(room, Uuid::from_u128(number.unsigned_abs().into()), body);
                    }
                }
            }
            Step::Change { device, delete } => {
                let device = &mut self.devices[device];
                let Some(post) = device.posts.iter().rev().find(|post| post.acked.is_some()) else { return };
                let (room, message) = (post.room.get(), post.acked.expect("acked").0);
                if delete {
                    device.ask("message.delete", &json!({"room_id": room, "message_id": message}));
                } else {
                    let data = json!({"room_id": room, "message_id": message, "version": 1, "body": number.to_string()});
                    device.ask("message.edit", &data);
                }
            }
            Step::Read { device, room } => {
                let room = self.rooms[room];
                let device = &mut self.devices[device];
                let seq = device.views.get(&room).map_or(1, |view| view.known().max(1));
                device.ask("read.mark", &json!({"room_id": room.get(), "seq": seq}));
            }
            Step::Type { device, room, on } => {
                let kind = if on { "typing.start" } else { "typing.stop" };
                let room = self.rooms[room].get();
                self.devices[device].say(&json!({"type": kind, "data": {"room_id": room}}));
            }
            Step::Member { device, add } => {
                let user = self.devices[device].person.id;
                let kind = if add { "member.add" } else { "member.remove" };
                let data = json!({"room_id": self.rooms[1].get(), "user_id": user.get()});
                if user != UserId::new(self.people[0].id.get()) {
                    self.devices[0].ask(kind, &data);
                }
            }
            Step::Deaf { device, deaf } => self.devices[device].deaf = deaf,
            Step::Nonsense(device) => {
                self.devices[device].say(&json!({"type": "message.post", "data": {"room_id": "x"}}));
            }
            Step::Trouble(on) => simulated::trouble(on),
            Step::Fail(actor, after) => FAILING.set(Some((actor, after))),
            Step::Wait => {}
        }
    }

    fn connect(&mut self, index: usize) {
        let far = TcpStream::connect(self.listener.local_addr().expect("address")).expect("connects");
        let near = self.listener.accept().expect("accepts").0;
        for stream in [&near, &far] {
            stream.set_nonblocking(true).expect("set");
            stream.set_nodelay(true).expect("set");
            // Little room in the kernel, so that who doesn't read is felt soon.
            let socket = socket2::SockRef::from(stream);
            socket.set_send_buffer_size(8_192).expect("set");
            socket.set_recv_buffer_size(8_192).expect("set");
        }
        let person = self.devices[index].person.clone();
        let (read, write) = tokio::net::TcpStream::from_std(near).expect("registers").into_split();
        let outbox = Outbox::new(write, &self.config.socket);
        let stream = self.devices[index].connected(far, std::rc::Rc::clone(&outbox));
        let place = self.bus.sockets().reserve(None, 1_000, 0).expect("room");
        let permit = place.of(person.id, 1_000).expect("room");
        let board = &self.boards[index % self.boards.len()];
        let via = Via::Session(SessionId::new(i64::try_from(index).expect("small") + 1));
        let identity =
            Identity { person, via, address: None, renewed: false, expires_at: None, ends_at: None };
        let id = board.borrow_mut().name();
        let peer = Peer::new(id, identity, outbox, &self.config, Instant::now());
        let opened = Opened::new(peer, board.clone());
        let inbound = KeepOpen { stream: Box::pin(stream), half: read };
        Connection::start(opened, self.bus.clone(), permit, r#"{"type":"welcome"}"#, inbound);
    }

    /// No more failures: everybody comes back, resumes and hears the rest.
    pub(super) async fn come_to_rest(&mut self) {
        simulated::trouble(false);
        FAILING.set(None);
        self.devices.iter_mut().for_each(|device| device.deaf = false);
        // Longer than a socket may take to be given up, so that who was deaf for long begins anew.
        for _ in 0..3 {
            self.pass(Duration::from_secs(12)).await;
            self.everybody_joins();
        }
        self.pass(Duration::from_secs(30)).await;
    }

    /// Those without a connection get one; all subscribe to all rooms where they left off.
    fn everybody_joins(&mut self) {
        let all = self.all_rooms();
        for index in 0..self.devices.len() {
            if self.devices[index].link.is_none() {
                self.connect(index);
            }
            self.devices[index].joins_all(&all);
        }
    }

    /// Everybody goes, and time passes.
    pub(super) async fn leave(&mut self) {
        for device in &mut self.devices {
            device.disconnected();
        }
        self.pass(Duration::from_secs(300)).await;
    }
}

/// What the connection reads comes from the stream; of the socket itself only its end.
struct KeepOpen<S> {
    stream: std::pin::Pin<Box<S>>,
    half: tokio::net::tcp::OwnedReadHalf,
}

impl<S: futures_util::Stream> futures_util::Stream for KeepOpen<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let mut byte = [0];
        let mut buffer = tokio::io::ReadBuf::new(&mut byte);
        // Nothing ever comes that way but the end.
        if std::pin::Pin::new(&mut self.half).poll_read(context, &mut buffer).is_ready() {
            return std::task::Poll::Ready(None);
        }
        self.stream.as_mut().poll_next(context)
    }
}

//! A client of the simulation: what it asked, what it heard, and whether that can be.

use super::trace;
use crate::actors::connection::Inbound;
use crate::actors::outbox::Outbox;
use crate::domain::{Person, RoomId};
use crate::protocol::ClientFrame;
use futures_util::stream::unfold;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::rc::Rc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

pub(super) struct Device {
    pub(super) name: String,
    pub(super) person: Person,
    pub(super) link: Option<Link>,
    /// What it knows of each room, over all its connections.
    pub(super) views: BTreeMap<RoomId, View>,
    pub(super) posts: Vec<Post>,
    pub(super) deaf: bool,
    epoch: Uuid,
    requests: u32,
    asked: HashMap<String, Asked>,
}

/// An open connection, seen from outside.
pub(super) struct Link {
    to: UnboundedSender<Vec<Inbound>>,
    far: TcpStream,
    near: Rc<Outbox>,
    bytes: Vec<u8>,
    received: usize,
}

/// What a client holds of a room: events from `base + 1` on, without a hole.
#[derive(Default)]
pub(super) struct View {
    pub(super) base: i64,
    pub(super) events: Vec<Value>,
    /// A subscription was confirmed and nothing ended it.
    pub(super) live: bool,
    pub(super) typing: BTreeSet<i64>,
    pub(super) online: BTreeSet<i64>,
    /// Who has the room open, as told.
    pub(super) present: BTreeSet<i64>,
}

impl View {
    pub(super) fn known(&self) -> i64 {
        self.base + i64::try_from(self.events.len()).expect("small")
    }

    fn last_message_of(&self, user: &Value) -> i64 {
        let by = |event: &&Value| event["type"] == "message.posted" && event["data"]["author"]["id"] == *user;
        self.events.iter().rev().find(by).map_or(0, |event| event["seq"].as_i64().expect("a seq"))
    }
}

pub(super) struct Post {
    pub(super) room: RoomId,
    pub(super) id: Uuid,
    pub(super) body: String,
    pub(super) acked: Option<(i64, i64)>,
    /// Every attempt was refused, and the refusal says that nothing was stored.
    pub(super) attempts: u32,
    pub(super) refused: u32,
}

#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    Join(RoomId, Option<i64>),
    JoinAll(Vec<(RoomId, Option<i64>)>),
    Part(RoomId),
    Post(Uuid),
    Other,
}

impl Device {
    pub(super) fn new(name: String, person: Person, epoch: Uuid) -> Self {
        Self {
            name,
            person,
            link: None,
            views: BTreeMap::new(),
            posts: Vec::new(),
            deaf: false,
            epoch,
            requests: 0,
            asked: HashMap::new(),
        }
    }

    /// Takes a connection over; what its actor is to read comes from the stream.
    pub(super) fn connected(
        &mut self,
        far: TcpStream,
        near: Rc<Outbox>,
    ) -> impl futures_util::Stream<Item = Vec<Inbound>> + use<> {
        self.disconnected();
        let (to, from) = unbounded_channel();
        self.link = Some(Link { to, far, near, bytes: Vec::new(), received: 0 });
        unfold(from, |mut from: UnboundedReceiver<Vec<Inbound>>| async { Some((from.recv().await?, from)) })
    }

    pub(super) fn disconnected(&mut self) {
        self.link = None;
        self.deaf = false;
        self.asked.clear();
        for view in self.views.values_mut() {
            view.live = false;
            view.typing.clear();
            view.online.clear();
        }
    }

    fn tell(&mut self, inbound: Inbound) {
        if let Some(link) = &self.link
            && link.to.send(vec![inbound]).is_err()
        {
            self.disconnected();
        }
    }

    pub(super) fn say(&mut self, frame: &Value) {
        self.tell(Inbound::Frame(ClientFrame::parse(&frame.to_string())));
    }

    pub(super) fn say_goodbye(&mut self) {
        self.tell(Inbound::Close);
    }

    pub(super) fn ask(&mut self, kind: &str, data: &Value) {
        self.request(kind, data, Asked::Other);
    }

    fn request(&mut self, kind: &str, data: &Value, asked: Asked) {
        if self.link.is_none() {
            return;
        }
        self.requests += 1;
        let id = format!("r{}", self.requests);
        self.asked.insert(id.clone(), asked);
        trace(|| format!("{} >> {id} {kind} {data}", self.name));
        self.say(&json!({"type": kind, "request_id": id, "data": data}));
    }

    pub(super) fn joins(&mut self, room: RoomId, forget: bool) {
        let after = self.views.get(&room).filter(|_| !forget).map(View::known);
        let data = json!({"room_id": room.get(), "after": after, "epoch": self.epoch});
        self.request("room.subscribe", &data, Asked::Join(room, after));
    }

    pub(super) fn joins_all(&mut self, rooms: &[RoomId]) {
        let places: Vec<(RoomId, Option<i64>)> =
            rooms.iter().map(|room| (*room, self.views.get(room).map(View::known))).collect();
        let rooms: Vec<Value> =
            places.iter().map(|(room, after)| json!({"room_id": room.get(), "after": after})).collect();
        let data = json!({"rooms": rooms, "epoch": self.epoch});
        self.request("room.subscribe", &data, Asked::JoinAll(places));
    }

    pub(super) fn parts(&mut self, room: RoomId) {
        self.request("room.unsubscribe", &json!({"room_id": room.get()}), Asked::Part(room));
    }

    pub(super) fn posts(&mut self, room: RoomId, id: Uuid, body: String) {
        if self.link.is_none() {
            return;
        }
        let data = json!({"room_id": room.get(), "client_message_id": id, "body": body});
        match self.posts.iter_mut().find(|post| post.id == id) {
            Some(post) => post.attempts += 1,
            None => self.posts.push(Post { room, id, body, acked: None, attempts: 1, refused: 0 }),
        }
        self.request("message.post", &data, Asked::Post(id));
    }

    /// Requests without an answer on the connection that is open.
    pub(super) fn unanswered(&self) -> Vec<&Asked> {
        self.asked.values().collect()
    }

    /// Whether something is on its way to this client.
    pub(super) fn is_behind(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.near.backlog() > 0 || link.near.sent.get() > link.received)
    }

    /// Reads what has arrived.
    pub(super) fn listen(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut buffer = [0; 65_536];
        let mut over = false;
        loop {
            match link.far.read(&mut buffer) {
                Ok(0) => {
                    over = true;
                    break;
                }
                Ok(read) => {
                    link.bytes.extend_from_slice(&buffer[..read]);
                    link.received += read;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    over = true;
                    break;
                }
            }
        }
        // What is still on its way in the kernel is lost, as it may be in a network.
        over |= link.near.is_shut_down();
        while let Some((opcode, payload)) = self.link.as_mut().and_then(|link| next_frame(&mut link.bytes)) {
            match opcode {
                1 => self.hear(&String::from_utf8(payload).expect("text")),
                8 => over = true,
                other => panic!("{}: opcode {other}", self.name),
            }
        }
        if over {
            self.disconnected();
        }
    }

    fn hear(&mut self, text: &str) {
        trace(|| format!("{} << {text}", self.name));
        let frame: Value = serde_json::from_str(text).expect("JSON");
        let kind = frame["type"].as_str().expect("a type").to_owned();
        let name = self.name.clone();
        if frame["seq"].is_i64() {
            let room = RoomId::new(frame["room_id"].as_i64().expect("a room"));
            let view = self.views.get_mut(&room).unwrap_or_else(|| panic!("{name} heard of {room} unasked"));
            assert!(view.live, "{name} heard {frame} without a subscription");
            assert_eq!(frame["seq"], view.known() + 1, "{name} in {room}: {frame}");
            if frame["type"] == "message.posted" {
                let author = frame["data"]["author"]["id"].as_i64().expect("an author");
                let here = author == self.person.id.get() || view.present.contains(&author);
                assert!(here, "{name} in {room} heard somebody who isn't there: {frame}");
            }
            view.events.push(frame);
            return;
        }
        match kind.as_str() {
            "welcome" => {}
            "ping" => self.say(&json!({"type": "pong"})),
            "pong" => {}
            "reply" => self.on_reply(&frame),
            "error" => self.on_error(&frame),
            "room.resync" => self.on_resync(&frame),
            "typing" => self.on_typing(&frame),
            "presence" => self.on_presence(&frame),
            "room.presence" => self.on_room_presence(&frame),
            other => panic!("{name} heard {other}"),
        }
    }

    fn on_reply(&mut self, frame: &Value) {
        let id = frame["request_id"].as_str().expect("an id");
        let asked = self.asked.remove(id).unwrap_or_else(|| panic!("{}: {frame} was not asked", self.name));
        let data = &frame["data"];
        match asked {
            Asked::Join(room, after) => self.on_joined(room, after, data),
            Asked::JoinAll(places) => {
                let parts = data["rooms"].as_array().expect("rooms");
                assert_eq!(parts.len(), places.len(), "{}: {frame}", self.name);
                for ((room, after), part) in places.into_iter().zip(parts) {
                    match part["room_id"].as_i64() {
                        Some(refused) => self.on_refused_join(RoomId::new(refused)),
                        None => self.on_joined(room, after, part),
                    }
                }
            }
            Asked::Part(room) => self.on_refused_join(room),
            Asked::Post(id) => {
                let ack = (data["id"].as_i64().expect("an id"), data["seq"].as_i64().expect("a seq"));
                let post = self.posts.iter_mut().find(|post| post.id == id).expect("posted");
                assert!(post.acked.is_none_or(|first| first == ack), "{}: two answers for {id}", self.name);
                post.acked = Some(ack);
            }
            Asked::Other => {}
        }
    }

    fn on_error(&mut self, frame: &Value) {
        let Some(id) = frame["request_id"].as_str() else { return };
        let code = frame["error"]["code"].as_str().expect("a code");
        match self.asked.remove(id).unwrap_or_else(|| panic!("{}: {frame} was not asked", self.name)) {
            Asked::Join(room, _) => self.on_refused_join(room),
            Asked::Post(id) if code != "unavailable" => {
                let post = self.posts.iter_mut().find(|post| post.id == id).expect("posted");
                post.refused += 1;
            }
            _ => {}
        }
    }

    fn on_refused_join(&mut self, room: RoomId) {
        if let Some(view) = self.views.get_mut(&room) {
            view.live = false;
            view.typing.clear();
        }
    }

    fn on_joined(&mut self, room: RoomId, after: Option<i64>, part: &Value) {
        let name = self.name.clone();
        assert_eq!(part["room"]["id"], room.get(), "{name}");
        let head = part["head"].as_i64().expect("a head");
        let view = self.views.entry(room).or_default();
        if part["recovery"] == "gap" {
            assert_eq!(part["reason"], "window_exceeded", "{name}: {part}");
            (view.base, view.events) = (head, Vec::new());
        } else {
            let events = part["events"].as_array().expect("events");
            if after.is_none() && view.known() != head {
                assert!(events.is_empty(), "{name}: {part}");
                (view.base, view.events) = (head, Vec::new());
            }
            for event in events {
                let seq = event["seq"].as_i64().expect("a seq");
                // Asked before it began to listen at the head.
                if seq <= view.base {
                    continue;
                }
                if seq <= view.known() {
                    let index = usize::try_from(seq - view.base - 1).expect("known");
                    assert_eq!(&view.events[index], event, "{name}: the same event, twice different");
                    continue;
                }
                assert_eq!(seq, view.known() + 1, "{name} in {room}: {part}");
                view.events.push(event.clone());
            }
        }
        assert_eq!(view.known(), head, "{name} in {room}: {part}");
        view.live = true;
        let ids = |list: &Value, of: fn(&Value) -> Option<i64>| {
            list.as_array().map(|list| list.iter().filter_map(of).collect()).unwrap_or_default()
        };
        view.typing = ids(&part["room"]["typing"], |one| one["id"].as_i64());
        view.online = ids(&part["room"]["online"], Value::as_i64);
        view.present = ids(&part["room"]["present"], |one| one["id"].as_i64());
    }

    fn on_resync(&mut self, frame: &Value) {
        let room = RoomId::new(frame["room_id"].as_i64().expect("a room"));
        let view = self.views.get_mut(&room).expect("subscribed");
        assert!(view.live, "{} in {room}: {frame} without a subscription", self.name);
        assert_eq!(frame["from"], view.known() + 1, "{} in {room}", self.name);
        view.live = false;
        view.typing.clear();
        self.joins(room, false);
    }

    fn on_typing(&mut self, frame: &Value) {
        let room = RoomId::new(frame["room_id"].as_i64().expect("a room"));
        let user = &frame["data"]["user"]["id"];
        assert_ne!(*user, self.person.id.get(), "{} heard of its own typing", self.name);
        let view = self.views.get_mut(&room).expect("subscribed");
        assert!(view.live, "{} in {room}: {frame} without a subscription", self.name);
        let id = user.as_i64().expect("an id");
        if frame["data"]["typing"] == true {
            let last = view.last_message_of(user);
            assert!(frame["at_seq"].as_i64() >= Some(last), "{}: {frame} after message {last}", self.name);
            view.typing.insert(id);
        } else {
            view.typing.remove(&id);
        }
    }

    fn on_room_presence(&mut self, frame: &Value) {
        let room = RoomId::new(frame["room_id"].as_i64().expect("a room"));
        let view = self.views.get_mut(&room).expect("subscribed");
        assert!(view.live, "{} in {room}: {frame} without a subscription", self.name);
        for joined in frame["data"]["joined"].as_array().expect("names").iter() {
            let id = joined["id"].as_i64().expect("an id");
            assert!(view.present.insert(id) || id == self.person.id.get(), "{}: {frame} twice", self.name);
        }
        for left in frame["data"]["left"].as_array().expect("ids") {
            let id = left.as_i64().expect("an id");
            assert!(view.present.remove(&id) || id == self.person.id.get(), "{}: {frame} twice", self.name);
        }
    }

    fn on_presence(&mut self, frame: &Value) {
        let room = RoomId::new(frame["room_id"].as_i64().expect("a room"));
        let view = self.views.get_mut(&room).expect("subscribed");
        for user in frame["data"]["users"].as_array().expect("users") {
            let id = user["id"].as_i64().expect("an id");
            if user["state"] == "online" || user["state"] == "away" {
                view.online.insert(id);
            } else {
                view.online.remove(&id);
            }
        }
    }
}

/// Takes a server's frame (RFC 6455: never masked) off the front.
fn next_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (header, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().expect("two")))),
        127 => {
            (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().expect("8"))).expect("fits"))
        }
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(header..header + length)?.to_vec();
    bytes.drain(..header + length);
    Some((first & 0x0f, payload))
}

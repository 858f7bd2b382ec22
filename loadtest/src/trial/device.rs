//! One device of one user: a socket that comes back, what it is subscribed to, and what it hears.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::TrialError;
use super::belief::{Belief, ids};
use super::identity::Identity;
use super::plan::PlannedDevice;
use super::shared::Shared;
use crate::history::{Heard, Late, ListenerId};
use crate::socket::{Frame, PATIENCE, Recovery, Socket, SocketError, Subscribed};
use crate::wire::{Event, Refusal};

pub(super) struct Device {
    pub(super) shared: Arc<Shared>,
    pub(super) who: Identity,
    pub(super) plan: PlannedDevice,
    pub(super) rooms: HashMap<u64, Position>,
    pub(super) belief: Belief,
    /// Read nothing for a while on this connection: typing may have been dropped.
    pub(super) lossy: bool,
    /// The newest version it knows of, by message.
    pub(super) versions: HashMap<u64, u64>,
    /// The id of the last news of one's own coming to a room. What was told of going before it is old by then, in whatever
    /// order the rooms are heard.
    came: HashMap<u64, u64>,
    mood: StdRng,
    socket: Option<Socket>,
    /// Rooms whose subscription is confirmed on this connection.
    live: HashSet<u64>,
    /// Rooms to subscribe to as soon as may be.
    wanted: BTreeSet<u64>,
    epoch: Option<String>,
    until_drop: usize,
}

/// Where the device is in one room.
pub(super) struct Position {
    record: ListenerId,
    /// Never goes back behind its first confirmed position.
    start: u64,
    pub(super) last: Option<u64>,
}

/// How one request on the socket was answered.
pub(super) enum Answer {
    Done(Value),
    Refused(Box<Refusal>),
    /// The connection was lost before.
    Lost,
}

impl Device {
    pub(super) fn new(shared: &Arc<Shared>, who: Identity, plan: PlannedDevice) -> Device {
        let mut device = Device {
            shared: Arc::clone(shared),
            who,
            mood: StdRng::seed_from_u64(plan.mood),
            plan,
            rooms: HashMap::new(),
            belief: Belief::default(),
            lossy: false,
            versions: HashMap::new(),
            came: HashMap::new(),
            socket: None,
            live: HashSet::new(),
            wanted: BTreeSet::new(),
            epoch: None,
            until_drop: 0,
        };
        device.draw_drop();
        device
    }

    fn draw_drop(&mut self) {
        let about = self.plan.drop_after;
        self.until_drop = if about == 0 { 0 } else { self.mood.random_range(1..=about * 2) };
    }

    /// Is it where it can be in all of these rooms?
    pub(super) fn reached(&self, goal: impl Iterator<Item = (u64, u64)>) -> bool {
        self.wanted.is_empty() && self.late(goal).is_empty()
    }

    /// Where it isn't yet, of the rooms of the goal and those it still wants.
    pub(super) fn late(&self, goal: impl Iterator<Item = (u64, u64)>) -> Vec<Late> {
        let mut goal: HashMap<u64, u64> = goal.collect();
        for room_id in &self.wanted {
            goal.entry(*room_id).or_default();
        }
        let places = goal.into_iter().map(|(room_id, head)| {
            let heard = self.rooms.get(&room_id).and_then(|position| position.last);
            Late { room_id, heard, head, live: self.live.contains(&room_id) }
        });
        places.filter(|place| !place.live || place.heard < Some(place.head)).collect()
    }

    /// It stayed to the end of this room. False when it never heard of the room.
    pub(super) fn stayed(&self, room_id: u64) -> bool {
        let Some(position) = self.rooms.get(&room_id) else { return false };
        self.shared.recorder.stayed(position.record);
        true
    }

    /// A connected socket with all subscriptions asked for, however often it takes.
    pub(super) async fn up(&mut self) -> Result<(), TrialError> {
        while self.socket.is_none() || !self.wanted.is_empty() {
            if self.socket.is_none() {
                self.connect().await?;
            }
            if !self.wanted.is_empty() {
                self.subscribe().await?;
            }
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), TrialError> {
        let (url, credentials) = (&self.shared.url, self.who.client.credentials());
        let connected = match self.plan.narrow {
            true => Socket::connect_narrow(url, &credentials).await,
            false => Socket::connect(url, &credentials).await,
        };
        let socket = match connected {
            Ok(socket) => socket,
            Err(error) => return self.fell(error).await,
        };
        self.lossy = false;
        self.draw_drop();
        let welcome = socket.welcome();
        if self.plan.listens {
            let rooms = welcome.rooms.iter().filter(|room| {
                matches!(room.kind.as_str(), "inbox" | "commons") || self.shared.is_ours(room.name.as_deref())
            });
            self.wanted = rooms.map(|room| room.room_id).collect();
        }
        self.socket = Some(socket);
        Ok(())
    }

    /// The connection is over. An error when the server says to stay away.
    pub(super) async fn fell(&mut self, error: SocketError) -> Result<(), TrialError> {
        self.forget_connection();
        if let SocketError::Closed { code, .. } = &error {
            self.shared.count(|tally| tally.closed(*code));
        }
        if !error.may_reconnect() {
            return Err(self.who.socket_error(error));
        }
        self.shared.count(|tally| tally.reconnects += 1);
        match error.refusal() {
            Some(refusal) => self.shared.wait_as_told(refusal).await,
            None => self.shared.breathe().await,
        }
        Ok(())
    }

    fn forget_connection(&mut self) -> Option<Socket> {
        for room_id in self.live.drain() {
            if let Some(position) = self.rooms.get(&room_id) {
                self.shared.recorder.heard(position.record, Heard::Lost);
            }
        }
        self.wanted.clear();
        self.belief = Belief::default();
        self.socket.take()
    }

    /// Drops the connection on purpose.
    pub(super) async fn leave(&mut self, rude: bool) {
        self.shared.count(|tally| tally.drops += 1);
        let Some(socket) = self.forget_connection() else { return };
        if rude {
            socket.abort();
        } else {
            // A failed goodbye changes nothing.
            drop(socket.close().await);
        }
    }

    /// Hears what comes until then; comes back when the connection is lost.
    pub(super) async fn listen_until(&mut self, deadline: Instant) -> Result<(), TrialError> {
        if !self.plan.listens {
            tokio::time::sleep_until(deadline).await;
            return Ok(());
        }
        while Instant::now() < deadline {
            // Never cancelled: the answer to a subscription says what the events behind it mean.
            self.up().await?;
            let Some(socket) = &mut self.socket else { continue };
            match timeout_at(deadline, socket.next()).await {
                Ok(Ok(frame)) => self.hear(frame),
                Ok(Err(error)) => self.fell(error).await?,
                Err(_) => return Ok(()),
            }
            if self.until_drop == 1 {
                let rude = self.mood.random_bool(0.5);
                self.leave(rude).await;
            }
        }
        Ok(())
    }

    /// Sends without expecting an answer.
    pub(super) async fn tell(&mut self, kind: &str, data: &Value) -> Result<(), TrialError> {
        self.up().await?;
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let text = json!({"type": kind, "data": data}).to_string();
        match socket.send_text(text).await {
            Ok(()) => Ok(()),
            Err(error) => self.fell(error).await,
        }
    }

    /// Sends requests together and hears until all are answered, or the connection is lost.
    pub(super) async fn exchange(
        &mut self,
        requests: &[(&'static str, Value)],
    ) -> Result<Vec<Answer>, TrialError> {
        let mut answers: Vec<Answer> = requests.iter().map(|_| Answer::Lost).collect();
        match self.ask(requests, &mut answers).await {
            Ok(()) => {}
            Err(error) => self.fell(error).await?,
        }
        Ok(answers)
    }

    async fn ask(
        &mut self,
        requests: &[(&'static str, Value)],
        answers: &mut [Answer],
    ) -> Result<(), SocketError> {
        let deadline = Instant::now() + PATIENCE;
        let mut asked = HashMap::new();
        for (index, (kind, data)) in requests.iter().enumerate() {
            let Some(socket) = &mut self.socket else { return Err(SocketError::Lost) };
            asked.insert(socket.send(kind, data).await?, index);
        }
        self.hear_answers(asked, answers, deadline).await
    }

    async fn hear_answers(
        &mut self,
        mut asked: HashMap<String, usize>,
        answers: &mut [Answer],
        deadline: Instant,
    ) -> Result<(), SocketError> {
        while !asked.is_empty() {
            let Some(socket) = &mut self.socket else { return Err(SocketError::Lost) };
            let frame = match timeout_at(deadline, socket.next()).await {
                Ok(frame) => frame?,
                Err(_) => return Err(SocketError::Silent("a reply")),
            };
            let (id, answer) = match frame {
                Frame::Reply { request_id: Some(id), data } => (id, Answer::Done(data)),
                Frame::Error { request_id: Some(id), refusal } => (id, Answer::Refused(refusal)),
                other => {
                    self.hear(other);
                    continue;
                }
            };
            if let Some(place) = asked.remove(&id).and_then(|index| answers.get_mut(index)) {
                *place = answer;
            }
        }
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), TrialError> {
        let mut places = Vec::with_capacity(self.wanted.len());
        // Taken out now: what is granted until the reply is wanted anew, whatever that says.
        for room_id in std::mem::take(&mut self.wanted) {
            let back = if self.mood.random_bool(0.25) { self.mood.random_range(0..10) } else { 0 };
            let known = self.rooms.get(&room_id).and_then(|at| at.last.map(|last| (at.start, last)));
            places.push((room_id, known.map(|(start, last)| last.saturating_sub(back).max(start))));
        }
        let rooms: Vec<Value> = places
            .iter()
            .map(|(room_id, after)| match after {
                Some(after) => json!({"room_id": room_id, "after": after}),
                None => json!({"room_id": room_id}),
            })
            .collect();
        let mut data = json!({"rooms": rooms});
        if let (Some(epoch), Some(data)) = (&self.epoch, data.as_object_mut()) {
            data.insert("epoch".to_owned(), json!(epoch));
        }
        let epoch = self.socket.as_ref().map(|socket| socket.welcome().epoch.clone());
        let answer = self.exchange(&[("room.subscribe", data)]).await?.pop();
        let reply = match answer {
            Some(Answer::Done(reply)) => reply,
            Some(Answer::Refused(refusal)) if refusal.retryable => {
                self.wanted.extend(places.iter().map(|(room_id, _)| *room_id));
                self.shared.wait_as_told(&refusal).await;
                return Ok(());
            }
            Some(Answer::Refused(refusal)) => {
                return Err(self.who.socket_error(SocketError::Refused(refusal)));
            }
            Some(Answer::Lost) | None => return Ok(()),
        };
        self.epoch = epoch;
        let bytes = reply.to_string().len();
        let entries = reply.get("rooms").and_then(Value::as_array).cloned().unwrap_or_default();
        if entries.len() != places.len() {
            let text = format!("{} entries for {} rooms", entries.len(), places.len());
            return Err(self.who.socket_error(SocketError::Shape(text)));
        }
        let mut again = BTreeSet::new();
        for ((room_id, after), entry) in places.into_iter().zip(entries) {
            match Subscribed::parse(&entry, room_id) {
                Ok(answer) => self.confirmed(room_id, after, answer, bytes).await?,
                Err(SocketError::Refused(refusal)) if refusal.retryable => drop(again.insert(room_id)),
                // Not ours any more.
                Err(SocketError::Refused(refusal)) if refusal.code == "not_found" => {
                    self.live.remove(&room_id);
                    self.belief.forget(room_id);
                }
                Err(error) => return Err(self.who.socket_error(error)),
            }
            if self.socket.is_none() {
                return Ok(());
            }
        }
        if !again.is_empty() {
            self.shared.breathe().await;
            self.wanted.extend(again);
        }
        Ok(())
    }

    async fn confirmed(
        &mut self,
        room_id: u64,
        after: Option<u64>,
        answer: Subscribed,
        reply: usize,
    ) -> Result<(), TrialError> {
        let (head, after) = (answer.head, after.unwrap_or(answer.head));
        let fresh = !self.rooms.contains_key(&room_id);
        if fresh {
            let record = self.shared.recorder.listener(&self.who.name, self.who.user, room_id);
            self.rooms.insert(room_id, Position { record, start: after, last: None });
        }
        let Some(record) = self.rooms.get(&room_id).map(|position| position.record) else { return Ok(()) };
        let missed = match answer.recovery {
            Recovery::Complete(events) => events,
            Recovery::Gap { reason, page } => {
                self.shared.count(|tally| tally.gaps += 1);
                self.shared.recorder.heard(record, Heard::Gap { reason, after, head, reply });
                let log = loop {
                    match self.who.client.room_gap(room_id, &page).await {
                        Ok(log) => break log,
                        // Removed in the meantime: what comes on this socket can't be told apart any more.
                        Err(error) if error.code() == "not_found" => {
                            self.leave(true).await;
                            return Ok(());
                        }
                        Err(error) => self.shared.retry_rest(&self.who, error).await?,
                    }
                };
                // What the page has beyond the confirmed head comes over the socket, too.
                log.events.into_iter().filter(|event| event.seq > after && event.seq <= head).collect()
            }
        };
        self.shared.recorder.heard(record, Heard::From { after, head });
        self.live.insert(room_id);
        if let Some(position) = self.rooms.get_mut(&room_id) {
            position.last = Some(after);
        }
        for event in missed {
            self.hear_event(event, false);
        }
        // The snapshot is of the moment of the head.
        let (typing, present) = self.belief.snapshot(room_id, &answer.room);
        self.shared.recorder.heard(record, Heard::Snapshot { typing, present });
        Ok(())
    }

    fn hear(&mut self, frame: Frame) {
        match frame {
            Frame::Event(event) => {
                self.until_drop = match self.until_drop {
                    0 | 1 => self.until_drop,
                    more => more - 1,
                };
                self.hear_event(event, true);
            }
            Frame::Signal { kind, json } => self.hear_signal(&kind, &json),
            Frame::Resync { room_id, from } => {
                self.shared.count(|tally| tally.resyncs += 1);
                self.live.remove(&room_id);
                self.belief.forget(room_id);
                self.wanted.insert(room_id);
                if let Some(position) = self.rooms.get(&room_id) {
                    self.shared.recorder.heard(position.record, Heard::Resync { from });
                }
            }
            _ => {}
        }
    }

    fn hear_event(&mut self, event: Event, now: bool) {
        self.shared.count(|tally| tally.heard += 1);
        self.learn(&event, now);
        // An event of a room nobody subscribed to is for the checker, under any room's record.
        let known = self.rooms.contains_key(&event.room_id);
        let room = if known { Some(event.room_id) } else { self.rooms.keys().next().copied() };
        if let Some(position) = room.and_then(|room| self.rooms.get_mut(&room)) {
            if known {
                position.last = Some(position.last.unwrap_or(0).max(event.seq));
            }
            self.shared.recorder.heard(position.record, Heard::Event(event));
        }
    }

    /// What follows from an event for this device. `now`: it came by itself.
    fn learn(&mut self, event: &Event, now: bool) {
        let data = |path: &str| event.json.pointer(path);
        match event.kind.as_str() {
            "message.posted" => {
                if let Some(author) = data("/data/author/id").and_then(Value::as_u64) {
                    self.belief.said(event.room_id, author);
                }
            }
            "message.edited" => {
                let number = |path| data(path).and_then(Value::as_u64);
                if let (Some(message), Some(version)) = (number("/data/message_id"), number("/data/version"))
                {
                    let known = self.versions.entry(message).or_default();
                    *known = version.max(*known);
                }
            }
            "membership.revoked" | "room.unlisted" if now => {
                let room_id = data("/data/room_id").and_then(Value::as_u64).unwrap_or_default();
                self.no_longer(room_id, event.id);
            }
            "room.deleted" => self.no_longer(event.room_id, event.id),
            // Replayed to somebody who is in the room, it is long over.
            "member.removed" if now && event.number("user_id") == Some(self.who.user) => {
                self.no_longer(event.room_id, event.id);
            }
            // A room that is there already is subscribed to, unless one was out of it.
            "membership.granted" | "room.listed" => {
                let name = data("/data/room/name").and_then(Value::as_str);
                let room_id = data("/data/room/id").and_then(Value::as_u64);
                if let Some(room_id) = room_id.filter(|_| self.shared.is_ours(name))
                    && (event.kind == "membership.granted" && now || !self.live.contains(&room_id))
                {
                    let came = self.came.entry(room_id).or_default();
                    *came = event.id.max(*came);
                    self.live.remove(&room_id);
                    self.wanted.insert(room_id);
                }
            }
            _ => {}
        }
    }

    /// Out of a room by that event: nothing more is heard of it, unless one came again since.
    fn no_longer(&mut self, room_id: u64, id: u64) {
        if self.came.get(&room_id).is_some_and(|came| *came > id) {
            return;
        }
        self.live.remove(&room_id);
        self.wanted.remove(&room_id);
        self.belief.forget(room_id);
    }

    fn hear_signal(&mut self, kind: &str, json: &Value) {
        let room_id = json.get("room_id").and_then(Value::as_u64).unwrap_or_default();
        let record = self.rooms.get(&room_id).map(|position| position.record);
        let number = |path: &str| json.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let heard = match kind {
            "typing" => {
                let typing = json.pointer("/data/typing").and_then(Value::as_bool).unwrap_or_default();
                let (user, at_seq) = (number("/data/user/id"), number("/at_seq"));
                self.belief.typing(room_id, user, typing);
                Heard::Typing { user, typing, at_seq }
            }
            "presence" => return self.belief.presence(json.pointer("/data/users")),
            "room.presence" => Heard::Moved {
                joined: ids(json.pointer("/data/joined")),
                left: ids(json.pointer("/data/left")),
            },
            _ => return,
        };
        if let Some(record) = record {
            self.shared.recorder.heard(record, heard);
        }
    }
}

/// A moment from now.
pub(super) fn within(duration: Duration) -> Instant {
    Instant::now() + duration
}

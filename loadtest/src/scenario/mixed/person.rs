//! One person of the day: comes, listens, writes in bursts, loses the connection, comes back with what is unanswered, leaves.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Builder;

use super::board::{Board, add};
use super::day::{Act, Day};
use super::frames::{Answer, Frame};
use crate::client::{Client, ClientError};
use crate::lean::{self, Door, Receiver, Scratch, Seen, Sender};
use crate::scenario::ScenarioError;
use crate::scenario::crowd::during;
use crate::words::{Writer, word};

const WHOLE: usize = 16 * 1024 * 1024;
/// A subscription has to be answered within.
const PATIENCE: Duration = Duration::from_secs(60);
/// Coming back after a loss: at first, and at most.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
const TRIES: usize = 40;
/// Bytes of a body.
const SHORTEST: usize = 10;
const LONGEST: usize = 300;
/// Messages of a page, hits of a search.
const PAGE: &str = "50";
const HITS: &str = "20";

/// What all people share.
pub(super) struct House {
    pub(super) board: Board,
    pub(super) writer: Writer,
    /// The rooms' ids by their number.
    pub(super) rooms: Vec<u64>,
    /// Where everybody's presence is told; heard by all.
    pub(super) commons: Option<u64>,
    pub(super) start: Instant,
    pub(super) scratch: Scratch,
}

/// What a person knows, on whichever connection.
#[derive(Default)]
struct Memory {
    /// The last seq of each room.
    at: RefCell<HashMap<u64, u64>>,
    /// Posts without an answer: the room and the frame, by id.
    pending: RefCell<BTreeMap<String, (u64, String)>>,
    /// Frames to be sent because of what was heard, and how long to wait before.
    todo: RefCell<Vec<(Duration, String)>>,
    subscribed: Cell<bool>,
    news: Notify,
}

pub(super) struct Person {
    pub(super) house: Rc<House>,
    pub(super) index: usize,
    pub(super) door: Door,
    pub(super) client: Client,
    pub(super) rng: SmallRng,
    pub(super) day: Day,
    memory: Rc<Memory>,
    line: Option<(Sender, JoinHandle<()>)>,
}

impl Person {
    pub(super) fn new(
        house: &Rc<House>,
        index: usize,
        (client, door): (Client, Door),
        day: Day,
        rng: SmallRng,
    ) -> Person {
        let memory = Rc::default();
        Person { house: Rc::clone(house), index, door, client, rng, day, memory, line: None }
    }

    /// Lives through the day.
    pub(super) async fn live(mut self) -> Result<Person, ScenarioError> {
        for (at, act) in std::mem::take(&mut self.day.acts) {
            let due = self.house.start + at;
            sleep_until(due).await;
            match act {
                Act::Come => self.connect().await?,
                Act::Leave => self.hang_up(),
                Act::Drop => {
                    self.hang_up();
                    add(&self.house.board.reconnects, 1);
                    sleep(self.part_of(FIRST_BACKOFF)).await;
                    self.connect().await?;
                }
                Act::Type(room) => {
                    let typing = json!({"type": "typing.start", "data": {"room_id": self.room(room)}});
                    self.say(&typing.to_string()).await?;
                }
                Act::Post(room) => self.post(room, due).await?,
                Act::Read(room) => self.read(room).await?,
                Act::Page(room) => self.page(room).await?,
                Act::Search => self.search().await?,
            }
        }
        Ok(self)
    }

    /// Comes once more and stays until everything of these rooms is there: the next morning.
    pub(super) async fn come_again(
        &mut self,
        heads: &HashMap<u64, u64>,
        deadline: Instant,
    ) -> Result<(), ScenarioError> {
        self.connect().await?;
        loop {
            let behind = self.day.rooms.iter().any(|room| {
                let room_id = self.room(*room);
                self.memory.at.borrow().get(&room_id) < heads.get(&room_id)
            });
            if !behind && self.memory.pending.borrow().is_empty() {
                break;
            }
            if Instant::now() > deadline {
                let what = if behind { "an acked post not heard by a member" } else { "a post not answered" };
                self.house.board.wrong(what);
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.hang_up();
        Ok(())
    }

    fn room(&self, number: usize) -> u64 {
        self.house.rooms.get(number).copied().unwrap_or_default()
    }

    fn part_of(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.rng.random::<f64>())
    }

    fn hang_up(&mut self) {
        if let Some((_, listening)) = self.line.take() {
            listening.abort();
        }
    }

    /// Sends a frame, on a new connection if the server ended the last one.
    async fn say(&mut self, text: &str) -> Result<(), ScenarioError> {
        if self.line.as_ref().is_none_or(|(_, listening)| listening.is_finished()) {
            self.connect().await?;
        }
        if let Some((sender, _)) = &self.line
            && sender.send(text).await.is_err()
        {
            // What was a post is pending and will be sent again.
            self.connect().await?;
        }
        Ok(())
    }

    async fn post(&mut self, room: usize, due: Instant) -> Result<(), ScenarioError> {
        let id = Builder::from_random_bytes(self.rng.random()).into_uuid().to_string();
        let bytes = self.rng.random_range(SHORTEST..=LONGEST);
        let body = self.house.writer.body(bytes, &mut self.rng);
        let room_id = self.room(room);
        let frame = json!({"type": "message.post", "request_id": id,
            "data": {"room_id": room_id, "client_message_id": id, "body": body}})
        .to_string();
        self.house.board.posts(&id, due);
        self.memory.pending.borrow_mut().insert(id, (room_id, frame.clone()));
        self.say(&frame).await
    }

    async fn read(&mut self, room: usize) -> Result<(), ScenarioError> {
        let room_id = self.room(room);
        let seq = self.memory.at.borrow().get(&room_id).copied().filter(|seq| *seq > 0);
        match seq {
            Some(seq) => {
                let mark =
                    json!({"type": "read.mark", "request_id": "r", "data": {"room_id": room_id, "seq": seq}});
                self.say(&mark.to_string()).await
            }
            None => Ok(()),
        }
    }

    async fn page(&mut self, room: usize) -> Result<(), ScenarioError> {
        let since = Instant::now();
        let path = format!("/rooms/{}/messages", self.room(room));
        if self.got(self.client.bytes(&path, &[("limit", PAGE.to_owned())]).await)? {
            self.house.board.pages.borrow_mut().record(since.elapsed());
        }
        Ok(())
    }

    async fn search(&mut self) -> Result<(), ScenarioError> {
        let since = Instant::now();
        // Rather a telling word than the most common.
        let words = word(self.rng.random_range(10..2_000));
        if self.got(self.client.bytes("/search", &[("q", words), ("limit", HITS.to_owned())]).await)? {
            self.house.board.searches.borrow_mut().record(since.elapsed());
        }
        Ok(())
    }

    /// Being asked to wait is counted; the person lets it be.
    fn got(&self, answer: Result<Bytes, ClientError>) -> Result<bool, ScenarioError> {
        match answer {
            Ok(_) => Ok(true),
            Err(ClientError::Refused(refusal)) if refusal.retryable => {
                add(&self.house.board.asked_to_wait, 1);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Connects, as often as it takes, and subscribes from where one was; sends again what had no answer.
    async fn connect(&mut self) -> Result<(), ScenarioError> {
        self.hang_up();
        let mut backoff = FIRST_BACKOFF;
        for _ in 0..TRIES {
            match lean::connect(&self.door, self.index).await {
                Ok(upgraded) => {
                    let receiver = Receiver::keeping(upgraded, &self.house.scratch, WHOLE);
                    if self.enter(receiver).await? {
                        return Ok(());
                    }
                }
                Err(error) if error.to_string().starts_with("no upgrade but: HTTP/1.1 4") => {
                    return Err(during("connecting")(error));
                }
                Err(_) => add(&self.house.board.asked_to_wait, 1),
            }
            let wait = self.part_of(backoff);
            sleep(wait).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
        Err(ScenarioError::Late { what: "coming back".to_owned() })
    }

    /// False when the connection ended meanwhile.
    async fn enter(&mut self, receiver: Receiver) -> Result<bool, ScenarioError> {
        let sender = receiver.sender();
        let memory = &self.memory;
        memory.subscribed.set(false);
        memory.todo.borrow_mut().clear();
        let mut rooms: Vec<u64> = self.day.rooms.iter().map(|room| self.room(*room)).collect();
        rooms.extend(self.house.commons);
        let places: Vec<_> = rooms.iter().map(|room_id| place(memory, *room_id)).collect();
        let ask = json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": places}}).to_string();
        if sender.send(&ask).await.is_err() {
            return Ok(false);
        }
        let listening = spawn_local(listen(receiver, Rc::clone(&self.house), Rc::clone(memory)));
        let waited = timeout(PATIENCE, async {
            while !memory.subscribed.get() && !listening.is_finished() {
                memory.news.notified().await;
            }
        });
        if waited.await.is_err() {
            return Err(ScenarioError::Late { what: "a subscription".to_owned() });
        }
        if listening.is_finished() {
            return Ok(false);
        }
        let again: Vec<String> = memory.pending.borrow().values().map(|(_, frame)| frame.clone()).collect();
        for frame in again {
            if sender.send(&frame).await.is_err() {
                return Ok(false);
            }
        }
        self.line = Some((sender, listening));
        Ok(true)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.hang_up();
    }
}

fn place(memory: &Memory, room_id: u64) -> serde_json::Value {
    match memory.at.borrow().get(&room_id) {
        Some(after) => json!({"room_id": room_id, "after": after}),
        None => json!({"room_id": room_id}),
    }
}

/// Hears until the connection ends.
async fn listen(mut receiver: Receiver, house: Rc<House>, memory: Rc<Memory>) {
    let sender = receiver.sender();
    loop {
        let heard = receiver.receive(|frame| {
            hear(frame, &house.board, &memory);
            if memory.todo.borrow().is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if heard.await.is_err() {
            add(&house.board.ended, 1);
            memory.news.notify_one();
            return;
        }
        for (wait, frame) in memory.todo.take() {
            let sender = sender.clone();
            // A connection that ended meanwhile has no use for it.
            spawn_local(async move {
                sleep(wait).await;
                drop(sender.send(&frame).await);
            });
        }
    }
}

fn hear(seen: Seen<'_>, board: &Board, memory: &Memory) {
    if !seen.is_text() {
        return;
    }
    if let Some((room_id, seq)) = seen.event() {
        let mut at = memory.at.borrow_mut();
        match at.get_mut(&room_id) {
            Some(at) if seq == *at + 1 => *at = seq,
            Some(at) => {
                board.wrong("an event that wasn't the next one");
                *at = seq;
            }
            None => board.wrong("an event of a room nobody subscribed to"),
        }
        if seen.is_type("message.posted") {
            board.delivered(seen.prefix);
        }
        return;
    }
    let asks = ["reply", "error", "room.resync"].iter().any(|kind| seen.is_type(kind));
    if !asks {
        return;
    }
    match Frame::parse(seen.prefix) {
        Some(Frame::Subscribed(rooms)) => {
            for answer in rooms {
                enter(&answer, board, memory);
            }
            memory.subscribed.set(true);
            memory.news.notify_one();
        }
        Some(Frame::Acked { id, seq, duplicate }) => {
            if let Some((room_id, _)) = memory.pending.borrow_mut().remove(&id) {
                board.acked(&id, room_id, seq, duplicate);
            } else if !duplicate {
                board.wrong("a second ack that says it is the first");
            }
        }
        Some(Frame::Refused { id, refusal }) => {
            let post = id.and_then(|id| memory.pending.borrow().get(&id).cloned());
            match post {
                Some((_, frame)) if refusal.retryable => {
                    add(&board.asked_to_wait, 1);
                    let wait = Duration::from_millis(refusal.retry_after_ms.unwrap_or(100));
                    memory.todo.borrow_mut().push((wait, frame));
                }
                _ => board.wrong(&format!("refused: {}", refusal.code)),
            }
        }
        Some(Frame::Resync { room_id }) => {
            add(&board.resyncs, 1);
            let ask = json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": [place(memory, room_id)]}});
            memory.todo.borrow_mut().push((Duration::ZERO, ask.to_string()));
        }
        Some(Frame::Other) => {}
        None => board.wrong("a frame of another shape"),
    }
}

/// One room's answer: with a cursor, what was missed is all there or called a gap.
fn enter(answer: &Answer, board: &Board, memory: &Memory) {
    let Answer { room_id, head, missed } = answer;
    let known = memory.at.borrow().get(room_id).copied();
    match (known, missed) {
        (Some(_), None) => add(&board.gaps, 1),
        (Some(known), Some(seqs)) => {
            if !seqs.iter().copied().eq(known + 1..=*head) {
                board.wrong("a recovery that isn't complete");
            }
            add(&board.resumed, head.saturating_sub(known));
        }
        (None, _) => {}
    }
    memory.at.borrow_mut().insert(*room_id, *head);
}

//! A house with an assistant, Ada, whose engine is the test's; and somebody who follows what she says.

use crate::harness::upstream::Upstream;
use crate::harness::{Ground, House, Listener, PATIENCE, Person};
use crate::rest::Caller;
use loadtest::socket::{Frame, Recovery, Subscribed};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The body of a message that isn't written yet.
pub(super) const PLACEHOLDER: &str = "…";
/// Ada's key.
pub(super) const KEY: &str = "sk-ada-s3cret";

pub(super) struct Scene {
    pub(super) house: House,
    pub(super) upstream: Upstream,
    pub(super) ada: u64,
}

/// What asking gave: the question, the run, and the message that will be the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) prompt: u64,
    pub(super) run: u64,
    pub(super) message: u64,
}

impl Scene {
    pub(super) async fn open(ground: Ground) -> Self {
        Self::open_with(ground, &[]).await
    }

    /// The same with settings, as `ai.workers=1`.
    pub(super) async fn open_with(ground: Ground, settings: &[&str]) -> Self {
        let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
        Self::in_house(House::open_with(ground, &flags).await).await
    }

    pub(super) async fn in_house(house: House) -> Self {
        let upstream = Upstream::start().await;
        let ada = assistant(&house, "Ada", &upstream.url(), json!({})).await;
        Self { house, upstream, ada }
    }

    pub(super) fn lobby(&self) -> u64 {
        self.house.lobby
    }

    pub(super) fn ann(&self) -> Caller {
        Caller::of(&self.house.admin)
    }

    /// The admin asks Ada in a room.
    pub(super) async fn asks_in(&self, room: u64, question: &str) -> Asked {
        asks(&self.ann(), room, &format!("@Ada {question}")).await
    }

    /// The admin asks Ada in the lobby.
    pub(super) async fn asks(&self, question: &str) -> Asked {
        self.asks_in(self.lobby(), question).await
    }

    /// Somebody who listens to the lobby.
    pub(super) async fn follows(&self) -> Follower {
        Follower::of(&self.house.admin, self.lobby()).await
    }

    /// Asks, and hears how it ends.
    pub(super) async fn is_answered(&self, question: &str) -> Value {
        let mut follower = self.follows().await;
        let asked = self.asks(question).await;
        follower.hears_the_end(asked.run).await
    }

    /// The run, as REST shows it.
    pub(super) async fn run(&self, room: u64, run: u64) -> Value {
        self.ann().get(&format!("/rooms/{room}/runs/{run}")).await.expect(200)
    }

    /// Waits until a run is so.
    pub(super) async fn run_becomes(&self, run: u64, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let seen = self.run(self.lobby(), run).await;
            if is(&seen) {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "never {what}: {seen}\n{}", self.house.server.log_tail());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A message of the lobby, as REST shows it.
    pub(super) async fn message(&self, message: u64) -> Value {
        self.ann().get(&format!("/messages/{message}")).await.expect(200)
    }
}

/// One more assistant; its id. `more` are further fields.
pub(super) async fn assistant(house: &House, name: &str, url: &str, more: Value) -> u64 {
    let mut body = json!({ "name": name, "base_url": url, "model": "parrot", "api_key": KEY,
        "instructions": "Be brief.", "prompt_price": 1_000_000, "completion_price": 2_000_000 });
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    let made = Caller::of(&house.admin).post("/assistants", body).await.expect(201);
    made["id"].as_u64().expect("an id")
}

/// Budgets of rooms are of a day: none ends in the next minute.
pub(super) async fn no_midnight_soon() {
    let left = 86_400 - chrono::Utc::now().timestamp().rem_euclid(86_400);
    if let Ok(wait @ ..60) = u64::try_from(left) {
        tokio::time::sleep(Duration::from_secs(wait + 1)).await;
    }
}

/// Posts; what came of asking the one assistant that is mentioned.
pub(super) async fn summons(caller: &Caller, room: u64, body: &str) -> (u64, Value) {
    let posted = caller.post(&format!("/rooms/{room}/messages"), json!({ "body": body })).await.expect(201);
    let runs = posted["runs"].as_array().unwrap_or_else(|| panic!("nobody was asked: {posted}"));
    assert_eq!(runs.len(), 1, "{posted}");
    (posted["id"].as_u64().expect("an id"), runs[0].clone())
}

/// Posts what asks one assistant.
pub(super) async fn asks(caller: &Caller, room: u64, body: &str) -> Asked {
    let (prompt, run) = summons(caller, room, body).await;
    let id = |name: &str| run[name].as_u64().unwrap_or_else(|| panic!("not asked: {run}"));
    Asked { prompt, run: id("run_id"), message: id("message_id") }
}

/// Posts what asks one assistant in vain: the error.
pub(super) async fn is_refused(caller: &Caller, room: u64, body: &str) -> Value {
    let (_, run) = summons(caller, room, body).await;
    assert!(run["error"]["code"].is_string(), "{run}");
    run["error"].clone()
}

/// Somebody who listens to a room and holds what is said against what was promised: each byte once, in order, and nothing after the
/// end.
pub(super) struct Follower {
    pub(super) listener: Listener,
    room: u64,
    /// What was heard of runs that aren't over.
    pub(super) said: HashMap<u64, String>,
    /// The data of `ai.ended`, by run.
    pub(super) ended: HashMap<u64, Value>,
    /// Those of which `ai.state` told.
    pub(super) begun: HashSet<u64>,
    /// Pieces that were heard of runs (count).
    pub(super) pieces: HashMap<u64, usize>,
    /// The messages that runs fill.
    places: HashMap<u64, u64>,
    /// How often it had to subscribe anew because it was too slow.
    pub(super) resyncs: usize,
    seq: u64,
}

impl Follower {
    pub(super) async fn of(person: &Person, room: u64) -> Self {
        Self::by(person.connects().await, room).await
    }

    pub(super) async fn by(mut listener: Listener, room: u64) -> Self {
        let subscribed = listener.joins(room, None).await;
        let mut follower = Self {
            listener,
            room,
            said: HashMap::new(),
            ended: HashMap::new(),
            begun: HashSet::new(),
            pieces: HashMap::new(),
            places: HashMap::new(),
            resyncs: 0,
            seq: subscribed.head,
        };
        follower.takes(&subscribed);
        follower
    }

    /// Goes on with another socket.
    pub(super) async fn goes_on_by(&mut self, listener: Listener) {
        let before = std::mem::replace(&mut self.listener, listener);
        before.socket.abort();
        self.subscribes().await;
    }

    async fn subscribes(&mut self) {
        let subscribed = self.listener.joins(self.room, Some(self.seq)).await;
        let Recovery::Complete(missed) = &subscribed.recovery else {
            panic!("a gap: {:?}", subscribed.recovery);
        };
        for event in missed {
            self.hears(&Frame::Event(event.clone()));
        }
        self.seq = self.seq.max(subscribed.head);
        self.takes(&subscribed);
    }

    /// What is being said at this moment.
    fn takes(&mut self, subscribed: &Subscribed) {
        let streams = subscribed.room["streams"].as_array().cloned().unwrap_or_default();
        let mut open = HashSet::new();
        for stream in streams {
            let (run, text) = (stream["run_id"].as_u64().expect("an id"), text_of(&stream));
            assert!(!self.ended.contains_key(&run), "run {run} is over: {stream}");
            self.is_in_place(run, &stream);
            let known = self.said.get(&run).map_or("", String::as_str);
            assert!(text.starts_with(known), "run {run}: {text:?} doesn't go on from {known:?}");
            self.said.insert(run, text);
            self.begun.insert(run);
            open.insert(run);
        }
    }

    /// What is told of a run names the message that it fills, always the same.
    fn is_in_place(&mut self, run: u64, data: &Value) {
        let message = data["message_id"].as_u64().unwrap_or_else(|| panic!("of no message: {data}"));
        assert_eq!(*self.places.entry(run).or_insert(message), message, "run {run}: {data}");
    }

    /// Takes a frame in.
    fn hears(&mut self, frame: &Frame) {
        match frame {
            Frame::Signal { kind, json } if kind == "ai.state" => {
                let data = &json["data"];
                let run = data["run_id"].as_u64().expect("an id");
                assert_eq!(data["state"], "running", "{json}");
                self.is_in_place(run, data);
                assert!(!self.ended.contains_key(&run), "run {run} is over: {json}");
                self.begun.insert(run);
                self.said.entry(run).or_default();
            }
            Frame::Signal { kind, json } if kind == "ai.delta" => {
                let data = &json["data"];
                let run = data["run_id"].as_u64().expect("an id");
                assert!(!self.ended.contains_key(&run), "run {run} is over: {json}");
                assert!(self.begun.contains(&run), "run {run} never began: {json}");
                self.is_in_place(run, data);
                let said = self.said.entry(run).or_default();
                let offset = data["offset"].as_u64().expect("a number");
                assert_eq!(offset, said.len() as u64, "run {run} goes on from {said:?}: {json}");
                said.push_str(&text_of(data));
                *self.pieces.entry(run).or_default() += 1;
            }
            Frame::Event(event) => {
                self.seq = self.seq.max(event.seq);
                if let Some(run) = event.json["data"]["run"]["id"].as_u64() {
                    self.places.insert(run, event.id);
                }
                if event.kind == "ai.ended" {
                    let data = event.json["data"].clone();
                    let run = data["run_id"].as_u64().expect("an id");
                    self.is_in_place(run, &data);
                    if let (Some(said), Some(body)) = (self.said.remove(&run), data["body"].as_str()) {
                        let is_all = body == said || said.trim().is_empty();
                        // Whoever ended it in the writer's stead knows what was stored last.
                        let is_stored =
                            ["assistant_gone", "lease_lost"].iter().any(|why| data["reason"] == *why);
                        let is_less = is_stored && (said.starts_with(body) || body == PLACEHOLDER);
                        let is_more = body.starts_with(&said);
                        assert!(is_all || is_more || is_less, "run {run}: {said:?} became {body:?}");
                    }
                    assert!(self.ended.insert(run, data).is_none(), "run {run} ended twice");
                }
            }
            Frame::Signal { .. } => {}
            other => panic!("heard {other:?}"),
        }
    }

    /// The next frame, taken in.
    pub(super) async fn next(&mut self) -> Frame {
        let frame = self.listener.next().await;
        if let Frame::Resync { .. } = frame {
            self.resyncs += 1;
            self.subscribes().await;
        } else {
            self.hears(&frame);
        }
        frame
    }

    /// Listens until a run has ended: the data of its end.
    pub(super) async fn hears_the_end(&mut self, run: u64) -> Value {
        let began = Instant::now();
        while !self.ended.contains_key(&run) {
            assert!(began.elapsed() < PATIENCE, "run {run} doesn't end: {:?}", self.said.get(&run));
            self.next().await;
        }
        self.ended[&run].clone()
    }

    /// Listens until so much was said.
    pub(super) async fn hears_said(&mut self, run: u64, text: &str) {
        while self.said.get(&run).is_none_or(|said| said != text) {
            let said = self.said.get(&run).cloned().unwrap_or_default();
            assert!(text.starts_with(&said), "{said:?} isn't the beginning of {text:?}");
            assert!(!self.ended.contains_key(&run), "over: {:?}", self.ended.get(&run));
            self.next().await;
        }
    }

    /// Listens until more than so many bytes were said.
    pub(super) async fn hears_said_more_than(&mut self, run: u64, bytes: usize) {
        while self.said.get(&run).is_none_or(|said| said.len() <= bytes) {
            assert!(!self.ended.contains_key(&run), "over: {:?}", self.ended.get(&run));
            self.next().await;
        }
    }

    /// Listens until a message with this body comes; the frames before it.
    pub(super) async fn hears_message(&mut self, body: &str) -> Vec<Frame> {
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
}

fn text_of(of: &Value) -> String {
    of["text"].as_str().unwrap_or_else(|| panic!("no text: {of}")).to_owned()
}

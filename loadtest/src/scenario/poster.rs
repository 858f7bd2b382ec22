//! Who posts as fast as wanted: a lean socket, frames made of ready parts, acks counted beside.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use uuid::{Builder, Uuid};

use super::ScenarioError;
use super::crowd::during;
use crate::baseline;
use crate::lean::{Receiver, Sender, client_text};
use crate::stats::Latencies;
use crate::wire::Refusal;
use crate::words::Writer;

/// Different texts a poster has; the server remembers a few per user against repetition.
const TEXTS: usize = 64;

/// The texts that posters of one run share, each as the end of its frame.
#[derive(Clone)]
pub struct Texts(Rc<Vec<String>>);

impl Texts {
    /// Bodies of so many bytes.
    pub fn new(body: usize, rng: &mut SmallRng) -> Texts {
        let writer = Writer::default();
        let tails = (0..TEXTS).map(|_| format!(r#"","body":"{}"}}}}"#, writer.body(body.max(1), rng)));
        Texts(Rc::new(tails.collect()))
    }
}

/// An ack has to come within.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the frames of posts.
pub struct Frames {
    parts: Parts,
    rng: SmallRng,
    next: usize,
}

enum Parts {
    /// What stands before the id, and what behind it.
    Hearth { head: String, tails: Texts },
    /// Bytes of the text.
    Bare(usize),
}

impl Frames {
    /// For a room of the server.
    pub fn hearth(room_id: u64, texts: &Texts, rng: &mut SmallRng) -> Frames {
        let parts = Parts::Hearth { head: head(room_id), tails: texts.clone() };
        Frames { parts, next: rng.random_range(0..TEXTS), rng: fork(rng) }
    }

    /// For the broadcaster: as long as the server's.
    pub fn bare(texts: &Texts, rng: &mut SmallRng) -> Frames {
        let length = head(1).len() + baseline::TAG + texts.0.first().map_or(0, String::len);
        Frames { parts: Parts::Bare(length), next: 0, rng: fork(rng) }
    }

    /// The next post, with an id nobody has used.
    pub fn post(&mut self) -> (Uuid, Vec<u8>) {
        let id = Builder::from_random_bytes(self.rng.random()).into_uuid();
        self.next += 1;
        let text = match &self.parts {
            Parts::Hearth { head, tails } => {
                let tail = tails.0.get(self.next % TEXTS).map_or("", String::as_str);
                format!("{head}{id}{tail}")
            }
            Parts::Bare(bytes) => baseline::post(&id.to_string(), *bytes),
        };
        (id, client_text(&text))
    }
}

/// A post to this room up to its id.
pub fn head(room_id: u64) -> String {
    format!(r#"{{"type":"message.post","request_id":"p","data":{{"room_id":{room_id},"client_message_id":""#)
}

fn fork(rng: &mut SmallRng) -> SmallRng {
    SmallRng::seed_from_u64(rng.random())
}

/// What all posters' answers come to.
#[derive(Default)]
pub struct Desk {
    acks: Cell<u64>,
    latencies: RefCell<Latencies>,
    refused: RefCell<VecDeque<Refusal>>,
    refusals: Cell<u64>,
    news: Notify,
}

impl Desk {
    pub fn acks(&self) -> u64 {
        self.acks.get()
    }

    pub fn refusals(&self) -> u64 {
        self.refusals.get()
    }

    /// From sending to being answered.
    pub fn latencies(&self) -> Latencies {
        self.latencies.borrow().clone()
    }

    /// Forgets how long answers took so far.
    pub fn begin(&self) {
        *self.latencies.borrow_mut() = Latencies::default();
    }

    /// Waits for a refusal.
    pub async fn refusal(&self) -> Refusal {
        loop {
            if let Some(refusal) = self.refused.borrow_mut().pop_front() {
                return refusal;
            }
            self.news.notified().await;
        }
    }

    /// A refusal that is there already.
    pub fn take_refusal(&self) -> Option<Refusal> {
        self.refused.borrow_mut().pop_front()
    }

    /// Waits until so many were acked; a refusal is an error, and so is silence.
    pub async fn all_acked(&self, wanted: u64) -> Result<(), ScenarioError> {
        loop {
            if let Some(refusal) = self.take_refusal() {
                return Err(ScenarioError::Refused(format!("a post was refused: {refusal}")));
            }
            if self.acks.get() >= wanted {
                return Ok(());
            }
            if timeout(PATIENCE, self.news.notified()).await.is_err() {
                return Err(ScenarioError::Late {
                    what: format!("{} of {wanted} acks", wanted - self.acks()),
                });
            }
        }
    }

    /// Waits until so many were acked.
    pub async fn acked(&self, wanted: u64) {
        while self.acks.get() < wanted {
            self.news.notified().await;
        }
    }

    /// Counts an `error` frame.
    pub fn refuse(&self, frame: &[u8]) {
        self.refused.borrow_mut().push_back(refusal_in(frame));
        self.refusals.set(self.refusals.get() + 1);
        self.news.notify_one();
    }
}

/// What an `error` frame says.
pub fn refusal_in(frame: &[u8]) -> Refusal {
    let frame: Value = serde_json::from_slice(frame).unwrap_or_default();
    serde_json::from_value(frame.get("error").cloned().unwrap_or_default()).unwrap_or_default()
}

/// Waits when that is what the server asks for.
pub async fn obey(refusal: &Refusal) -> Result<(), ScenarioError> {
    if !refusal.retryable {
        return Err(ScenarioError::Refused(format!("a post was refused: {refusal}")));
    }
    sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(100))).await;
    Ok(())
}

/// One who posts to one room. Dropping it closes the connection.
pub struct Poster {
    sender: Sender,
    frames: Frames,
    sent: Rc<RefCell<VecDeque<Instant>>>,
    listening: JoinHandle<()>,
}

impl Poster {
    /// Has to run inside a `LocalSet`.
    pub fn new(mut receiver: Receiver, frames: Frames, desk: &Rc<Desk>) -> Poster {
        let sender = receiver.sender();
        let sent: Rc<RefCell<VecDeque<Instant>>> = Rc::default();
        let (desk, waiting) = (Rc::clone(desk), Rc::clone(&sent));
        let listening = tokio::task::spawn_local(async move {
            let heard = receiver.receive(|frame| {
                let is_error = frame.is_type("error");
                if is_error || frame.is_type("reply") {
                    // One socket's posts to one room are answered in order.
                    let since = waiting.borrow_mut().pop_front();
                    if is_error {
                        desk.refuse(frame.prefix);
                    } else {
                        if let Some(since) = since {
                            desk.latencies.borrow_mut().record(since.elapsed());
                        }
                        desk.acks.set(desk.acks.get() + 1);
                        desk.news.notify_one();
                    }
                }
                ControlFlow::Continue(())
            });
            if let Err(error) = heard.await {
                desk.refuse(gone(&error).as_bytes());
            }
        });
        Poster { sender, frames, sent, listening }
    }

    /// Sends the next post and doesn't wait for its ack.
    pub async fn post(&mut self) -> Result<(), ScenarioError> {
        let (_, frame) = self.frames.post();
        self.sent.borrow_mut().push_back(Instant::now());
        self.sender.write(&frame).await.map_err(during("posting"))
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A lost connection as a refusal that is final.
fn gone(error: &std::io::Error) -> String {
    serde_json::json!({"error": {"code": "lost", "message": error.to_string(), "retryable": false}})
        .to_string()
}

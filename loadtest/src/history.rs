//! What the clients did and heard, written down by the clients; the checker's one side of the story.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::wire::{Ack, Event};

/// Everything recorded in one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub posts: HashMap<Uuid, Post>,
    pub listeners: Vec<Listener>,
    pub feeds: Vec<Feed>,
}

/// One message as its author knows it. Times are since the start of the run.
#[derive(Debug, Clone)]
pub struct Post {
    pub room_id: u64,
    pub body: String,
    /// When the first attempt was sent.
    pub sent_at: Duration,
    pub acks: Vec<Ack>,
    /// When the first ack arrived.
    pub acked_at: Option<Duration>,
    /// Codes of the refusals that promise nothing was stored.
    pub refusals: Vec<String>,
    /// Attempts so far; those neither acked nor refused have an unknown outcome.
    pub attempts: usize,
}

/// What one subscriber heard of one room, over all its connections.
#[derive(Debug, Clone)]
pub struct Listener {
    pub name: String,
    pub room_id: u64,
    pub heard: Vec<Heard>,
    /// Was it told to stay until it had the last event?
    pub until_head: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A subscription was confirmed: events above `after` follow.
    From {
        after: u64,
    },
    /// The server could not replay, and said so.
    Gap {
        reason: String,
    },
    Event(Event),
}

/// What one reader of the long poll `GET /events` got.
#[derive(Debug, Clone)]
pub struct Feed {
    pub name: String,
    /// It asked for events above this id.
    pub after: u64,
    pub events: Vec<Event>,
    /// Reasons of answers that were a gap.
    pub gaps: Vec<String>,
    pub until_head: bool,
}

/// A history in the making, shared by all clients of a run.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    history: Arc<Mutex<History>>,
}

/// Where one listener writes.
#[derive(Debug, Clone, Copy)]
pub struct ListenerId(usize);

/// Where one feed reader writes.
#[derive(Debug, Clone, Copy)]
pub struct FeedId(usize);

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { start: Instant::now(), history: Arc::default() }
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before the command leaves, for every attempt.
    pub fn sending(&self, id: Uuid, room_id: u64, body: &str) {
        let now = self.start.elapsed();
        let mut history = self.lock();
        let post = history.posts.entry(id).or_insert_with(|| Post {
            room_id,
            body: body.to_owned(),
            sent_at: now,
            acks: Vec::new(),
            acked_at: None,
            refusals: Vec::new(),
            attempts: 0,
        });
        post.attempts += 1;
    }

    pub fn acked(&self, id: Uuid, ack: Ack) {
        let now = self.start.elapsed();
        if let Some(post) = self.lock().posts.get_mut(&id) {
            post.acks.push(ack);
            post.acked_at.get_or_insert(now);
        }
    }

    /// A refusal that promises nothing was stored. (`unavailable` does not: that is an unknown outcome.)
    pub fn refused(&self, id: Uuid, code: &str) {
        if let Some(post) = self.lock().posts.get_mut(&id) {
            post.refusals.push(code.to_owned());
        }
    }

    pub fn listener(&self, name: &str, room_id: u64) -> ListenerId {
        let mut history = self.lock();
        history.listeners.push(Listener {
            name: name.to_owned(),
            room_id,
            heard: Vec::new(),
            until_head: false,
        });
        ListenerId(history.listeners.len() - 1)
    }

    pub fn heard(&self, id: ListenerId, heard: Heard) {
        if let Some(listener) = self.lock().listeners.get_mut(id.0) {
            listener.heard.push(heard);
        }
    }

    /// The listener stayed to the end: it has to have heard the last event.
    pub fn stayed(&self, id: ListenerId) {
        if let Some(listener) = self.lock().listeners.get_mut(id.0) {
            listener.until_head = true;
        }
    }

    pub fn feed(&self, name: &str, after: u64) -> FeedId {
        let mut history = self.lock();
        let name = name.to_owned();
        history.feeds.push(Feed { name, after, events: Vec::new(), gaps: Vec::new(), until_head: false });
        FeedId(history.feeds.len() - 1)
    }

    pub fn fed(&self, id: FeedId, events: Vec<Event>, gap: Option<String>) {
        if let Some(feed) = self.lock().feeds.get_mut(id.0) {
            feed.events.extend(events);
            feed.gaps.extend(gap);
        }
    }

    pub fn feed_stayed(&self, id: FeedId) {
        if let Some(feed) = self.lock().feeds.get_mut(id.0) {
            feed.until_head = true;
        }
    }

    /// The run is over and waited long enough: whoever has not got everything never will.
    pub fn all_stayed(&self) {
        let mut history = self.lock();
        history.listeners.iter_mut().for_each(|listener| listener.until_head = true);
        history.feeds.iter_mut().for_each(|feed| feed.until_head = true);
    }

    /// The history so far.
    pub fn history(&self) -> History {
        self.lock().clone()
    }
}

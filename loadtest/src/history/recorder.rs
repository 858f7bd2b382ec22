//! A history in the making, shared by all clients of a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use uuid::Uuid;

use super::{Deed, Ending, Feed, Heard, History, Listener, Origin, Post, Reading, What};
use crate::wire::{Ack, Event};

#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    history: Arc<Mutex<History>>,
}

/// Where one device writes about one room.
#[derive(Debug, Clone, Copy)]
pub struct ListenerId(usize);

/// Where one feed reader writes.
#[derive(Debug, Clone, Copy)]
pub struct FeedId(usize);

/// Where one command's attempts and answers are written.
#[derive(Debug, Clone, Copy)]
pub struct DeedId(usize);

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
    pub fn sending(&self, by: u64, id: Uuid, room_id: u64, body: &str) {
        let now = self.start.elapsed();
        let mut history = self.lock();
        let post = history.posts.entry(id).or_insert_with(|| Post {
            by,
            room_id,
            body: body.to_owned(),
            sent_at: now,
            acks: Vec::new(),
            unknown: 0,
            acked_at: None,
            refusals: Vec::new(),
            denied: None,
            attempts: 0,
        });
        post.attempts += 1;
    }

    pub fn acked(&self, id: Uuid, ack: Ack) {
        let now = self.start.elapsed();
        if let Some(post) = self.lock().posts.get_mut(&id) {
            if post.acks.is_empty() {
                post.unknown = post.attempts.saturating_sub(1 + post.refusals.len());
            }
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

    /// The client gives a post up.
    pub fn denied(&self, id: Uuid, code: &str) {
        if let Some(post) = self.lock().posts.get_mut(&id) {
            post.denied = Some(code.to_owned());
        }
    }

    /// A command is about to be sent for the first time.
    pub fn deed(&self, by: u64, what: What) -> DeedId {
        let sent_at = self.start.elapsed();
        let mut history = self.lock();
        history.deeds.push(Deed { by, what, sent_at, attempts: 0, refusals: Vec::new(), done: None });
        DeedId(history.deeds.len() - 1)
    }

    fn on_deed(&self, id: DeedId, change: impl FnOnce(&mut Deed)) {
        if let Some(deed) = self.lock().deeds.get_mut(id.0) {
            change(deed);
        }
    }

    pub fn attempting(&self, id: DeedId) {
        self.on_deed(id, |deed| deed.attempts += 1);
    }

    pub fn deed_done(&self, id: DeedId, data: Value) {
        let now = self.start.elapsed();
        self.on_deed(id, |deed| deed.done = Some((now, data)));
    }

    pub fn deed_refused(&self, id: DeedId, code: &str) {
        self.on_deed(id, |deed| deed.refusals.push(code.to_owned()));
    }

    pub fn room(&self, room_id: u64, origin: Origin) {
        self.lock().rooms.insert(room_id, origin);
    }

    pub fn listener(&self, name: &str, user: u64, room_id: u64) -> ListenerId {
        let mut history = self.lock();
        let (name, heard) = (name.to_owned(), Vec::new());
        history.listeners.push(Listener { name, user, room_id, heard, until_head: false });
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

    /// A device will listen to the end.
    pub fn expects(&self, device: &str) {
        self.lock().expected.push(device.to_owned());
    }

    pub fn ending(&self, ending: Ending) {
        self.lock().endings.push(ending);
    }

    pub fn readings(&self, readings: Vec<Reading>) {
        self.lock().readings.extend(readings);
    }

    /// The run is over and waited long enough: a reader that has not got everything never will.
    pub fn all_fed(&self) {
        self.lock().feeds.iter_mut().for_each(|feed| feed.until_head = true);
    }

    /// The history so far.
    pub fn history(&self) -> History {
        self.lock().clone()
    }
}

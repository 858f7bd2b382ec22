//! The last events of a room, encoded, so that those who drop for a moment needn't be served from the store.

use crate::domain::{Seq, Timestamp};
use bytes::Bytes;
use std::collections::VecDeque;

/// A contiguous run of events that ends at the head; bounded in count and bytes.
#[derive(Debug)]
pub(super) struct Recent {
    events: VecDeque<Entry>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    seq: Seq,
    at: Timestamp,
    /// JSON text, a slice of the frame that was sent.
    json: Bytes,
}

/// What came after a position.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// When the first of them happened.
    pub(super) since: Option<Timestamp>,
    pub(super) events: Vec<Bytes>,
}

impl Recent {
    /// Holds at most `max_events` events and `max_bytes` bytes.
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, max_events, max_bytes }
    }

    /// The next event.
    pub(super) fn push(&mut self, seq: Seq, at: Timestamp, json: Bytes) {
        self.bytes += json.len();
        self.events.push_back(Entry { seq, at, json });
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            match self.events.pop_front() {
                Some(entry) => self.bytes -= entry.json.len(),
                None => break,
            }
        }
    }

    /// Everything after `after`, if all of it up to `head` is still here.
    pub(super) fn after(&self, after: Seq, head: Seq) -> Option<Missed> {
        if after == head {
            return Some(Missed::default());
        }
        let first = self.events.front()?.seq;
        if first > after.next() {
            return None;
        }
        let missed = || self.events.iter().filter(|entry| entry.seq > after);
        Some(Missed {
            since: missed().next().map(|entry| entry.at),
            events: missed().map(|entry| entry.json.clone()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_all_of_it_or_nothing() {
        let mut recent = Recent::new(3, 1_000);
        for seq in 1..=5 {
            recent.push(Seq::new(seq), Timestamp::from_millis(seq), Bytes::from_static(b"{}"));
        }
        let head = Seq::new(5);
        assert_eq!(recent.after(head, head).map(|missed| missed.events.len()), Some(0));
        assert_eq!(recent.after(Seq::new(2), head).map(|missed| missed.events.len()), Some(3));
        assert!(recent.after(Seq::new(1), head).is_none());
        let mut heavy = Recent::new(10, 5);
        for seq in 1..=3 {
            heavy.push(Seq::new(seq), Timestamp::from_millis(seq), Bytes::from_static(b"abc"));
        }
        assert!(heavy.after(Seq::new(1), Seq::new(3)).is_none(), "bounded in bytes");
        assert!(heavy.after(Seq::new(2), Seq::new(3)).is_some());
    }
}

//! What everybody of the day writes down, and whether it adds up.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use memchr::memmem::Finder;
use tokio::time::Instant;

use crate::stats::Latencies;

/// Bytes of a message's id as text.
const ID: usize = 36;
const ID_KEY: &[u8] = br#""client_message_id":""#;

pub(super) struct Board {
    key: Finder<'static>,
    /// When each post was due, by its id.
    due: RefCell<HashMap<[u8; ID], Instant>>,
    /// The seqs that were acked, by room.
    acked: RefCell<HashMap<u64, HashSet<u64>>>,
    pub(super) latencies: RefCell<Latencies>,
    pub(super) acks: RefCell<Latencies>,
    pub(super) pages: RefCell<Latencies>,
    pub(super) searches: RefCell<Latencies>,
    pub(super) posted: Cell<u64>,
    pub(super) deliveries: Cell<u64>,
    pub(super) reconnects: Cell<u64>,
    /// Connections that the server ended.
    pub(super) ended: Cell<u64>,
    pub(super) asked_to_wait: Cell<u64>,
    pub(super) resumed: Cell<u64>,
    pub(super) gaps: Cell<u64>,
    pub(super) resyncs: Cell<u64>,
    /// Why the day was not as promised, and how often.
    wrong: RefCell<BTreeMap<String, u64>>,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            key: Finder::new(ID_KEY),
            due: RefCell::default(),
            acked: RefCell::default(),
            latencies: RefCell::default(),
            acks: RefCell::default(),
            pages: RefCell::default(),
            searches: RefCell::default(),
            posted: Cell::default(),
            deliveries: Cell::default(),
            reconnects: Cell::default(),
            ended: Cell::default(),
            asked_to_wait: Cell::default(),
            resumed: Cell::default(),
            gaps: Cell::default(),
            resyncs: Cell::default(),
            wrong: RefCell::default(),
        }
    }
}

pub(super) fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

impl Board {
    pub(super) fn posts(&self, id: &str, due: Instant) {
        if let Ok(id) = id.as_bytes().try_into() {
            self.due.borrow_mut().insert(id, due);
            add(&self.posted, 1);
        }
    }

    /// A post's ack: no two have the same place.
    pub(super) fn acked(&self, id: &str, room_id: u64, seq: u64, duplicate: bool) {
        if !self.acked.borrow_mut().entry(room_id).or_default().insert(seq) {
            self.wrong("two posts acked with the same seq");
        }
        if let (Some(late), false) = (self.late(id.as_bytes()), duplicate) {
            self.acks.borrow_mut().record(late);
        }
    }

    /// An event of a message, as it came to somebody.
    pub(super) fn delivered(&self, frame: &[u8]) {
        add(&self.deliveries, 1);
        let behind = self.key.find(frame).and_then(|at| frame.get(at + ID_KEY.len()..));
        if let Some(late) = behind.and_then(|behind| self.late(behind)) {
            self.latencies.borrow_mut().record(late);
        }
    }

    fn late(&self, id: &[u8]) -> Option<Duration> {
        let id: &[u8; ID] = id.get(..ID)?.try_into().ok()?;
        self.due.borrow().get(id).map(Instant::elapsed)
    }

    /// How many were acked in a room.
    pub(super) fn acked_in(&self, room_id: u64) -> u64 {
        let acked = self.acked.borrow();
        acked.get(&room_id).map_or(0, |seqs| u64::try_from(seqs.len()).unwrap_or(u64::MAX))
    }

    pub(super) fn wrong(&self, what: &str) {
        *self.wrong.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn wrongs(&self) -> BTreeMap<String, u64> {
        self.wrong.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_as_late_as_its_post_was_due() {
        let board = Board::default();
        let id = uuid::Uuid::nil().to_string();
        board.posts(&id, Instant::now());
        board.delivered(
            format!(r#"{{"type":"message.posted","data":{{"client_message_id":"{id}"}}}}"#).as_bytes(),
        );
        board.delivered(br#"{"type":"message.posted","data":{"client_message_id":"other"}}"#);
        assert_eq!((board.deliveries.get(), board.latencies.borrow().count()), (2, 1));
    }

    #[test]
    fn two_acks_of_one_place_are_wrong() {
        let board = Board::default();
        let (one, two) = (uuid::Uuid::from_u128(1).to_string(), uuid::Uuid::from_u128(2).to_string());
        board.acked(&one, 3, 7, false);
        board.acked(&two, 4, 7, false);
        assert!(board.wrongs().is_empty());
        board.acked(&two, 3, 7, false);
        assert_eq!((board.wrongs().len(), board.acked_in(3)), (1, 1));
    }
}

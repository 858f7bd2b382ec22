//! Counts deliveries of all receivers of one thread, and how late each was.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::stats::Latencies;

pub(super) struct Tally {
    /// The first message's seq.
    first: u64,
    /// When each message was due; none for those whose order isn't known beforehand.
    due: RefCell<Vec<Instant>>,
    latencies: RefCell<Latencies>,
    /// When the first receiver had each, and how far the others were behind.
    firsts: RefCell<Vec<Instant>>,
    behind: RefCell<Latencies>,
    count: Cell<usize>,
    out_of_order: Cell<u64>,
    /// Bytes of payload since the beginning of the measuring, and what had been delivered before.
    bytes: Cell<u64>,
    before: Cell<usize>,
    /// The count somebody waits for.
    wanted: Cell<usize>,
    reached: Notify,
}

impl Tally {
    pub(super) fn new(first: u64) -> Tally {
        Tally {
            first,
            due: RefCell::default(),
            latencies: RefCell::default(),
            firsts: RefCell::default(),
            behind: RefCell::default(),
            count: Cell::new(0),
            out_of_order: Cell::new(0),
            bytes: Cell::new(0),
            before: Cell::new(0),
            wanted: Cell::new(usize::MAX),
            reached: Notify::new(),
        }
    }

    /// The next message is due then.
    pub(super) fn due(&self, at: Instant) {
        self.due.borrow_mut().push(at);
    }

    /// The last message is due anew: it was refused.
    pub(super) fn due_again(&self, at: Instant) {
        if let Some(due) = self.due.borrow_mut().last_mut() {
            *due = at;
        }
    }

    /// The measuring begins.
    pub(super) fn begin(&self) {
        *self.latencies.borrow_mut() = Latencies::default();
        *self.behind.borrow_mut() = Latencies::default();
        self.bytes.set(0);
        self.before.set(self.count.get());
    }

    pub(super) fn delivered(&self, seq: u64, in_order: bool, bytes: u64) {
        let message = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if let Some(due) = self.due.borrow().get(message) {
            let now = Instant::now();
            self.latencies.borrow_mut().record(now.saturating_duration_since(*due));
            let mut firsts = self.firsts.borrow_mut();
            // Messages come in order to each, so that the first of one comes after the first of the one before.
            match firsts.get(message) {
                Some(first) => self.behind.borrow_mut().record(now.saturating_duration_since(*first)),
                None => firsts.push(now),
            }
        }
        if !in_order {
            self.out_of_order.set(self.out_of_order.get() + 1);
        }
        self.bytes.set(self.bytes.get() + bytes);
        self.count.set(self.count.get() + 1);
        if self.count.get() >= self.wanted.get() {
            self.reached.notify_one();
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// Deliveries since the measuring began.
    pub(super) fn measured(&self) -> u64 {
        u64::try_from(self.count.get() - self.before.get()).unwrap_or(u64::MAX)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn out_of_order(&self) -> u64 {
        self.out_of_order.get()
    }

    pub(super) async fn reaches(&self, wanted: usize) {
        self.wanted.set(wanted);
        while self.count.get() < wanted {
            self.reached.notified().await;
        }
    }

    pub(super) fn behind(&self) -> Latencies {
        self.behind.borrow().clone()
    }

    pub(super) fn latencies(&self) -> Latencies {
        self.latencies.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_waiter_wakes_when_the_count_is_reached() {
        let tally = Tally::new(7);
        tally.due(Instant::now());
        tally.delivered(7, true, 10);
        tally.reaches(1).await;
        let ((), ()) = tokio::join!(tally.reaches(3), async {
            tally.due(Instant::now());
            tally.delivered(8, true, 10);
            tally.delivered(8, false, 10);
        });
        assert_eq!((tally.count(), tally.latencies().count(), tally.out_of_order()), (3, 3, 1));
        assert_eq!(
            tally.behind().count(),
            1,
            "only the second to hear the second message was behind anybody"
        );
    }

    #[test]
    fn what_came_before_the_measuring_does_not_count() {
        let tally = Tally::new(1);
        tally.due(Instant::now());
        tally.delivered(1, true, 10);
        tally.begin();
        tally.delivered(2, true, 30);
        assert_eq!((tally.measured(), tally.bytes(), tally.latencies().count()), (1, 30, 0));
    }
}

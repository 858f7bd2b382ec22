//! Counts deliveries of all receivers of one thread, and how late each was.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::stats::Latencies;

pub(super) struct Tally {
    /// When each message was due.
    due: RefCell<Vec<Option<Instant>>>,
    latencies: RefCell<Latencies>,
    count: Cell<usize>,
    /// The count somebody waits for.
    wanted: Cell<usize>,
    reached: Notify,
}

impl Tally {
    pub(super) fn new(messages: usize) -> Tally {
        Tally {
            due: RefCell::new(vec![None; messages]),
            latencies: RefCell::default(),
            count: Cell::new(0),
            wanted: Cell::new(usize::MAX),
            reached: Notify::new(),
        }
    }

    pub(super) fn due(&self, message: usize, at: Instant) {
        if let Some(due) = self.due.borrow_mut().get_mut(message) {
            *due = Some(at);
        }
    }

    pub(super) fn delivered(&self, message: usize) {
        let due = self.due.borrow().get(message).copied().flatten();
        if let Some(due) = due {
            self.latencies.borrow_mut().record(due.elapsed());
        }
        self.count.set(self.count.get() + 1);
        if self.count.get() >= self.wanted.get() {
            self.reached.notify_one();
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    pub(super) async fn reaches(&self, wanted: usize) {
        self.wanted.set(wanted);
        while self.count.get() < wanted {
            self.reached.notified().await;
        }
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
        let tally = Tally::new(2);
        tally.due(0, Instant::now());
        tally.delivered(0);
        tally.reaches(1).await;
        let ((), ()) = tokio::join!(tally.reaches(3), async {
            tally.due(1, Instant::now());
            tally.delivered(1);
            tally.delivered(1);
        });
        assert_eq!((tally.count(), tally.latencies().count()), (3, 3));
    }
}

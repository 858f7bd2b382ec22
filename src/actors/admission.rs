//! The line in front of the handshakes: so many read from the store at a time, the others wait instead of failing.

use crate::config;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// See the module; shared by all threads.
#[derive(Debug)]
pub struct Admission {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    wait: Duration,
}

impl Admission {
    /// Nobody in it.
    pub fn new(config: &config::Limits) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.handshakes_at_once)),
            waiting: AtomicUsize::new(0),
            most_waiting: config.handshakes_waiting,
            wait: config.handshake_wait,
        }
    }

    /// Waits for its turn. None when too many wait, or for too long.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        let _place = Place::take(self)?;
        timeout(self.wait, Arc::clone(&self.slots).acquire_owned()).await.ok()?.ok()
    }

    /// Sends away who waits, and who comes.
    pub fn close(&self) {
        self.slots.close();
    }

    /// Handshakes that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in the line, given back when dropped, cancellation included.
struct Place<'a>(&'a Admission);

impl<'a> Place<'a> {
    fn take(admission: &'a Admission) -> Option<Self> {
        let more = |now| (now < admission.most_waiting).then_some(now + 1);
        let taken = admission.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        taken.then(|| Self(admission))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves CONN-21.
    #[tokio::test]
    async fn the_line_is_bounded_in_length_and_time() {
        let limits = config::Limits {
            handshakes_at_once: 1,
            handshakes_waiting: 1,
            handshake_wait: Duration::from_millis(200),
            ..config::Limits::default()
        };
        let admission = Admission::new(&limits);
        let first = admission.enter().await.expect("free");
        let (second, ()) = futures_util::future::join(admission.enter(), async {
            assert_eq!(admission.waiting(), 1);
            assert!(admission.enter().await.is_none(), "the line is full");
            drop(first);
        })
        .await;
        assert!(second.is_some(), "it was its turn");
        drop(second);
        assert_eq!(admission.waiting(), 0);
        let held = admission.enter().await.expect("free again");
        assert!(admission.enter().await.is_none(), "not for ever");
        assert_eq!(admission.waiting(), 0);
        let (waited, ()) = futures_util::future::join(admission.enter(), async { admission.close() }).await;
        assert!(waited.is_none(), "nobody waits for the end");
        drop(held);
        assert!(admission.enter().await.is_none());
    }
}

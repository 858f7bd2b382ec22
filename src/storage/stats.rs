//! What the store says of itself: depths, totals, the last commit.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// One finished batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitStats {
    /// Writes in the batch.
    pub writes: usize,
    /// Of them, those refused.
    pub refused: usize,
    /// Of them, those that failed.
    pub failed: usize,
    /// Events recorded.
    pub events: usize,
    /// How long the batch waited for the writer.
    pub waited: Duration,
    /// From the begin of the transaction to the end of the commit.
    pub took: Duration,
    /// Of that, the COMMIT itself: mostly the disk.
    pub commit: Duration,
}

/// The store at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Jobs waiting for the writer.
    pub write_queue: usize,
    /// Reads waiting for a connection.
    pub read_queue: usize,
    /// Batches committed since the start.
    pub batches: u64,
    /// Events recorded since the start.
    pub events: u64,
    /// Transactions of the writer that were committed, batches and all others.
    pub commits: u64,
    /// Batches that failed or had to be repeated write by write.
    pub troubles: u64,
    /// The last write failed for want of space.
    pub disk_full: bool,
}

/// Called after each batch, on the writer's thread: count, don't wait.
pub type OnCommit = Box<dyn Fn(&CommitStats) + Send + Sync>;

/// Shared between the store's handles and its writer.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) queued: AtomicUsize,
    pub(super) batches: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) troubles: AtomicU64,
    pub(super) disk_full: AtomicBool,
    pub(super) on_commit: OnceLock<OnCommit>,
}

impl Counters {
    /// Counts a batch and tells the listener.
    pub(super) fn committed(&self, stats: &CommitStats) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(u64::try_from(stats.events).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(listener) = self.on_commit.get() {
            listener(stats);
        }
    }
}

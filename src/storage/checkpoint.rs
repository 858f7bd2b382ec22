//! Keeps SQLite's write-ahead log bounded, off the writer's path as long as that works.

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::options::{Database, StorageOptions};
use super::sqlite::{self, Checkpoint};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// So many times the checkpoint size, and the writer itself waits for a checkpoint.
const PATIENCE_FACTOR: u64 = 4;

/// How long the writer waits for readers who are in the way of a forced checkpoint.
const FORCED_WAIT: Duration = Duration::from_millis(250);

/// The writer's view of the log's size. Dropping it ends the checkpointer.
pub(super) struct WalWatch {
    path: PathBuf,
    limit: u64,
    patience: Duration,
    /// The size at which the checkpointer is woken next.
    wake_at: u64,
    /// The size at which the writer steps in next.
    force_at: u64,
    wake: Option<SyncSender<()>>,
    /// Held while somebody checkpoints: SQLite lets a second one fail at once, without waiting.
    turn: Arc<Mutex<()>>,
    thread: Option<JoinHandle<()>>,
}

impl WalWatch {
    /// Starts the checkpointer; PostgreSQL needs none.
    pub(super) fn start(options: &StorageOptions) -> Result<Option<Self>, StoreError> {
        let Database::Sqlite { path } = &options.database else { return Ok(None) };
        let conn = Conn::open(options, Purpose::Checkpoint)?;
        let (wake, woken) = sync_channel(1);
        let turn = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&turn);
        let thread = thread::Builder::new()
            .name("hearth-checkpointer".to_owned())
            .spawn(move || run(conn, &woken, &theirs))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let limit = options.checkpoint_bytes;
        Ok(Some(Self {
            path: sqlite::wal_path(path),
            limit,
            patience: options.patience,
            wake_at: limit,
            force_at: limit.saturating_mul(PATIENCE_FACTOR),
            wake: Some(wake),
            turn,
            thread: Some(thread),
        }))
    }

    /// After a commit: wakes the checkpointer, or steps in when that hasn't been enough.
    pub(super) fn after_commit(&mut self, conn: &mut Conn) {
        let size = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if size <= self.limit {
            self.begin_anew();
        } else if size > self.force_at {
            if self.force(conn, size) {
                self.begin_anew();
            } else {
                // Whoever is in the way is met again only after more has been written: others want to be served.
                self.force_at = size.saturating_add(self.limit);
            }
        } else if size > self.wake_at {
            self.wake_at = size.saturating_add(self.limit / 2);
            if let Some(wake) = &self.wake {
                // Full means that it is awake.
                wake.try_send(()).ok();
            }
        }
    }

    fn begin_anew(&mut self) {
        self.wake_at = self.limit;
        self.force_at = self.limit.saturating_mul(PATIENCE_FACTOR);
    }

    /// Empties the log while the writer waits; false when somebody was in the way.
    fn force(&self, conn: &mut Conn, size: u64) -> bool {
        let Conn::Sqlite(c) = conn else { return false };
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let done = sqlite::set_patience(c, FORCED_WAIT)
            .and_then(|()| sqlite::checkpoint(c, Checkpoint::Truncate))
            .and_then(|done| sqlite::set_patience(c, self.patience).map(|()| done));
        match done {
            Ok(true) => tracing::debug!(wal.bytes = size, "the writer emptied the write-ahead log"),
            Ok(false) => {
                tracing::warn!(wal.bytes = size, "a reader keeps the write-ahead log from shrinking")
            }
            Err(ref error) => tracing::warn!(wal.bytes = size, %error, "could not empty the write-ahead log"),
        }
        matches!(done, Ok(true))
    }
}

impl Drop for WalWatch {
    fn drop(&mut self) {
        self.wake = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the checkpointer panicked");
        }
    }
}

fn run(mut conn: Conn, woken: &Receiver<()>, turn: &Mutex<()>) {
    while woken.recv().is_ok() {
        let Conn::Sqlite(c) = &mut conn else { return };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sqlite::checkpoint(c, Checkpoint::Passive) {
            tracing::warn!(%error, "could not checkpoint the write-ahead log");
        }
    }
}

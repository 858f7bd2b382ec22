//! What is remembered: the only user of diesel. One writer, many readers, on SQLite or PostgreSQL.

mod cache;
mod checkpoint;
mod commit;
mod conn;
mod error;
mod lock;
pub mod migrate;
mod options;
mod pool;
mod postgres;
mod queries;
mod schema;
#[cfg(test)]
pub(crate) mod simulated;
mod sqlite;
mod stats;
mod writer;

pub use crate::domain::Status;
pub use commit::{Verdict, Write};
pub use conn::Conn;
pub use error::StoreError;
pub use options::{Database, KeyTerms, PostgresUrl, RunTerms, StorageOptions, Synchronous};
pub use queries::actions::{ActionBounds, Answered};
pub use queries::assistants::AssistantView;
pub use queries::bans::Ban;
pub use queries::bot_keys::{BotKeyState, KnownKey, NextKey, Rotation};
pub use queries::bots::{BotView, KeyView};
pub use queries::budgets::{BudgetView, SpendingView, UsageBy, UsageView};
pub use queries::drift::{Drift, Finding};
pub use queries::events::{LogHead, StoredEvent};
pub use queries::invites::Invite;
pub use queries::messages::{HistoryPage, Message, Page};
pub use queries::outbox::{Leased, OutboxDepth, Settled, Taken, Webhook};
pub use queries::people::{Account, Credentials, Profile};
pub use queries::remains::Remains;
pub use queries::rooms::{RoomFilter, RoomView};
pub use queries::runs::{Run, RunDepth};
pub use queries::sessions::{SessionKey, SessionState};
pub use queries::signing_in::RefusedFor;
pub use queries::summaries::{Summary, Talk};
pub use queries::tasks::{Engine, News, Orphan, Progress, Renewed, Task, Waiting};
pub use queries::trail::{AuditEntry, AuditFilter, AuditPlace};
pub use queries::transfers::Transfer;
pub use stats::{CommitStats, OnCommit, StoreStats};
pub use writer::BatchOutcome;

use crate::domain::{Epoch, EventBody, RoomId, Timestamp};
use cache::{Cache, Touched};
use checkpoint::WalWatch;
use conn::Purpose;
use lock::Lock;
use pool::Readers;
use stats::Counters;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{Notify, oneshot};
use writer::{Job, Once, Writer};

/// Gives the JSON text of an event's `data`: what travels is not the store's business.
pub type EncodePayload = fn(&EventBody) -> String;

/// The store. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    kind: &'static str,
    /// Gone when the store is closed: the writer then ends after what is queued.
    jobs: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    counters: Arc<Counters>,
    outbox: Arc<Notify>,
    runs: Arc<Notify>,
    epoch: Epoch,
    keys: KeyTerms,
    commons: OnceLock<RoomId>,
    cache: Arc<Cache>,
}

/// Whether the store can do its work, and the settings it does it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// The writer's thread lives.
    pub writer_alive: bool,
    /// Migrations the database lacks.
    pub pending: Vec<String>,
    /// The settings in effect, as the database gives them back (DB-01).
    pub settings: Vec<(String, String)>,
}

impl Health {
    /// Whether everything is as it should be.
    pub fn is_ready(&self) -> bool {
        self.writer_alive && self.pending.is_empty()
    }
}

impl Store {
    /// Takes the lock, migrates, checks the settings, and starts the writer and the readers. Blocks.
    pub fn open(options: StorageOptions, encode: EncodePayload) -> Result<Self, StoreError> {
        let lock = Lock::take(&options.database)?;
        let mut conn = Conn::open(&options, Purpose::Write)?;
        migrate::run_on(&mut conn)?;
        let epoch = queries::events::begin_log(&mut conn)?;
        let readers = Readers::open(&options)?;
        let wal = WalWatch::start(&options)?;
        let counters = Arc::new(Counters::default());
        let (jobs, queue) = sync_channel(options.write_queue);
        let (kind, keys) = (options.database.kind(), options.keys);
        let (outbox, runs) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let cache = Arc::new(Cache::new(matches!(options.database, Database::Sqlite { .. })));
        let writer = Writer {
            options,
            encode,
            counters: Arc::clone(&counters),
            conn: Some(conn),
            wal,
            lock,
            outbox: Arc::clone(&outbox),
            runs: Arc::clone(&runs),
            cache: Arc::clone(&cache),
        };
        let writer = std::thread::Builder::new()
            .name("hearth-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                kind,
                jobs: Mutex::new(Some(jobs)),
                writer: Mutex::new(Some(writer)),
                readers,
                counters,
                outbox,
                runs,
                epoch,
                keys,
                commons: OnceLock::new(),
                cache,
            }),
        })
    }

    /// Hands a batch to the writer: one transaction, one commit. Never blocks; `Full` when too much waits.
    pub fn submit(
        &self,
        writes: Vec<Write>,
        now: Timestamp,
    ) -> Result<oneshot::Receiver<BatchOutcome>, StoreError> {
        #[cfg(test)]
        if simulated::is_active() {
            return simulated::submit(writes, now);
        }
        let (reply, outcome) = oneshot::channel();
        self.enqueue(Job::Batch { writes, now, queued: Instant::now(), reply })?;
        Ok(outcome)
    }

    /// Runs `job` on the writer, in a transaction of its own. A job that was queued is done even if nobody waits.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_to(Touched::Nothing, job).await
    }

    /// The same for a job that changes what may be cached.
    async fn write_to<T: Send + 'static>(
        &self,
        touched: Touched,
        job: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        if simulated::is_active() {
            return simulated::write(job).await;
        }
        let (reply, result) = oneshot::channel();
        let work = Box::new(Once { job: Some(job), value: None, reply });
        self.enqueue(Job::Single { work, touched })?;
        result.await.map_err(|_closed| StoreError::OutcomeUnknown("the writer ended".to_owned()))?
    }

    /// What was read lately; none while the store is simulated, for then nobody tells it of commits.
    fn cache(&self) -> Option<&Cache> {
        #[cfg(test)]
        if simulated::is_active() {
            return None;
        }
        Some(&self.inner.cache)
    }

    /// Runs `query` on a reader. `Full` when too many wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        if simulated::is_active() {
            return simulated::read(query).await;
        }
        self.inner.readers.read(query).await
    }

    /// The same for a query whose time has no bound: it leaves half the readers to the others.
    async fn read_long<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        if simulated::is_active() {
            return simulated::read(query).await;
        }
        self.inner.readers.read_long(query).await
    }

    /// Finishes what is queued, empties the write-ahead log and gives the lock back. Later writes are refused.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        if tokio::task::spawn_blocking(move || inner.stop()).await.is_err() {
            tracing::error!("closing the store failed");
        }
    }

    /// Whether no other process can have this store open.
    pub fn is_alone(&self) -> bool {
        self.inner.kind == "sqlite"
    }

    /// Names this log. Fixed as long as the store is open.
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// Calls `listener` after each batch, on the writer's thread. The first listener stays.
    pub fn on_commit(&self, listener: OnCommit) {
        if self.inner.counters.on_commit.set(listener).is_err() {
            tracing::warn!("the store has a listener already");
        }
    }

    /// Depths and totals, for metrics.
    pub fn stats(&self) -> StoreStats {
        let counters = &self.inner.counters;
        StoreStats {
            write_queue: counters.queued.load(Ordering::Relaxed),
            read_queue: self.inner.readers.waiting(),
            batches: counters.batches.load(Ordering::Relaxed),
            events: counters.events.load(Ordering::Relaxed),
            commits: counters.commits.load(Ordering::Relaxed),
            troubles: counters.troubles.load(Ordering::Relaxed),
            disk_full: counters.disk_full.load(Ordering::Relaxed),
        }
    }

    /// Reads from the database, compares the migrations and looks after the writer.
    pub async fn health(&self) -> Result<Health, StoreError> {
        let database = self.inner.kind;
        let writer_alive = self.inner.writer_alive();
        self.read(move |conn| {
            Ok(Health {
                database,
                writer_alive,
                pending: migrate::pending(conn)?,
                settings: conn.settings()?,
            })
        })
        .await
    }

    fn enqueue(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(jobs) = &*jobs else {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        };
        // Counted first: the writer may take it off before we are back.
        self.inner.counters.queued.fetch_add(1, Ordering::Relaxed);
        jobs.try_send(job).map_err(|error| {
            self.inner.counters.queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Full,
                TrySendError::Disconnected(_) => StoreError::Unavailable("the writer ended".to_owned()),
            }
        })
    }
}

impl Inner {
    /// Ends the writer after what is queued, and waits for it.
    fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer panicked");
        }
    }

    fn writer_alive(&self) -> bool {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_ref().is_some_and(|writer| !writer.is_finished())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

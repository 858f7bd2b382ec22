//! The one thread that writes: batches of commands and single jobs, in the order they came.

use super::EncodePayload;
use super::cache::{Cache, Touched};
use super::checkpoint::WalWatch;
use super::commit::{self, Tally, Terms, Verdict, Write};
use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::lock::Lock;
use super::options::StorageOptions;
use super::sqlite::{self, Checkpoint};
use super::stats::{CommitStats, Counters};
use crate::domain::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// What became of each write of a batch, in its order.
pub type BatchOutcome = Vec<Result<Verdict, StoreError>>;

/// Something for the writer to do.
pub(super) enum Job {
    Batch { writes: Vec<Write>, now: Timestamp, queued: Instant, reply: oneshot::Sender<BatchOutcome> },
    Single { work: Box<dyn Work>, touched: Touched },
}

/// A write of its own, in its own transaction.
pub(super) trait Work: Send {
    /// The statements.
    fn run(&mut self, conn: &mut Conn) -> Result<(), StoreError>;
    /// The answer, after the commit.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// [`Work`] of a closure.
pub(super) struct Once<F, T> {
    pub(super) job: Option<F>,
    pub(super) value: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Work for Once<F, T>
where
    F: FnOnce(&mut Conn) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        if let Some(job) = self.job.take() {
            self.value = Some(job(conn)?);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        let missing = || StoreError::Corrupt("a job gave no result".to_owned());
        // If nobody waits any more, the write stands all the same.
        reply.send(committed.and_then(|()| value.ok_or_else(missing))).ok();
    }
}

/// The writer's belongings. The lock goes last, when nothing is left that could write.
pub(super) struct Writer {
    pub(super) options: StorageOptions,
    pub(super) encode: EncodePayload,
    pub(super) counters: Arc<Counters>,
    /// `None` after it died, until the next write needs one.
    pub(super) conn: Option<Conn>,
    pub(super) wal: Option<WalWatch>,
    pub(super) lock: Lock,
    /// Woken when the outbox got something.
    pub(super) outbox: Arc<Notify>,
    /// Woken when an answer was asked for, or is to be stopped.
    pub(super) runs: Arc<Notify>,
    /// Told of every commit before anybody is answered.
    pub(super) cache: Arc<Cache>,
}

impl Writer {
    /// Works until the store is closed and the queue is empty. What a panic leaves behind isn't trusted: the job it hit is
    /// answered by nobody, which leaves its outcome unknown, and the next one gets another connection.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while catch_unwind(AssertUnwindSafe(|| self.work(jobs))).is_err() {
            tracing::error!("the writer panicked; it goes on with a new connection");
            self.cache.touched(Touched::Anything);
            self.counters.troubles.fetch_add(1, Ordering::Relaxed);
            self.conn = None;
        }
        self.finish();
    }

    fn work(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            self.counters.queued.fetch_sub(1, Ordering::Relaxed);
            match job {
                Job::Batch { writes, now, queued, reply } => {
                    let outcome = self.batch(&writes, now, queued.elapsed());
                    self.cache.committed(&outcome);
                    reply.send(outcome).ok();
                }
                Job::Single { mut work, touched } => {
                    let done = self.transaction(|conn| work.run(conn)).map(|_| ());
                    self.cache.touched(touched);
                    work.finish(done);
                }
            }
            if let (Some(wal), Some(conn)) = (&mut self.wal, &mut self.conn) {
                wal.after_commit(conn);
            }
        }
    }

    fn finish(mut self) {
        self.wal = None;
        if let Some(Conn::Sqlite(c)) = &mut self.conn
            && let Err(error) = sqlite::checkpoint(c, Checkpoint::Truncate)
        {
            tracing::warn!(%error, "could not empty the write-ahead log at the end");
        }
        self.conn = None;
        drop(self.lock);
    }

    /// All writes in one transaction; if a statement fails, each in its own, so that only the bad one fails.
    fn batch(&mut self, writes: &[Write], now: Timestamp, waited: Duration) -> BatchOutcome {
        let began = Instant::now();
        let (outcome, commit) = match self.attempt(writes, now) {
            Ok((verdicts, commit)) => (verdicts.into_iter().map(Ok).collect(), commit),
            Err(error) => {
                self.counters.troubles.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, writes = writes.len(), "a batch failed");
                match error {
                    StoreError::Conflict(_) | StoreError::Corrupt(_) if writes.len() > 1 => {
                        (self.one_by_one(writes, now), Duration::ZERO)
                    }
                    error => (writes.iter().map(|_| Err(error.clone())).collect(), Duration::ZERO),
                }
            }
        };
        let tally = Tally::of(&outcome);
        self.counters.committed(&CommitStats {
            writes: writes.len(),
            refused: tally.refused,
            failed: tally.failed,
            events: tally.events,
            waited,
            took: began.elapsed(),
            commit,
        });
        outcome
    }

    fn one_by_one(&mut self, writes: &[Write], now: Timestamp) -> BatchOutcome {
        let mut outage: Option<StoreError> = None;
        let one = |write| match &outage {
            Some(error) => Err(error.clone()),
            None => match self.attempt(std::slice::from_ref(write), now) {
                Ok((verdicts, _)) => {
                    verdicts.into_iter().next().ok_or_else(|| StoreError::Corrupt("no verdict".to_owned()))
                }
                Err(error) => {
                    // The rest is not tried on a store that is gone: nothing of it happened.
                    if error.is_transient() {
                        outage = Some(error.clone().before_commit());
                    }
                    Err(error)
                }
            },
        };
        writes.iter().map(one).collect()
    }

    fn attempt(&mut self, writes: &[Write], now: Timestamp) -> Result<(Vec<Verdict>, Duration), StoreError> {
        let (encode, terms) = (self.encode, Terms::of(&self.options));
        let ((verdicts, wakes), took) =
            self.transaction(|conn| commit::run(conn, encode, terms, writes, now))?;
        if wakes.outbox {
            self.outbox.notify_one();
        }
        if wakes.runs {
            self.runs.notify_one();
        }
        Ok((verdicts, took))
    }

    /// Runs `work` in a transaction; gives its result and how long the COMMIT took.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Conn) -> Result<T, StoreError>,
    ) -> Result<(T, Duration), StoreError> {
        let done = self.between_begin_and_commit(work);
        let is_full = matches!(done, Err(StoreError::DiskFull(_)));
        self.counters.disk_full.store(is_full, Ordering::Relaxed);
        done
    }

    fn between_begin_and_commit<T>(
        &mut self,
        work: impl FnOnce(&mut Conn) -> Result<T, StoreError>,
    ) -> Result<(T, Duration), StoreError> {
        let mut conn = self.begun()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut conn)))
            .unwrap_or_else(|_| Err(StoreError::Corrupt("a write panicked".to_owned())));
        match done {
            Ok(value) => {
                let began = Instant::now();
                let committed = conn.commit();
                let took = began.elapsed();
                match committed {
                    Ok(()) => {
                        self.counters.commits.fetch_add(1, Ordering::Relaxed);
                        self.conn = Some(conn);
                    }
                    Err(StoreError::OutcomeUnknown(_)) => {}
                    Err(_) => self.keep_if_alive(conn),
                }
                committed.map(|()| (value, took))
            }
            Err(error) => match conn.rollback() {
                Ok(()) => {
                    self.conn = Some(conn);
                    Err(error)
                }
                // The connection died under the statement. Without COMMIT nothing happened.
                Err(_) => Err(error.before_commit()),
            },
        }
    }

    /// A connection with a transaction begun; a connection that died since the last time is replaced.
    fn begun(&mut self) -> Result<Conn, StoreError> {
        if let Some(mut conn) = self.conn.take() {
            match conn.begin() {
                Ok(()) => return Ok(conn),
                Err(error) => {
                    tracing::warn!(%error, "the writer's connection is lost");
                    // SQLite's file can't be lost like that: what it says is the answer.
                    if let Conn::Sqlite(_) = conn {
                        self.conn = Some(conn);
                        return Err(error);
                    }
                }
            }
        }
        let mut conn = Conn::open(&self.options, Purpose::Write)?;
        conn.begin()?;
        Ok(conn)
    }

    fn keep_if_alive(&mut self, mut conn: Conn) {
        // After a refused COMMIT the transaction is over on PostgreSQL and may be open on SQLite.
        if let Conn::Sqlite(_) = conn
            && conn.rollback().is_err()
        {
            // SQLite rolled back by itself, and diesel no longer knows where it stands: the next write gets a new connection.
            return;
        }
        if conn.run("SELECT 1").is_ok() {
            self.conn = Some(conn);
        }
    }
}

//! The readers: a pool of connections that can't write, on tokio's blocking threads.

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::options::{Database, StorageOptions};
use r2d2::{ManageConnection, NopErrorHandler, Pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// A pooled connection, and whether it has been seen to fail.
pub(super) struct Reader {
    conn: Conn,
    broken: bool,
}

/// Opens and judges the pool's connections.
pub(super) struct Manager {
    options: StorageOptions,
}

impl ManageConnection for Manager {
    type Connection = Reader;
    type Error = StoreError;

    fn connect(&self) -> Result<Reader, StoreError> {
        Ok(Reader { conn: Conn::open(&self.options, Purpose::Read)?, broken: false })
    }

    fn is_valid(&self, reader: &mut Reader) -> Result<(), StoreError> {
        reader.conn.run("SELECT 1")
    }

    fn has_broken(&self, reader: &mut Reader) -> bool {
        reader.broken
    }
}

/// The pool, and the line in front of it.
pub(super) struct Readers {
    pool: Pool<Manager>,
    /// One permit per connection, so that nobody occupies a blocking thread only to wait.
    permits: Arc<Semaphore>,
    /// One permit per connection that queries without a bound to their time may take: the others stay for all else.
    long: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Readers {
    /// Connects once at least, so that a wrong address shows at once.
    pub(super) fn open(options: &StorageOptions) -> Result<Self, StoreError> {
        let readers = options.readers.max(1);
        let is_server = matches!(options.database, Database::Postgres { .. });
        let pool = Pool::builder()
            .max_size(readers)
            .min_idle(Some(1))
            .connection_timeout(options.patience)
            // A server may have restarted since; a file doesn't.
            .test_on_check_out(is_server)
            .error_handler(Box::new(NopErrorHandler))
            .build(Manager { options: options.clone() })
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let permits = usize::try_from(readers).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            pool,
            permits: Arc::new(Semaphore::new(permits)),
            long: Arc::new(Semaphore::new((permits / 2).max(1))),
            waiting: AtomicUsize::new(0),
            most_waiting: options.read_queue,
        })
    }

    /// How many reads wait for a connection.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs a query that may take long (a search for words that are mostly where the asker may not look) on one of half the
    /// connections.
    pub(super) async fn read_long<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Place::take(&self.waiting, self.most_waiting).ok_or(StoreError::Full)?;
        let permit = Arc::clone(&self.long).acquire_owned().await;
        let permit = permit.map_err(|closed| StoreError::Unavailable(closed.to_string()))?;
        drop(place);
        self.read(move |conn| {
            // Held until it is done, also when nobody waits for it any more.
            let _permit = permit;
            query(conn)
        })
        .await
    }

    /// Runs `query` on a blocking thread. A query that began is finished even if nobody waits for it any more.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(&self.waiting, self.most_waiting).ok_or(StoreError::Full)?;
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                permit.map_err(|closed| StoreError::Unavailable(closed.to_string()))?
            }
        };
        let pool = self.pool.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut reader = pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
            let result = query(&mut reader.conn);
            reader.broken |= matches!(result, Err(StoreError::Unavailable(_) | StoreError::DiskFull(_)));
            result
        });
        work.await.map_err(|error| StoreError::Corrupt(format!("a query ended early: {error}")))?
    }
}

/// A place in the line, given back when dropped, cancellation included.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then_some(now + 1))
            .is_ok()
            // Not `then_some`: a place that wasn't taken must not be given back.
            .then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    /// However many searches take however long, and whether or not anybody waits for them, other reads go on.
    #[tokio::test]
    async fn long_reads_leave_connections_to_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("hearth.db");
        let options = StorageOptions { readers: 4, ..StorageOptions::new(Database::Sqlite { path }) };
        drop(Conn::open(&options, Purpose::Write).expect("makes the file"));
        let readers = Arc::new(Readers::open(&options).expect("opens"));
        let (running, started) = channel();
        let (gates, searches): (Vec<_>, Vec<_>) = (0..8)
            .map(|_| {
                let (open, gate): (_, Receiver<()>) = channel();
                let (readers, running) = (Arc::clone(&readers), running.clone());
                let search = tokio::spawn(async move {
                    let query = move |_: &mut Conn| {
                        running.send(()).expect("the test waits");
                        Ok(gate.recv().is_err())
                    };
                    readers.read_long(query).await
                });
                (open, search)
            })
            .unzip();
        let started = tokio::task::spawn_blocking(move || (started.recv(), started.recv(), started));
        let (first, second, started) = started.await.expect("runs");
        assert!(first.is_ok() && second.is_ok());
        // Who gave up waiting doesn't make room for the next.
        searches.iter().for_each(tokio::task::JoinHandle::abort);
        assert!(readers.read(|_| Ok(true)).await.expect("reads"));
        assert!(started.try_recv().is_err(), "a third one began");
        drop(gates);
    }
}

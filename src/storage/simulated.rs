//! The store of the core's deterministic tests: the same statements on the same SQLite, carried out on the test's own thread and
//! clock, with the failures its seed wants. A thread that has begun a simulation gets it in place of the writer and the readers.

use super::EncodePayload;
use super::commit::{self, Terms, Write};
use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::options::StorageOptions;
use super::sqlite::{self, Checkpoint};
use super::writer::BatchOutcome;
use crate::domain::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cell::RefCell;
use std::time::Duration;
use tokio::sync::oneshot;

thread_local! {
    static ACTIVE: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

struct Simulated {
    conn: Conn,
    encode: EncodePayload,
    terms: Terms,
    rng: StdRng,
    trouble: bool,
}

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// The store is gone before it begins.
    Unavailable,
    /// The connection dies in COMMIT; the flag tells whether it was done all the same.
    Unknown(bool),
    /// The writer dies without an answer, before or after.
    Silence(bool),
}

/// From here on this thread's store is simulated.
pub(crate) fn begin(options: &StorageOptions, encode: EncodePayload, seed: u64) {
    let conn = Conn::open(options, Purpose::Write).expect("opens");
    let simulated = Simulated {
        conn,
        encode,
        terms: Terms::of(options),
        rng: StdRng::seed_from_u64(seed),
        trouble: false,
    };
    ACTIVE.set(Some(simulated));
}

/// Whether things fail from here on.
pub(crate) fn trouble(on: bool) {
    ACTIVE.with_borrow_mut(|active| active.as_mut().expect("begun").trouble = on);
}

/// The store is real again.
pub(crate) fn end() {
    let ended = ACTIVE.take().expect("begun");
    if let Conn::Sqlite(mut conn) = ended.conn {
        sqlite::checkpoint(&mut conn, Checkpoint::Truncate).expect("empties the log");
    }
}

pub(super) fn is_active() -> bool {
    ACTIVE.with_borrow(Option::is_some)
}

pub(super) fn submit(
    writes: Vec<Write>,
    now: Timestamp,
) -> Result<oneshot::Receiver<BatchOutcome>, StoreError> {
    let (fate, wait) = ACTIVE.with_borrow_mut(|active| active.as_mut().expect("begun").batch())?;
    let (reply, outcome) = oneshot::channel();
    tokio::task::spawn_local(async move {
        tokio::time::sleep(wait).await;
        let done = ACTIVE.with_borrow_mut(|active| active.as_mut().map(|one| one.run(fate, &writes, now)));
        if let Some(Some(outcome)) = done {
            reply.send(outcome).ok();
        }
    });
    Ok(outcome)
}

pub(super) async fn read<T>(query: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let wait = ACTIVE.with_borrow_mut(|active| active.as_mut().expect("begun").query())?;
    tokio::time::sleep(wait).await;
    ACTIVE.with_borrow_mut(|active| query(&mut active.as_mut().expect("begun").conn))
}

pub(super) async fn write<T>(job: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
    let wait = ACTIVE.with_borrow_mut(|active| active.as_mut().expect("begun").query())?;
    tokio::time::sleep(wait).await;
    ACTIVE.with_borrow_mut(|active| {
        let conn = &mut active.as_mut().expect("begun").conn;
        conn.begin().expect("begins");
        let done = job(conn);
        if done.is_ok() {
            conn.commit().expect("commits");
        } else {
            conn.rollback().expect("rolls back");
        }
        done
    })
}

impl Simulated {
    fn batch(&mut self) -> Result<(Fate, Duration), StoreError> {
        let wait = Duration::from_micros(self.rng.random_range(0..8_000));
        let fate = match self.rng.random_range(0..100) {
            _ if !self.trouble => Fate::Done,
            0..6 => Fate::Unavailable,
            6..12 => Fate::Unknown(self.rng.random()),
            12..15 => Fate::Silence(self.rng.random()),
            15..17 => return Err(StoreError::Full),
            _ => Fate::Done,
        };
        Ok((fate, wait))
    }

    fn query(&mut self) -> Result<Duration, StoreError> {
        match self.rng.random_range(0..100) {
            0..6 if self.trouble => Err(StoreError::Unavailable("simulated".to_owned())),
            6..8 if self.trouble => Err(StoreError::Full),
            _ => Ok(Duration::from_micros(self.rng.random_range(0..8_000))),
        }
    }

    fn run(&mut self, fate: Fate, writes: &[Write], now: Timestamp) -> Option<BatchOutcome> {
        let failed = |error: StoreError| writes.iter().map(|_| Err(error.clone())).collect();
        if fate == Fate::Unavailable {
            return Some(failed(StoreError::Unavailable("simulated".to_owned())));
        }
        self.conn.begin().expect("begins");
        let (done, _) =
            commit::run(&mut self.conn, self.encode, self.terms, writes, now).expect("statements don't fail");
        if matches!(fate, Fate::Unknown(false) | Fate::Silence(false)) {
            self.conn.rollback().expect("rolls back");
        } else {
            self.conn.commit().expect("commits");
        }
        match fate {
            Fate::Done | Fate::Unavailable => Some(done.into_iter().map(Ok).collect()),
            Fate::Unknown(_) => Some(failed(StoreError::OutcomeUnknown("simulated".to_owned()))),
            Fate::Silence(_) => None,
        }
    }
}

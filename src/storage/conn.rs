//! A connection to either database, and the macro that writes one diesel text for both.

use super::error::StoreError;
use super::options::{Database, StorageOptions};
use super::{postgres, sqlite};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::{PgConnection, SqliteConnection};

/// A connection. Only the storage layer looks inside.
pub enum Conn {
    Pg(PgConnection),
    Sqlite(SqliteConnection),
}

/// Runs the same diesel text on whichever database `$conn` is: `on!(conn, |c| query.load(c))`.
macro_rules! on {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::storage::conn::Conn::Pg($c) => $body,
            $crate::storage::conn::Conn::Sqlite($c) => $body,
        }
    };
}
pub(super) use on;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Write,
    Read,
    /// Copies SQLite's write-ahead log into the database.
    Checkpoint,
}

impl Conn {
    /// Connects and sets the connection up; the settings are read back.
    pub(super) fn open(options: &StorageOptions, purpose: Purpose) -> Result<Self, StoreError> {
        match &options.database {
            Database::Sqlite { path } => sqlite::connect(path, options, purpose).map(Self::Sqlite),
            Database::Postgres { url } => postgres::connect(url, options, purpose).map(Self::Pg),
        }
    }

    /// Runs statements without parameters or results.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        Ok(on!(self, |c| c.batch_execute(sql))?)
    }

    /// Begins a transaction; on SQLite with the write lock from the start.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Pg(c) => AnsiTransactionManager::begin_transaction(c)?,
            Self::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?,
        }
        Ok(())
    }

    /// Commits. An error that doesn't say "refused" leaves the outcome unknown.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        on!(self, |c| AnsiTransactionManager::commit_transaction(c)).map_err(StoreError::of_commit)
    }

    /// Rolls back; an error means that the connection is of no more use.
    pub(super) fn rollback(&mut self) -> Result<(), StoreError> {
        Ok(on!(self, |c| AnsiTransactionManager::rollback_transaction(c))?)
    }

    /// The settings in effect that durability and concurrency hang on, for the ops view.
    pub(super) fn settings(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        match self {
            Self::Pg(c) => postgres::settings(c),
            Self::Sqlite(c) => sqlite::settings(c),
        }
    }
}

//! What is remembered, where, and how hard the store tries.

use super::secret::Secret;
use super::units::{millis, seconds};
use crate::storage::{self, Database, PostgresUrl, StorageOptions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Synchronous {
    /// Power loss.
    #[default]
    Full,
    /// The end of the process; power loss may take the last moments.
    Normal,
}

impl TryFrom<String> for Synchronous {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "full" => Ok(Self::Full),
            "normal" => Ok(Self::Normal),
            _ => Err("storage.synchronous is full or normal"),
        }
    }
}

/// The store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// The directory of `hearth.db`.
    pub data_dir: PathBuf,
    /// `postgres://…`; the SQLite file in the data directory when unset.
    pub database: Option<Secret>,
    /// A file with that URL, which may have a password in it.
    pub database_file: Option<PathBuf>,
    /// `full` or `normal`.
    pub synchronous: Synchronous,
    /// Connections that read (count).
    pub readers: u32,
    /// Reads waiting for a connection (count); over it: `overloaded`.
    pub read_queue: usize,
    /// Commands waiting for the writer (count); over it: `overloaded`.
    pub write_queue: usize,
    /// Commands in one transaction (count); the rest waits for the next.
    pub commit_batch: usize,
    /// SQLite: bytes of write-ahead log from which on it is copied into the database.
    pub checkpoint_bytes: u64,
    /// How long to wait for a lock or a connection; over it: `unavailable`.
    #[serde(rename = "patience_ms", with = "millis")]
    pub patience: Duration,
    /// PostgreSQL: how long one statement may take; over it: `unavailable`.
    #[serde(rename = "statement_timeout_s", with = "seconds")]
    pub statement_timeout: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            database: None,
            database_file: None,
            synchronous: Synchronous::Full,
            readers: 4,
            read_queue: 256,
            write_queue: 4096,
            commit_batch: 512,
            checkpoint_bytes: 16 * 1024 * 1024,
            patience: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

impl Storage {
    /// The SQLite file, used when no database is named.
    pub fn sqlite_file(&self) -> PathBuf {
        self.data_dir.join("hearth.db")
    }

    /// Whether the data isn't all in the data directory.
    pub const fn is_on_server(&self) -> bool {
        self.database.is_some()
    }

    /// How the store is to be opened. Between its jobs wait whole batches, so the queue of commands is the larger one.
    pub fn options(&self) -> StorageOptions {
        let database = match &self.database {
            Some(url) => Database::Postgres { url: PostgresUrl::new(url.reveal()) },
            None => Database::Sqlite { path: self.sqlite_file() },
        };
        StorageOptions {
            synchronous: match self.synchronous {
                Synchronous::Full => storage::Synchronous::Full,
                Synchronous::Normal => storage::Synchronous::Normal,
            },
            readers: self.readers,
            read_queue: self.read_queue,
            write_queue: self.write_queue,
            checkpoint_bytes: self.checkpoint_bytes,
            patience: self.patience,
            statement_timeout: self.statement_timeout,
            ..StorageOptions::new(database)
        }
    }
}

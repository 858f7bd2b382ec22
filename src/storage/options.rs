//! How a store is opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// One file, one process.
    Sqlite { path: PathBuf },
    /// A server, for more than one node.
    Postgres { url: PostgresUrl },
}

impl Database {
    /// The name for logs and the ops view.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
        }
    }
}

/// A libpq connection URL. Shows itself without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// Takes `postgres://user:password@host/database?…`.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, password and all: for connecting only.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// `text` without any password of this URL.
    pub fn redact(&self, text: &str) -> String {
        self.passwords().fold(text.to_owned(), |text, password| text.replace(password, "***"))
    }

    /// The password before the `@`, and those given as a parameter.
    fn passwords(&self) -> impl Iterator<Item = &str> {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let user_info = authority.rsplit_once('@').map_or("", |(info, _)| info);
        let before_host = user_info.split_once(':').map(|(_, password)| password);
        let parameters = self.0.split(['?', '&', ' ']).filter_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            matches!(key, "password" | "sslpassword").then_some(value)
        });
        before_host.into_iter().chain(parameters).filter(|password| !password.is_empty())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redact(&self.0))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Power loss: each commit is on the disk before it is acknowledged.
    #[default]
    Full,
    /// The end of the process; power loss may take the last moments.
    Normal,
}

/// How long what came of a request with an idempotency key is known, and for how long after that the key alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTerms {
    pub keep: Duration,
    pub remember: Duration,
}

impl Default for KeyTerms {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl KeyTerms {
    /// A day, and a week.
    const DEFAULT: Self =
        Self { keep: Duration::from_secs(24 * 60 * 60), remember: Duration::from_secs(7 * 24 * 60 * 60) };
}

/// How many answers of assistants may wait, and whom they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTerms {
    /// Runs that aren't over (count); more are refused.
    pub queue: usize,
    /// Those of a room.
    pub room_queue: usize,
    /// Those somebody asked for.
    pub user_queue: usize,
    /// When somebody who was refused for that may try again.
    pub retry_after: Duration,
    /// Answers that programs may ask for in a row, each right after the one before (count); 0 is none at all.
    pub hops: u32,
    /// A summary that began by itself and came to nothing isn't begun again before.
    pub summary_again: Duration,
}

impl RunTerms {
    /// 1,000, 20 of a room, 5 of a user; an hour.
    pub const DEFAULT: Self = Self {
        queue: 1000,
        room_queue: 20,
        user_queue: 5,
        retry_after: Duration::from_secs(5),
        hops: 5,
        summary_again: Duration::from_secs(3600),
    };
}

/// How a store is opened; the numbers bound every queue and wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOptions {
    pub database: Database,
    pub synchronous: Synchronous,
    /// Connections for reading.
    pub readers: u32,
    /// Jobs waiting for the writer, beyond the one it works on; more are answered `Full`.
    pub write_queue: usize,
    /// Reads waiting for a connection; more are answered `Full`.
    pub read_queue: usize,
    /// SQLite: the size of the write-ahead log, in bytes, from which on it is copied into the database. At
    /// four times this the writer waits for it.
    pub checkpoint_bytes: u64,
    /// How long to wait for a lock or a connection before the store counts as unavailable.
    pub patience: Duration,
    /// PostgreSQL: how long one statement may take.
    pub statement_timeout: Duration,
    pub keys: KeyTerms,
    /// Rows of the outbox that may wait for delivery; more become dead letters at once.
    pub outbox_rows: usize,
    pub runs: RunTerms,
}

impl StorageOptions {
    /// The defaults for `database`.
    pub const fn new(database: Database) -> Self {
        Self {
            database,
            synchronous: Synchronous::Full,
            readers: 4,
            write_queue: 1024,
            read_queue: 256,
            checkpoint_bytes: 16 * 1024 * 1024,
            patience: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            keys: KeyTerms::DEFAULT,
            outbox_rows: 10_000,
            runs: RunTerms::DEFAULT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_never_shows_its_password() {
        for url in [
            "postgres://ann:s3cret@db/hearth",
            "postgres://ann:s3c:ret@@db/hearth?sslmode=require",
            "postgres://db/hearth?user=ann&password=s3cret",
            "host=db user=ann password=s3cret dbname=hearth",
        ] {
            let shown = format!("{:?} {}", PostgresUrl::new(url), PostgresUrl::new(url));
            assert!(!shown.contains("s3c"), "{shown}");
            assert!(shown.contains("ann") && shown.contains("hearth"), "{shown}");
        }
        let url = PostgresUrl::new("postgres://ann:s3cret@db/hearth");
        assert_eq!(url.redact("could not parse \"s3cret@db\""), "could not parse \"***@db\"");
    }
}

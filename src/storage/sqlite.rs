//! What is SQLite's own: pragmas, file permissions, the write-ahead log.

use super::conn::Purpose;
use super::error::StoreError;
use super::options::{StorageOptions, Synchronous};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Opens the file, readable for its owner only, and sets the connection up.
pub(super) fn connect(
    path: &Path,
    options: &StorageOptions,
    purpose: Purpose,
) -> Result<SqliteConnection, StoreError> {
    create_private(path).map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let name = path
        .to_str()
        .ok_or_else(|| StoreError::Unavailable(format!("{} is not valid UTF-8", path.display())))?;
    let mut conn = SqliteConnection::establish(name)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    let synchronous = match options.synchronous {
        Synchronous::Full => 2,
        Synchronous::Normal => 1,
    };
    let patience = options.patience.as_millis();
    // The timeout first: switching to WAL may itself meet a lock.
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {patience};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {};
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16000;
         PRAGMA query_only = {};",
        options.checkpoint_bytes,
        if purpose == Purpose::Read { "ON" } else { "OFF" },
    ))?;
    let wanted = [
        ("journal_mode", "wal".to_owned()),
        ("synchronous", synchronous.to_string()),
        ("foreign_keys", "1".to_owned()),
        ("busy_timeout", patience.to_string()),
        ("wal_autocheckpoint", "0".to_owned()),
    ];
    let settings = settings(&mut conn)?;
    for (name, value) in wanted {
        if !settings.iter().any(|(has, is)| has == name && *is == value) {
            return Err(StoreError::Unavailable(format!(
                "SQLite didn't take {name} = {value}: {settings:?}"
            )));
        }
    }
    Ok(conn)
}

/// The pragmas in effect.
pub(super) fn settings(conn: &mut SqliteConnection) -> Result<Vec<(String, String)>, StoreError> {
    const NAMES: [&str; 6] =
        ["journal_mode", "synchronous", "foreign_keys", "busy_timeout", "wal_autocheckpoint", "query_only"];
    let mut settings = Vec::new();
    for name in NAMES {
        let value: String = sql::<Text>(&format!("PRAGMA {name}")).get_result(conn)?;
        settings.push((name.to_owned(), value));
    }
    Ok(settings)
}

/// How thorough a checkpoint is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Checkpoint {
    /// Copies what it can without waiting for anybody.
    Passive,
    /// Waits for readers up to the busy timeout, then empties the file.
    Truncate,
}

/// Copies the write-ahead log into the database; false when somebody was in the way.
pub(super) fn checkpoint(conn: &mut SqliteConnection, how: Checkpoint) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        busy: i64,
    }
    let how = match how {
        Checkpoint::Passive => "PASSIVE",
        Checkpoint::Truncate => "TRUNCATE",
    };
    let row: Row = sql_query(format!("PRAGMA wal_checkpoint({how})")).get_result(conn)?;
    Ok(row.busy == 0)
}

/// The path of the write-ahead log of `database`.
pub(super) fn wal_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Creates the file for the owner only; SQLite gives its -wal and -shm the same permissions.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    open.open(path).map(drop)
}

/// How long statements wait for a lock from here on.
pub(super) fn set_patience(conn: &mut SqliteConnection, patience: Duration) -> Result<(), StoreError> {
    Ok(conn.batch_execute(&format!("PRAGMA busy_timeout = {}", patience.as_millis()))?)
}

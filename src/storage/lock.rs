//! One process per SQLite file: a second one would be a second sequencer.

use super::error::StoreError;
use super::options::Database;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::PathBuf;

/// Held as long as the store is open; the kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    /// `None`: PostgreSQL orders its own writers.
    _file: Option<File>,
}

impl Lock {
    /// Takes the lock, or says who to stop.
    pub(super) fn take(database: &Database) -> Result<Self, StoreError> {
        let Database::Sqlite { path } = database else { return Ok(Self { _file: None }) };
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let unavailable =
            |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", lock_path.display()));
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            let mut create = DirBuilder::new();
            create.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut create, 0o700);
            create.create(directory).map_err(unavailable)?;
        }
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        let file = open.open(&lock_path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.clone() }),
            Err(TryLockError::Error(error)) => Err(unavailable(error)),
        }
    }
}

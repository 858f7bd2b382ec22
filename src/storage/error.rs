//! What can go wrong with the store: incidents for the log, never answers to a person.

use diesel::result::{DatabaseErrorKind, Error};
use std::path::PathBuf;

/// An incident. No text in it carries a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, or locked. Nothing was written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// There is no room left where the store writes. Nothing was written; reading goes on.
    #[error("the store has no space left: {0}")]
    DiskFull(String),
    /// The connection died while committing: it may or may not have been written.
    #[error("the outcome of the commit is unknown: {0}")]
    OutcomeUnknown(String),
    /// A constraint held against us: a defect.
    #[error("the store refused the write: {0}")]
    Conflict(String),
    /// A statement failed or a row makes no sense: a defect, or somebody else's hand in the database.
    #[error("the store gave something unexpected: {0}")]
    Corrupt(String),
    /// A queue of the store is full. Nothing was written.
    #[error("too many requests wait for the store")]
    Full,
    /// Another process works on this database.
    #[error(
        "{} is held by another process: stop the other hearth that uses this data directory, or give this \
         one another with --data-dir", path.display()
    )]
    Locked { path: PathBuf },
    /// The schema isn't what this program needs.
    #[error("the schema doesn't fit: {0}")]
    Schema(String),
}

impl StoreError {
    /// Whether trying again later may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::DiskFull(_) | Self::OutcomeUnknown(_) | Self::Full)
    }

    /// The same incident when nothing was written and the connection is gone, too.
    pub(super) fn before_commit(self) -> Self {
        match self {
            Self::DiskFull(_) | Self::Unavailable(_) => self,
            other => Self::Unavailable(other.to_string()),
        }
    }

    /// A row that no code of ours writes.
    pub(super) fn nonsense(what: &str, value: impl std::fmt::Display) -> Self {
        Self::Corrupt(format!("{what}: {value}"))
    }

    /// What a failed COMMIT means: unless the database says that it refused, nobody knows.
    pub(super) fn of_commit(error: Error) -> Self {
        let error = match error {
            Error::RollbackErrorOnCommit { commit_error, .. } => *commit_error,
            other => other,
        };
        match &error {
            Error::DatabaseError(DatabaseErrorKind::Unknown, info)
                if is_refusal(info.message()) || is_full(info.message()) =>
            {
                error.into()
            }
            Error::DatabaseError(
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::SerializationFailure,
                _,
            ) => error.into(),
            _ => Self::OutcomeUnknown(error.to_string()),
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ReadOnlyTransaction => Self::Unavailable(text),
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::ExclusionViolation
                | DatabaseErrorKind::RestrictViolation => Self::Conflict(text),
                _ if is_full(info.message()) => Self::DiskFull(text),
                _ if is_refusal(info.message()) || is_outage(info.message()) => Self::Unavailable(text),
                _ => Self::Corrupt(text),
            },
            Error::BrokenTransactionManager
            | Error::AlreadyInTransaction
            | Error::NotInTransaction
            | Error::RollbackErrorOnCommit { .. } => Self::Unavailable(text),
            _ => Self::Corrupt(text),
        }
    }
}

/// The database says that it did nothing, for want of a lock.
fn is_refusal(message: &str) -> bool {
    ["is locked", "lock timeout", "deadlock detected"].iter().any(|sign| message.contains(sign))
}

/// The database says that it did nothing, for want of space. A frame that SQLite could not write whole has no valid
/// checksum, so no recovery takes it for a commit.
fn is_full(message: &str) -> bool {
    ["database or disk is full", "No space left"].iter().any(|sign| message.contains(sign))
}

/// The database, or the way to it, is in trouble.
fn is_outage(message: &str) -> bool {
    [
        "disk I/O error",
        "unable to open",
        "readonly database",
        "timeout",
        "terminating connection",
        "shutting down",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

//! Why the server process did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("http client: {0}")]
    Http(#[from] reqwest::Error),
    #[error("the server ended before it was ready ({status}); its log ends:\n{log}")]
    Exited { status: ExitStatus, log: String },
    #[error("the server did not get ready; last heard: {last}; its log ends:\n{log}")]
    NotReady { last: String, log: String },
    #[error("the server did not stop within {within:?} of SIGTERM; its log ends:\n{log}")]
    DidNotStop { within: Duration, log: String },
    #[error("the server is not running")]
    NotRunning,
}

impl ServerError {
    pub(super) fn io(path: &Path, source: io::Error) -> ServerError {
        ServerError::Io { path: path.to_owned(), source }
    }
}

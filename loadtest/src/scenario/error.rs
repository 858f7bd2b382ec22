//! Why a scenario gave no report.

use std::io;

use crate::client::ClientError;
use crate::server::ServerError;
use crate::socket::SocketError;
use crate::trial::TrialError;
use crate::world::WorldError;

#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("preparing: {0}")]
    World(#[from] WorldError),
    #[error("over REST: {0}")]
    Rest(#[from] ClientError),
    #[error("on the socket: {0}")]
    Socket(#[from] SocketError),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error(transparent)]
    Baseline(#[from] crate::baseline::BaselineError),
    #[error("the server: {0}")]
    Server(#[from] ServerError),
    #[error("{0}")]
    Trial(#[from] TrialError),
    #[error("a client broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
    /// A limit of this machine or of the options.
    #[error("{0}")]
    Refused(String),
    #[error("{error}; the server's log ends:\n{log}")]
    Died { error: Box<ScenarioError>, log: String },
    #[error("{what} did not happen in time")]
    Late { what: String },
}

impl ScenarioError {
    /// Does it say nothing of the server? Running the same again, or less of it, would tell no more.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Refused(_) => true,
            Self::Trial(error) => error.is_ours(),
            Self::Died { error, .. } => error.is_ours(),
            _ => false,
        }
    }
}

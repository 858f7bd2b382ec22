//! Why a trial could not be carried through; a broken promise is no error but an `Outcome`.

use std::io;
use std::time::Duration;

use super::fault::Fault;
use crate::client::ClientError;
use crate::server::ServerError;
use crate::socket::SocketError;
use crate::world::WorldError;

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("preparing: {0}")]
    World(#[from] WorldError),
    #[error("the server: {0}")]
    Server(#[from] ServerError),
    /// An honest client was turned away for good.
    #[error("{who} on the socket: {source}")]
    Socket { who: String, source: SocketError },
    #[error("{who} over REST: {source}")]
    Rest { who: String, source: ClientError },
    #[error("not over within {deadline:?}: {done} of {steps} steps done, {still} clients at work")]
    Late { deadline: Duration, done: usize, steps: usize, still: usize },
    #[error("a client broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
    #[error("a plan with faults needs a server of one's own")]
    NothingToKill,
    #[error("{0:?} can't be staged here")]
    CannotStage(Fault),
    #[error("staging a fault: {0}")]
    Staging(io::Error),
}

impl TrialError {
    /// Does it say nothing of the server? The plan couldn't be carried out here.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NothingToKill | Self::CannotStage(_) | Self::Staging(_))
    }
}

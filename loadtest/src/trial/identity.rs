//! A device of the trial: a name for messages, whose it is, and its REST client.

use crate::client::{Client, ClientError};
use crate::socket::SocketError;
use crate::trial::TrialError;

#[derive(Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) user: u64,
    pub(super) client: Client,
}

impl Identity {
    pub(super) fn socket_error(&self, source: SocketError) -> TrialError {
        TrialError::Socket { who: self.name.clone(), source }
    }

    pub(super) fn rest_error(&self, source: ClientError) -> TrialError {
        TrialError::Rest { who: self.name.clone(), source }
    }
}

//! What the clients of one trial share: the rooms, the record, the counts, and when to stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::TrialError;
use super::identity::Identity;
use super::outcome::Tally;
use crate::client::ClientError;
use crate::history::Recorder;
use crate::socket::Socket;
use crate::wire::Refusal;

/// A server that is coming back is asked again after up to so long.
const RECONNECT_WITHIN: Duration = Duration::from_millis(250);

/// Where everybody has to get to before leaving; none while the posters are at work.
#[derive(Debug, Clone, Default)]
pub(super) struct Goal {
    pub(super) heads: HashMap<u64, u64>,
    pub(super) last_id: u64,
}

pub(super) struct Shared {
    pub(super) url: String,
    pub(super) rooms: Vec<u64>,
    pub(super) recorder: Recorder,
    /// Distinct posts acked so far.
    pub(super) acked: watch::Sender<usize>,
    pub(super) goal: watch::Sender<Option<Goal>>,
    tally: Mutex<Tally>,
}

impl Shared {
    pub(super) fn new(url: &str, rooms: Vec<u64>) -> Arc<Shared> {
        Arc::new(Shared {
            url: url.to_owned(),
            rooms,
            recorder: Recorder::default(),
            acked: watch::Sender::new(0),
            goal: watch::Sender::new(None),
            tally: Mutex::default(),
        })
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Full jitter. The run's deadline bounds how often this happens.
    pub(super) async fn breathe(&self) {
        let part = rand::rng().random::<f64>();
        sleep(RECONNECT_WITHIN.mul_f64(part)).await;
    }

    /// Does as an answer asked: waits before the next try.
    pub(super) async fn wait_as_told(&self, refusal: &Refusal) {
        self.count(|tally| tally.asked_to_wait += 1);
        match refusal.retry_after_ms {
            Some(ms) => sleep(Duration::from_millis(ms)).await,
            None => self.breathe().await,
        }
    }

    /// A socket, however often it takes; an error only when the server says to stay away.
    pub(super) async fn connect(&self, who: &Identity) -> Result<Socket, TrialError> {
        loop {
            match Socket::connect(&self.url, &who.client.credentials()).await {
                Ok(socket) => return Ok(socket),
                Err(error) if error.may_reconnect() => {
                    self.count(|tally| tally.reconnects += 1);
                    self.breathe().await;
                }
                Err(error) => return Err(who.socket_error(error)),
            }
        }
    }

    /// After a failed REST call: waits when it makes sense to call again.
    pub(super) async fn retry_rest(&self, who: &Identity, error: ClientError) -> Result<(), TrialError> {
        match &error {
            ClientError::Transport(_) => {
                self.count(|tally| tally.reconnects += 1);
                self.breathe().await;
                Ok(())
            }
            ClientError::Refused(refusal) if refusal.retryable => {
                self.wait_as_told(refusal).await;
                Ok(())
            }
            _ => Err(who.rest_error(error)),
        }
    }
}

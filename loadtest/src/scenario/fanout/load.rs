//! How messages come: one after the other, on time, or as many as go through.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::super::ScenarioError;
use super::super::poster::{Desk, Poster, obey};
use super::tally::Tally;

/// The last deliveries may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The next when everybody has the last.
    OneInFlight,
    /// So many per second, on time whatever happens.
    Rate(u32),
    /// So many on their way at any time.
    Saturated(usize),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::OneInFlight => write!(f, "one in flight"),
            Load::Rate(rate) => write!(f, "{rate}/s"),
            Load::Saturated(window) => write!(f, "{window} in flight"),
        }
    }
}

pub(super) struct Posting<'a> {
    pub(super) tally: &'a Tally,
    pub(super) desk: &'a Desk,
    pub(super) receivers: usize,
}

impl Posting<'_> {
    /// Posts so many messages, the posters in turn, and waits until everybody has them.
    pub(super) async fn post(
        &self,
        posters: &mut [Poster],
        load: &Load,
        messages: usize,
    ) -> Result<(), ScenarioError> {
        match load {
            Load::OneInFlight => self.one_in_flight(posters, messages).await,
            Load::Rate(rate) => self.on_time(posters, messages, *rate).await,
            Load::Saturated(window) => self.saturated(posters, messages, (*window).max(1)).await,
        }
    }

    async fn one_in_flight(&self, posters: &mut [Poster], messages: usize) -> Result<(), ScenarioError> {
        let speakers = posters.len().max(1);
        for message in 0..messages {
            let Some(poster) = posters.get_mut(message % speakers) else { return Ok(()) };
            let wanted = self.tally.count() + self.receivers;
            self.tally.due(Instant::now());
            poster.post().await?;
            loop {
                tokio::select! {
                    done = self.reach(wanted) => break done?,
                    refusal = self.desk.refusal() => {
                        obey(&refusal).await?;
                        self.tally.due_again(Instant::now());
                        poster.post().await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A refusal ends the run: the rate would not be the rate.
    async fn on_time(&self, posters: &mut [Poster], messages: usize, rate: u32) -> Result<(), ScenarioError> {
        let wanted = self.tally.count() + self.receivers * messages;
        let step = Duration::from_secs(1) / rate.max(1);
        let start = Instant::now() + Duration::from_millis(100);
        let speakers = posters.len().max(1);
        for message in 0..messages {
            let due = start + step.saturating_mul(u32::try_from(message).unwrap_or(u32::MAX));
            precisely(due).await;
            if let Some(refusal) = self.desk.take_refusal() {
                return Err(ScenarioError::Refused(format!("a post was refused: {refusal}")));
            }
            let Some(poster) = posters.get_mut(message % speakers) else { return Ok(()) };
            self.tally.due(due);
            poster.post().await?;
        }
        tokio::select! {
            done = self.reach(wanted) => done,
            refusal = self.desk.refusal() => {
                Err(ScenarioError::Refused(format!("a post was refused: {refusal}")))
            }
        }
    }

    async fn saturated(
        &self,
        posters: &mut [Poster],
        messages: usize,
        window: usize,
    ) -> Result<(), ScenarioError> {
        let speakers = posters.len().max(1);
        let before = self.tally.count();
        let (mut posted, mut turn) = (0, 0);
        while posted < messages {
            let done = (self.tally.count() - before) / self.receivers.max(1);
            while posted < messages && posted < done + window {
                let Some(poster) = posters.get_mut(turn % speakers) else { return Ok(()) };
                poster.post().await?;
                posted += 1;
                turn += 1;
            }
            let least = (posted + 1).saturating_sub(window).max(1);
            tokio::select! {
                done = self.reach(before + least * self.receivers) => done?,
                refusal = self.desk.refusal() => {
                    obey(&refusal).await?;
                    posted -= 1;
                }
            }
        }
        loop {
            tokio::select! {
                done = self.reach(before + messages * self.receivers) => return done,
                refusal = self.desk.refusal() => {
                    obey(&refusal).await?;
                    let Some(poster) = posters.get_mut(turn % speakers) else { return Ok(()) };
                    poster.post().await?;
                    turn += 1;
                }
            }
        }
    }

    /// Every post that wasn't refused has to be acked, too.
    pub(super) async fn all_acked(&self, messages: usize) -> Result<(), ScenarioError> {
        let wanted = u64::try_from(messages).unwrap_or(u64::MAX);
        match timeout(PATIENCE, self.desk.acked(wanted)).await {
            Ok(()) => Ok(()),
            Err(_) => {
                Err(ScenarioError::Late { what: format!("{} of {wanted} acks", wanted - self.desk.acks()) })
            }
        }
    }

    async fn reach(&self, wanted: usize) -> Result<(), ScenarioError> {
        match timeout(PATIENCE, self.tally.reaches(wanted)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ScenarioError::Late {
                what: format!("{} of {wanted} deliveries", wanted - self.tally.count()),
            }),
        }
    }
}

/// The timer is only so exact.
const TIMER: Duration = Duration::from_millis(2);

/// Waits until then and not until a millisecond later; the receivers have their turns meanwhile.
async fn precisely(due: Instant) {
    sleep_until(due.checked_sub(TIMER).unwrap_or(due)).await;
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

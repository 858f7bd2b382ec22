//! The end of a run as one device sees it: to have everything, to believe nothing stale, to let the others get there.

use std::time::Duration;

use tokio::time::Instant;

use super::TrialError;
use super::device::{Device, within};
use crate::history::Ending;

/// How often it looks whether it is there yet.
const LOOK: Duration = Duration::from_millis(25);
/// An indicator ends by itself after 6 s, a user's presence follows their last socket within 10 s and a tick.
const QUIET_WITHIN: Duration = Duration::from_secs(14);
/// REST is asked for everybody's presence so often.
const ASK: Duration = Duration::from_millis(250);

impl Device {
    /// Listens until it has all there is, its beliefs are right and the others' too.
    pub(super) async fn stay(mut self) -> Result<(), TrialError> {
        let goals = self.shared.goal.subscribe();
        let goal = loop {
            let goal = goals.borrow().clone();
            match goal {
                Some(goal) => break goal,
                None => self.listen_until(within(LOOK)).await?,
            }
        };
        let deadline = within(goal.catch_up);
        while !self.reached(goal.of(self.who.user)) && Instant::now() < deadline {
            self.listen_until(within(LOOK)).await?;
        }
        let mine: Vec<u64> = goal.of(self.who.user).map(|(room_id, _)| room_id).collect();
        let missing = mine.into_iter().filter(|room_id| !self.stayed(*room_id)).collect();
        let late = self.late(goal.of(self.who.user));

        let (typing, presence) = self.become_quiet().await?;
        self.shared.recorder.ending(Ending {
            device: self.who.name.clone(),
            user: self.who.user,
            missing,
            late,
            typing,
            presence,
        });
        self.shared.settled.send_modify(|settled| *settled += 1);
        let all = self.shared.settled.subscribe();
        let deadline = within(goal.catch_up + QUIET_WITHIN);
        while *all.borrow() < goal.devices && Instant::now() < deadline {
            self.listen_until(within(LOOK)).await?;
        }
        self.leave(false).await;
        Ok(())
    }

    /// Listens until nobody types and everybody's presence is what REST says. What is still wrong in the end.
    async fn become_quiet(&mut self) -> Result<Quiet, TrialError> {
        let deadline = within(QUIET_WITHIN);
        // Only typing may be dropped for good; who misses a word of presence is told to subscribe anew.
        let may_drop = self.shared.tight || self.lossy;
        let mut looked_afresh = !may_drop;
        loop {
            let typing = self.belief.typists(Instant::now(), may_drop && !looked_afresh);
            let presence = if typing.is_empty() { self.wrong_about().await? } else { Vec::new() };
            let quiet = typing.is_empty() && presence.is_empty();
            if Instant::now() >= deadline || quiet && looked_afresh {
                return Ok((typing, presence));
            }
            if quiet {
                // What the server itself still believes is in the snapshots of a new connection, where nothing is dropped now.
                self.leave(true).await;
                self.up().await?;
                looked_afresh = true;
            }
            self.listen_until(within(ASK)).await?;
        }
    }

    async fn wrong_about(&mut self) -> Result<Vec<(u64, String, String)>, TrialError> {
        let told = loop {
            match self.who.client.presence().await {
                Ok(told) => break told,
                Err(error) => self.shared.retry_rest(&self.who, error).await?,
            }
        };
        // What was sent before REST answered is heard first.
        self.listen_until(within(LOOK)).await?;
        Ok(self.belief.differs(&told, &self.shared.users))
    }
}

/// Indicators that are on, and people whose presence it has wrong.
type Quiet = (Vec<(u64, u64)>, Vec<(u64, String, String)>);

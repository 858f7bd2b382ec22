//! What the devices of one trial share: the rooms, the record, the counts, and when to stop.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use super::TrialError;
use super::identity::Identity;
use super::outcome::Tally;
use super::plan::PlannedPost;
use crate::client::{Client, ClientError};
use crate::history::Recorder;
use crate::wire::{Ack, Refusal};

/// A server that is coming back is asked again after up to so long.
const RECONNECT_WITHIN: Duration = Duration::from_millis(250);

/// Where everybody has to get to before leaving; none while anybody is at work.
#[derive(Debug, Clone, Default)]
pub(super) struct Goal {
    pub(super) rooms: HashMap<u64, Destination>,
    pub(super) last_id: u64,
    /// Everybody has so long to get there.
    pub(super) catch_up: Duration,
    /// Devices that have to get there.
    pub(super) devices: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) head: u64,
    /// Of a closed room.
    pub(super) members: Option<HashSet<u64>>,
}

impl Goal {
    /// The rooms that are this user's at the end.
    pub(super) fn of(&self, user: u64) -> impl Iterator<Item = (u64, u64)> {
        let mine = self
            .rooms
            .iter()
            .filter(move |(_, room)| room.members.as_ref().is_none_or(|members| members.contains(&user)));
        mine.map(|(room_id, room)| (*room_id, room.head))
    }
}

/// A message of one's own that was acked.
#[derive(Debug, Clone)]
pub(super) struct Mine {
    pub(super) post: Uuid,
    pub(super) body: String,
    pub(super) room_id: u64,
    pub(super) ack: Ack,
}

#[derive(Default)]
struct Stock {
    tally: Tally,
    /// By plan index; none until a room is made.
    rooms: Vec<Option<u64>>,
    mine: HashMap<u64, Vec<Mine>>,
}

pub(super) struct Shared {
    pub(super) url: String,
    pub(super) admin: Client,
    pub(super) room_prefix: String,
    /// Signals may be dropped: indicators end by the clock.
    pub(super) tight: bool,
    /// By plan index.
    pub(super) users: Vec<u64>,
    pub(super) recorder: Recorder,
    /// Steps done so far.
    pub(super) progress: watch::Sender<usize>,
    pub(super) goal: watch::Sender<Option<Goal>>,
    /// Devices that believe to know all there is.
    pub(super) settled: watch::Sender<usize>,
    stock: Mutex<Stock>,
}

impl Shared {
    pub(super) fn new(
        url: &str,
        admin: Client,
        (room_prefix, tight): (String, bool),
        users: Vec<u64>,
        rooms: Vec<Option<u64>>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            url: url.to_owned(),
            admin,
            room_prefix,
            tight,
            users,
            recorder: Recorder::default(),
            progress: watch::Sender::new(0),
            goal: watch::Sender::new(None),
            settled: watch::Sender::new(0),
            stock: Mutex::new(Stock { rooms, ..Stock::default() }),
        })
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.stock().tally);
    }

    pub(super) fn tally(&self) -> Tally {
        self.stock().tally.clone()
    }

    pub(super) fn step_done(&self) {
        self.progress.send_modify(|done| *done = done.saturating_add(1));
    }

    /// The room of that index, when there is one.
    pub(super) fn room(&self, index: usize) -> Option<u64> {
        self.stock().rooms.get(index).copied().flatten()
    }

    /// Every room there ever was.
    pub(super) fn rooms(&self) -> Vec<u64> {
        self.stock().rooms.iter().copied().flatten().collect()
    }

    /// True when the place was free.
    pub(super) fn put_room(&self, index: usize, room_id: u64) -> bool {
        match self.stock().rooms.get_mut(index) {
            Some(place @ None) => {
                *place = Some(room_id);
                true
            }
            _ => false,
        }
    }

    pub(super) fn is_ours(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| name.starts_with(&self.room_prefix))
    }

    pub(super) fn acked(&self, user: u64, room_id: u64, post: &PlannedPost, ack: Ack) {
        let mine = Mine { post: post.id, body: post.body.clone(), room_id, ack };
        let mut stock = self.stock();
        stock.mine.entry(user).or_default().push(mine);
        stock.tally.acked += 1;
        stock.tally.duplicates += usize::from(ack.duplicate);
    }

    /// One of the user's own messages.
    pub(super) fn pick(&self, user: u64, pick: usize) -> Option<Mine> {
        let stock = self.stock();
        let mine = stock.mine.get(&user)?;
        mine.get(pick.checked_rem(mine.len())?).cloned()
    }

    /// The seq of the user's last own message in a room.
    pub(super) fn last_own(&self, user: u64, room_id: u64) -> Option<u64> {
        let stock = self.stock();
        stock.mine.get(&user)?.iter().filter(|mine| mine.room_id == room_id).map(|mine| mine.ack.seq).max()
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

//! `GET /events`: everything one may see, in the order of the log, waited for.

use super::State;
use super::call::Call;
use super::events::{MOST, USUAL, joined, json};
use super::problem::{Answer, Problem};
use crate::auth::identity::{Identity, refusal, token_expired, token_revoked};
use crate::domain::{EventId, Rejection, RoomId};
use crate::protocol::encode::GapReason;
use crate::storage::StoredEvent;
use crate::telemetry::metrics;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// `GET /events`
pub(super) async fn events(call: Call) -> Answer {
    let query = call.query()?;
    let limit = usize::try_from(query.limit(USUAL, MOST)?).unwrap_or_default();
    let after = EventId::new(query.number("after")?.unwrap_or_default());
    let wait = wait(query.parsed("wait", "a number of seconds")?, call.state.config.polling.wait)?;
    let epoch: Option<Uuid> = query.parsed("epoch", "a UUID")?;
    if wait > Duration::ZERO {
        // Nothing new would come: polling again and again would be all that is left.
        call.state.must_stay()?;
        call.state.must_have_room()?;
    }
    // Listened to before the log is read: what is committed in between is heard.
    let tail = call.state.bus.tail();
    let head = call.state.store.log_head().await.map_err(refusal)?;
    let gap = if epoch.is_some_and(|epoch| epoch != head.epoch.0) {
        Some(GapReason::EpochChanged)
    } else if after > head.last_id {
        Some(GapReason::AheadOfHead)
    } else {
        None
    };
    if let Some(reason) = gap {
        return Ok(json(format!(
            r#"{{"events":[],"next":{},"epoch":"{}","recovery":"gap","reason":"{}"}}"#,
            head.last_id,
            head.epoch,
            reason.as_str()
        )));
    }
    let poll = Poll { state: &call.state, identity: &call.identity, began: call.began, after, limit };
    let (events, next) = poll.run(tail, Instant::now() + wait).await?;
    Ok(json(format!(
        r#"{{"events":[{}],"next":{next},"epoch":"{}","recovery":"complete"}}"#,
        joined(&events),
        head.epoch
    )))
}

fn wait(seconds: Option<u64>, most: Duration) -> Result<Duration, Rejection> {
    let wait = Duration::from_secs(seconds.unwrap_or_default());
    if wait > most {
        return Err(Rejection::invalid("wait", &format!("is longer than {} s", most.as_secs())));
    }
    Ok(wait)
}

struct Poll<'a> {
    state: &'a State,
    identity: &'a Identity,
    /// When it was found out who asks: what ended since then has ended.
    began: Instant,
    after: EventId,
    limit: usize,
}

/// One long poll's place among those that may wait.
pub(super) struct Waiting<'a> {
    state: &'a State,
    permit: Option<SemaphorePermit<'a>>,
}

impl Poll<'_> {
    /// The events, and the id to go on from.
    async fn run(
        &self,
        mut tail: Receiver<Arc<[RoomId]>>,
        deadline: Instant,
    ) -> Result<(Vec<StoredEvent>, EventId), Problem> {
        let mut place = None;
        let (me, deadline) = (&self.identity.person, self.within_credentials(deadline));
        loop {
            // Read before the events: everything up to this head has been looked at afterwards, seen or not.
            let head = self.state.store.log_head().await.map_err(refusal)?.last_id;
            let events = self.state.store.events_for(me, self.after, self.limit).await.map_err(refusal)?;
            let is_over = Instant::now() >= deadline || self.state.bus.draining();
            if self.has_ended() {
                return Err(token_revoked().into());
            }
            if self.is_shut_out() {
                return Err(Rejection::banned().into());
            }
            if self.has_expired() {
                return Err(token_expired().into());
            }
            if self.is_outdated() {
                // What was read is for whom they were: asked again, they get what is for whom they are.
                return Ok((Vec::new(), self.after));
            }
            if !events.is_empty() || is_over {
                let last = events.last().map_or(self.after, |event| event.id);
                let next = if events.len() < self.limit { last.max(head) } else { last };
                return Ok((events, next));
            }
            if place.is_none() {
                place = Some(Waiting::take(self.state)?);
            }
            let rooms = self.state.store.readable_room_ids(me).await.map_err(refusal)?;
            self.hear(&mut tail, &rooms.into_iter().collect(), deadline).await;
        }
    }

    /// Whether the credentials ended while we waited.
    fn has_ended(&self) -> bool {
        self.state.bus.has_ended(self.identity, self.began)
    }

    /// Whether there is nothing to wait for any more.
    fn is_interrupted(&self) -> bool {
        self.has_ended() || self.is_shut_out() || self.is_outdated() || self.state.bus.draining()
    }

    /// Whether nobody is let in any more from where they ask.
    fn is_shut_out(&self) -> bool {
        self.state.bus.bans().shut_out(self.identity.address)
    }

    /// Whether they aren't any more who they were, or as long as it was said, or may be nobody.
    fn is_outdated(&self) -> bool {
        let (bus, who, began) = (&self.state.bus, self.identity, self.began);
        bus.changed_since(&who.person, began) || bus.is_limited(who, began) || bus.may_have_ended(who, began)
    }

    fn has_expired(&self) -> bool {
        self.identity.ends_at.is_some_and(|at| at <= super::now())
    }

    /// `deadline`, or when the credentials end.
    fn within_credentials(&self, deadline: Instant) -> Instant {
        let Some(at) = self.identity.ends_at else { return deadline };
        let left = at.as_millis().saturating_sub(super::now().as_millis());
        deadline.min(Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }

    /// Waits for an event in one of `rooms`, the deadline, or the end of the server. Becoming a member of another room
    /// is an event in one's inbox, which is among them.
    async fn hear(&self, tail: &mut Receiver<Arc<[RoomId]>>, rooms: &HashSet<RoomId>, deadline: Instant) {
        loop {
            match timeout_at(deadline, tail.recv()).await {
                Ok(Ok(touched)) => {
                    // Nothing in particular: somebody's credentials ended, or the server is about to.
                    let is_over = touched.is_empty() && self.is_interrupted();
                    if is_over || touched.iter().any(|room| rooms.contains(room)) {
                        return;
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => return,
                // Nobody will say anything any more: what is left is the deadline.
                Ok(Err(RecvError::Closed)) => tokio::time::sleep_until(deadline).await,
                Err(_elapsed) => return,
            }
        }
    }
}

impl<'a> Waiting<'a> {
    pub(super) fn take(state: &'a State) -> Result<Self, Rejection> {
        let permit = state.polls.try_acquire().map_err(|_full| Rejection::overloaded())?;
        let place = Self { state, permit: Some(permit) };
        place.count();
        Ok(place)
    }

    fn count(&self) {
        let waiting = self.state.config.polling.waiting;
        metrics::polls_waiting(waiting.saturating_sub(self.state.polls.available_permits()));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.permit = None;
        self.count();
    }
}

//! Joining a room in one step (CONN-01): position, missed events and registration between two events.

use super::recent::Missed;
use super::{Listener, Phase, Room};
use crate::actors::clock;
use crate::actors::hub::{HubHandle, HubMsg, JoinSlot, Joined};
use crate::domain::{self, Action, Person, Rejection, RoomKind, Seq};
use crate::protocol::cursor::Cursor;
use crate::protocol::encode::{self, GapReason, Snapshot};
use crate::protocol::{Level, Resume};
use crate::storage::{StoreError, StoredEvent};
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

/// A socket wants the room's events from a position on. Answered exactly once, also when it is dropped.
pub struct Subscribe {
    pub(super) slot: JoinSlot,
    pub(super) hub: HubHandle,
    pub(super) person: Person,
    after: Option<Seq>,
    level: Level,
    epoch: Option<Uuid>,
    answered: bool,
    /// What it takes in the room's queue. Given back before the answer is: whoever has it may ask again at once.
    place: Option<OwnedSemaphorePermit>,
}

impl Subscribe {
    /// `resume.after` is the last seq the client has, of the log that `epoch` names.
    pub fn new(slot: JoinSlot, hub: HubHandle, person: Person, resume: Resume, epoch: Option<Uuid>) -> Self {
        let Resume { after, level, .. } = resume;
        Self { slot, hub, person, after, level, epoch, answered: false, place: None }
    }

    /// Where the answer belongs.
    pub fn slot(&self) -> JoinSlot {
        self.slot
    }

    /// Takes its place in the room's queue along.
    pub fn in_room(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// Answers with a refusal.
    pub fn refuse(mut self, rejection: Rejection) {
        self.answered = true;
        self.place = None;
        self.hub.tell(HubMsg::JoinRefused { slot: self.slot, rejection });
    }

    /// Answers with the room's part of the reply; the hub takes the subscription from here on.
    pub(super) fn join(mut self, head: Seq, part: String, without_events: Option<String>) {
        self.answered = true;
        self.place = None;
        let (slot, level) = (self.slot, self.level);
        self.hub.tell(HubMsg::Joined(Joined { slot, level, head, part, without_events }));
    }
}

impl Drop for Subscribe {
    fn drop(&mut self) {
        if !self.answered {
            self.place = None;
            let rejection = Rejection::unavailable();
            self.hub.tell(HubMsg::JoinRefused { slot: self.slot, rejection });
        }
    }
}

enum Recovery {
    Complete(Vec<Bytes>),
    Gap(GapReason),
}

impl Room {
    pub(super) fn on_subscribe(&mut self, subscribe: Subscribe, ctx: &mut Context<Self>) {
        let Phase::Ready(state) = &self.phase else { return };
        if let Err(rejection) = state.allows(&subscribe.person, Action::Subscribe) {
            self.on_left(subscribe.slot.conn, subscribe.slot.join, ctx);
            return subscribe.refuse(rejection);
        }
        if subscribe.level == Level::Badge {
            return self.on_follow(subscribe, ctx);
        }
        let head = state.head;
        let Some(after) = subscribe.after else {
            return self.join(subscribe, Recovery::Complete(Vec::new()));
        };
        if subscribe.epoch.is_some_and(|epoch| epoch != self.rooms.store().epoch().0) {
            return self.join(subscribe, Recovery::Gap(GapReason::EpochChanged));
        }
        if after > head {
            return self.join(subscribe, Recovery::Gap(GapReason::AheadOfHead));
        }
        let config = self.rooms.config();
        let behind = usize::try_from(head.get() - after.get()).unwrap_or(usize::MAX);
        if behind > config.rooms.replay_events {
            return self.join(subscribe, Recovery::Gap(GapReason::WindowExceeded));
        }
        match self.recent.after(after, head) {
            Some(missed) => {
                let recovery = self.within_window(missed);
                self.join(subscribe, recovery);
            }
            None => self.read_missed(subscribe, after, false, ctx),
        }
    }

    /// What isn't in memory comes from the store. The room goes on meanwhile; what is committed until the answer is here
    /// is in memory by then.
    fn read_missed(&mut self, subscribe: Subscribe, after: Seq, again: bool, ctx: &mut Context<Self>) {
        let (store, id) = (self.rooms.store().clone(), self.id);
        let limit = self.rooms.config().rooms.replay_events;
        let read = async move { store.room_events(id, after, limit).await };
        ctx.spawn(read.into_actor(self).map(move |read, room, ctx| {
            room.on_missed(subscribe, (after, again), read, ctx);
        }));
    }

    fn on_missed(
        &mut self,
        subscribe: Subscribe,
        (after, again): (Seq, bool),
        read: Result<Vec<StoredEvent>, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        let Phase::Ready(state) = &self.phase else { return };
        let stored = match read {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(room.id = %self.id, %error, "missed events can't be read");
                return subscribe.refuse(Rejection::unavailable());
            }
        };
        if let Err(rejection) = state.allows(&subscribe.person, Action::Subscribe) {
            return subscribe.refuse(rejection);
        }
        let reached = stored.last().map_or(after, |event| event.seq);
        let since = stored.first().map(|event| event.at);
        let mut events: Vec<Bytes> = stored
            .iter()
            .take_while(|event| event.seq <= state.head)
            .map(|event| {
                let StoredEvent { id, room, seq, at, kind, payload } = event;
                Bytes::from(encode::event(kind, *id, *seq, *room, *at, payload))
            })
            .collect();
        if reached < state.head {
            match self.recent.after(reached, state.head) {
                Some(more) => events.extend(more.events),
                // So much was committed meanwhile that memory let it go again.
                None if !again && stored.len() < self.rooms.config().rooms.replay_events => {
                    return self.read_missed(subscribe, after, true, ctx);
                }
                None => return self.join(subscribe, Recovery::Gap(GapReason::WindowExceeded)),
            }
        }
        if events.len() > self.rooms.config().rooms.replay_events {
            return self.join(subscribe, Recovery::Gap(GapReason::WindowExceeded));
        }
        let recovery = self.within_window(Missed { since, events });
        self.join(subscribe, recovery);
    }

    fn within_window(&self, missed: Missed) -> Recovery {
        let config = self.rooms.config();
        let oldest = clock::now().before(config.rooms.replay_age);
        let bytes: usize = missed.events.iter().map(Bytes::len).sum();
        if missed.since.is_some_and(|at| at < oldest) || bytes > config.rooms.replay_bytes {
            return Recovery::Gap(GapReason::WindowExceeded);
        }
        Recovery::Complete(missed.events)
    }

    /// Registers the listener and answers, in one turn: whatever comes next is the event after `head`.
    fn join(&mut self, subscribe: Subscribe, recovery: Recovery) {
        let Phase::Ready(domain::Room { kind, .. }) = self.phase else { return };
        let here = match kind {
            RoomKind::Commons => Some(self.rooms.presence().shown()),
            RoomKind::Open | RoomKind::Closed | RoomKind::Direct => Some(self.here()),
            RoomKind::Inbox => None,
        };
        let Phase::Ready(state) = &self.phase else { return };
        let typing = self.typing.active(subscribe.person.id);
        let here = here.as_deref();
        let streams = self.streaming.snapshot();
        let snapshot = encode::snapshot(&Snapshot { room: state, typing: &typing, here, streams: &streams });
        let head = state.head;
        let page = Cursor::Events { room: self.id, after: subscribe.after.unwrap_or(head) }.encode();
        let (part, without_events) = match recovery {
            Recovery::Complete(events) if events.is_empty() => {
                (encode::recovered(&snapshot, head, &events), None)
            }
            Recovery::Complete(events) => (
                encode::recovered(&snapshot, head, &events),
                Some(encode::gap(&snapshot, head, GapReason::WindowExceeded, &page)),
            ),
            // Nothing the client has is of this log: the page starts at the beginning.
            Recovery::Gap(reason @ (GapReason::EpochChanged | GapReason::AheadOfHead)) => {
                let page = Cursor::Events { room: self.id, after: Seq::default() }.encode();
                (encode::gap(&snapshot, head, reason, &page), None)
            }
            Recovery::Gap(reason) => (encode::gap(&snapshot, head, reason, &page), None),
        };
        let (JoinSlot { conn, join, .. }, hub) = (subscribe.slot, subscribe.hub.clone());
        self.following.leave(conn, join);
        match self.listeners.entry(conn) {
            Entry::Occupied(mut listener) => listener.get_mut().join = join,
            Entry::Vacant(place) => {
                let (user, name) = (subscribe.person.id, Arc::clone(&subscribe.person.name));
                let at = hub.id();
                self.hubs.entry(at).or_insert_with(|| (hub, 0)).1 += 1;
                place.insert(Listener { user, name, hub: at, join, present: false });
            }
        }
        self.count_listeners();
        subscribe.join(head, part, without_events);
    }
}

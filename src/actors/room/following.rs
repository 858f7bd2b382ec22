//! Following a room by badge: what the store has to count is asked for all who need it together, one question at a time.

use super::badges::Badges;
use super::{Phase, Room, Subscribe};
use crate::actors::hub::{ConnId, HubHandle, HubMsg};
use crate::domain::{Action, Badge, Rejection, UserId};
use crate::protocol::{badge, websocket};
use crate::storage::StoreError;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;

/// The followers, and the work that is under way for them.
#[derive(Default)]
pub(super) struct Following {
    pub(super) badges: Badges,
    /// The hubs of the followers, with how many there.
    hubs: HashMap<u16, (HubHandle, usize)>,
    /// Who wants to follow and isn't being counted yet; bounded by the room's permits.
    waiting: Vec<Subscribe>,
    counting: bool,
    ticking: bool,
    /// A tick that came while the store counted.
    overdue: bool,
    ticked_at: Option<Instant>,
}

/// What is being counted: for whom besides the joiners, and what was true when it began.
struct Counting {
    stale: Vec<UserId>,
    joiners: Vec<Subscribe>,
    revision: u64,
    tick: bool,
}

impl Following {
    /// A socket's subscription of `join` or before is over. Who it was, if it followed.
    pub(super) fn leave(&mut self, conn: ConnId, join: u64) -> Option<UserId> {
        let user = self.badges.leave(conn, join)?;
        if let Some((_, count)) = self.hubs.get_mut(&conn.hub) {
            *count -= 1;
            if *count == 0 {
                self.hubs.remove(&conn.hub);
            }
        }
        Some(user)
    }

    /// The way to a follower.
    pub(super) fn hub_of(&self, conn: ConnId) -> Option<&HubHandle> {
        self.hubs.get(&conn.hub).map(|(hub, _)| hub)
    }
}

impl Room {
    pub(super) fn on_follow(&mut self, subscribe: Subscribe, ctx: &mut Context<Self>) {
        self.following.waiting.push(subscribe);
        if !self.following.counting {
            self.count_badges(Vec::new(), false, ctx);
        }
    }

    /// After whatever may have changed a badge: the tick comes at once after a quiet time, else when its time has come.
    pub(super) fn arm_badges(&mut self, ctx: &mut Context<Self>) {
        if self.following.ticking || !self.following.badges.is_due() {
            return;
        }
        self.following.ticking = true;
        let due = self.following.ticked_at.map(|at| at + self.rooms.config().rooms.badge);
        let wait = due.map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default();
        ctx.run_later(wait, |room, ctx| {
            room.following.ticking = false;
            room.on_badge_tick(ctx);
        });
    }

    fn on_badge_tick(&mut self, ctx: &mut Context<Self>) {
        if self.following.counting {
            self.following.overdue = true;
            return;
        }
        self.following.ticked_at = Some(Instant::now());
        let stale = self.following.badges.take_stale();
        if stale.is_empty() {
            self.tell_badges();
        } else {
            self.count_badges(stale, true, ctx);
        }
    }

    fn count_badges(&mut self, stale: Vec<UserId>, tick: bool, ctx: &mut Context<Self>) {
        self.following.counting = true;
        let joiners = std::mem::take(&mut self.following.waiting);
        let users: HashSet<UserId> =
            joiners.iter().map(|subscribe| subscribe.person.id).chain(stale.iter().copied()).collect();
        let counting = Counting { stale, joiners, revision: self.following.badges.revision(), tick };
        let (store, id) = (self.rooms.store().clone(), self.id);
        let read = async move { store.badges(id, users.into_iter().collect()).await };
        ctx.spawn(read.into_actor(self).map(move |counted, room, ctx| {
            room.on_badges(counting, counted, ctx);
        }));
    }

    fn on_badges(
        &mut self,
        counting: Counting,
        counted: Result<Vec<(UserId, Badge)>, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        self.following.counting = false;
        let Counting { stale, joiners, revision, tick } = counting;
        match counted {
            Ok(counted) => {
                let counted: HashMap<UserId, Badge> = counted.into_iter().collect();
                let known = stale.into_iter().filter_map(|user| Some((user, *counted.get(&user)?)));
                self.following.badges.counted(known);
                for subscribe in joiners {
                    match counted.get(&subscribe.person.id) {
                        Some(badge) => self.follow(subscribe, *badge, revision, ctx),
                        None => subscribe.refuse(Rejection::not_found("room")),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(room.id = %self.id, %error, "badges can't be counted");
                self.following.badges.still_stale(stale);
                for subscribe in joiners {
                    subscribe.refuse(Rejection::unavailable());
                }
            }
        }
        if tick {
            self.tell_badges();
        }
        if std::mem::take(&mut self.following.overdue) {
            self.on_badge_tick(ctx);
        }
        if !self.following.counting && !self.following.waiting.is_empty() {
            self.count_badges(Vec::new(), false, ctx);
        }
        self.arm_badges(ctx);
    }

    /// Registers the follower and answers, in one turn.
    fn follow(&mut self, subscribe: Subscribe, badge: Badge, revision: u64, ctx: &mut Context<Self>) {
        let Phase::Ready(state) = &self.phase else { return };
        if let Err(rejection) = state.allows(&subscribe.person, Action::Subscribe) {
            return subscribe.refuse(rejection);
        }
        // What was said or read while the store counted isn't in the count.
        let outdated = badge.head < state.head || revision != self.following.badges.revision();
        let part = badge::followed(state, badge);
        let (slot, user, hub) = (subscribe.slot, subscribe.person.id, subscribe.hub.clone());
        self.on_left(slot.conn, slot.join, ctx);
        self.following.badges.follow(slot.conn, slot.join, user, badge, outdated);
        self.following.hubs.entry(hub.id()).or_insert_with(|| (hub, 0)).1 += 1;
        self.count_listeners();
        subscribe.join(badge.head, part, None);
    }

    fn tell_badges(&mut self) {
        let Phase::Ready(state) = &self.phase else { return };
        let mut frames: HashMap<u16, Vec<(ConnId, Bytes)>> = HashMap::new();
        for (conn, badge) in self.following.badges.settle(state.head) {
            let frame = websocket::text(&badge::frame(self.id, badge));
            frames.entry(conn.hub).or_default().push((conn, frame));
        }
        for (hub, frames) in frames {
            if let Some((hub, _)) = self.following.hubs.get(&hub) {
                hub.broadcast(HubMsg::Badges { room: self.id, head: state.head, frames });
            }
        }
    }
}

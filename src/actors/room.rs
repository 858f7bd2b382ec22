//! One actor per active room: it refuses early, passes on to the sequencer, and hands what was committed to the hubs in the
//! order of `seq`. What it remembers can be dropped at any time; the store has the truth.

mod attending;
mod badges;
mod following;
mod handle;
mod present;
mod recent;
mod streaming;
mod subscribing;
mod typing;

pub use handle::{RoomHandle, RoomMsg};
pub use subscribing::Subscribe;

use super::hub::{ConnId, HubHandle, HubMsg};
use super::registry::Rooms;
use super::reply::ReplySink;
use super::sequencer::Append;
use super::watch::{self, Ending};
use crate::domain::{self, Command, EventBody, Principal, Recorded, Rejection, RoomId, Subject, UserId};
use crate::protocol::{encode, websocket};
use crate::storage::{StoreError, Write};
use crate::telemetry::metrics;
use actix::{Actor, ActorContext, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler, WrapFuture};
use attending::Alarm;
use following::Following;
use present::Present;
use recent::Recent;
use std::collections::HashMap;
use std::sync::Arc;
use streaming::Streaming;
use tokio::sync::OwnedSemaphorePermit;
use typing::Typing;

/// See the module.
pub struct Room {
    id: RoomId,
    generation: u64,
    handle: Option<RoomHandle>,
    rooms: Arc<Rooms>,
    phase: Phase,
    listeners: HashMap<ConnId, Listener>,
    following: Following,
    /// The hubs that have listeners, with how many.
    hubs: HashMap<u16, (HubHandle, usize)>,
    present: Present,
    /// Those of them who were told, as text, once somebody asked for it.
    here: Option<Arc<str>>,
    present_alarm: Alarm,
    typing: Typing,
    typing_alarm: Alarm,
    recent: Recent,
    streaming: Streaming,
}

enum Phase {
    /// The rows are on their way; what arrives meanwhile waits, bounded by permits.
    Loading {
        waiting: Vec<RoomMsg>,
        _permit: OwnedSemaphorePermit,
    },
    Ready(domain::Room),
    /// There is no such room, or this memory isn't used any more: what still arrives is refused.
    Gone(Rejection),
}

struct Listener {
    user: UserId,
    name: Arc<str>,
    hub: u16,
    /// The number of the request that registered it.
    join: u64,
    /// It counts as having the room open: its subscription is confirmed.
    present: bool,
}

impl Room {
    /// Starts loading the room on `core`; `loading` bounds how many do that at a time.
    pub fn start(
        id: RoomId,
        generation: u64,
        rooms: Arc<Rooms>,
        core: &ArbiterHandle,
        loading: OwnedSemaphorePermit,
    ) -> RoomHandle {
        let queue = rooms.config().rooms.queue;
        let registry = Arc::clone(&rooms);
        let ended = move |ending| {
            if ending == Ending::Panicked {
                metrics::actor_panicked("room");
                tracing::error!(room.id = %id, "a room failed; it is loaded anew");
                registry.forget(id, generation);
            }
        };
        let make = move || Self::new(id, generation, rooms, loading);
        let handle = RoomHandle::new(watch::start_on(core, make, ended), generation, queue);
        handle.tell(RoomMsg::Named(handle.clone()));
        handle
    }

    fn new(id: RoomId, generation: u64, rooms: Arc<Rooms>, loading: OwnedSemaphorePermit) -> Self {
        let config = Arc::clone(rooms.config());
        Self {
            id,
            generation,
            handle: None,
            rooms,
            phase: Phase::Loading { waiting: Vec::new(), _permit: loading },
            listeners: HashMap::new(),
            following: Following::default(),
            hubs: HashMap::new(),
            present: Present::new(config.presence.grace, config.presence.tick, config.presence.names_up_to),
            here: None,
            present_alarm: Alarm::default(),
            typing: Typing::new(config.typing.throttle, config.typing.expiry),
            typing_alarm: Alarm::default(),
            recent: Recent::new(config.rooms.replay_events, config.rooms.replay_bytes),
            streaming: Streaming::default(),
        }
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        let (store, id) = (self.rooms.store().clone(), self.id);
        ctx.spawn(async move { store.load_room(id).await }.into_actor(self).map(|loaded, room, ctx| {
            room.on_loaded(loaded, ctx);
        }));
    }

    fn on_loaded(&mut self, loaded: Result<Option<domain::Room>, StoreError>, ctx: &mut Context<Self>) {
        let Phase::Loading { waiting, .. } = &mut self.phase else { return };
        // It was made while we looked.
        if matches!(loaded, Ok(None))
            && waiting.iter().any(|message| matches!(message, RoomMsg::Committed(_)))
        {
            self.load(ctx);
            return;
        }
        let waiting = std::mem::take(waiting);
        let refusal = match loaded {
            Ok(Some(state)) => {
                self.phase = Phase::Ready(state);
                self.streaming.load(self.rooms.answers().of(self.id));
                metrics::rooms(self.rooms.len());
                for message in waiting {
                    self.handle(message, ctx);
                }
                return;
            }
            Ok(None) => Rejection::not_found("room"),
            Err(error) => {
                tracing::warn!(room.id = %self.id, %error, "room can't be loaded");
                Rejection::unavailable()
            }
        };
        self.end(refusal.clone());
        for message in waiting {
            refuse(message, &refusal);
        }
    }

    /// Drops this memory. The next message for the room starts another; what is in the mailbox already is answered before
    /// the end.
    fn end(&mut self, refusal: Rejection) {
        self.phase = Phase::Gone(refusal);
        self.rooms.forget(self.id, self.generation);
        if let Some(handle) = &self.handle {
            handle.tell(RoomMsg::Stop);
        }
    }

    fn on_submit(&mut self, by: Principal, command: Command, sink: ReplySink) {
        let Phase::Ready(state) = &self.phase else { return };
        if let Err(rejection) = state.decide(&by.person, &command, &Subject::Unknown) {
            // A repeated post gets its original answer even from somebody who was removed since; only the store knows.
            if !matches!(command, Command::PostMessage { .. }) {
                sink.answer(Err(rejection));
                return;
            }
        }
        match self.rooms.sequencer() {
            Some(sequencer) => {
                sequencer.append(Append { write: Write::Command { by, command }, sink });
            }
            None => sink.answer(Err(Rejection::unavailable())),
        }
    }

    fn on_committed(&mut self, recorded: Recorded, ctx: &mut Context<Self>) {
        let Phase::Ready(state) = &mut self.phase else { return };
        match state.apply(&recorded.event) {
            Ok(false) => return,
            Ok(true) => {}
            Err(gap) => {
                tracing::error!(room.id = %self.id, head = %gap.head, got = %gap.got, "an event is missing; the room is loaded anew");
                self.end(Rejection::unavailable());
                return;
            }
        }
        let event = &recorded.event;
        self.before_event(event, ctx);
        let json = encode::recorded(&recorded);
        let frame = websocket::text(&json);
        metrics::event_encoded();
        self.recent.push(event.seq, event.at, frame.slice(websocket::header_len(json.len())..));
        for (hub, _) in self.hubs.values() {
            hub.broadcast(HubMsg::Event { room: self.id, seq: event.seq, frame: frame.clone() });
        }
        match event.body {
            EventBody::MemberRemoved { user, .. } => {
                self.send_away(|who| who == user, ctx);
                self.on_removed(user, ctx);
            }
            EventBody::RoomDeleted { .. } => self.send_away(|_| true, ctx),
            _ => {}
        }
        self.following.badges.on_event(event);
        self.arm_badges(ctx);
    }

    fn send_away(&mut self, which: impl Fn(UserId) -> bool, ctx: &mut Context<Self>) {
        let listeners = self.listeners.iter().filter(|(_, listener)| which(listener.user));
        let mut gone: Vec<ConnId> = listeners.map(|(conn, _)| *conn).collect();
        gone.extend(self.following.badges.of(which));
        for conn in gone {
            let hub = self.hubs.get(&conn.hub).map(|(hub, _)| hub);
            if let Some(hub) = hub.or_else(|| self.following.hub_of(conn)) {
                hub.tell(HubMsg::Unsubscribed { conn, room: self.id });
            }
            self.on_left(conn, u64::MAX, ctx);
        }
    }

    fn on_hub_lost(&mut self, hub: u16, ctx: &mut Context<Self>) {
        let mut gone: Vec<ConnId> = self.listeners.keys().copied().collect();
        gone.extend(self.following.badges.of(|_| true));
        for conn in gone.into_iter().filter(|conn| conn.hub == hub) {
            self.on_left(conn, u64::MAX, ctx);
        }
    }

    /// A socket's subscription is over: that of `join`, or one before it; a later one has replaced it already.
    fn on_left(&mut self, conn: ConnId, join: u64, ctx: &mut Context<Self>) {
        if self.following.leave(conn, join).is_some() {
            self.count_listeners();
        }
        if self.listeners.get(&conn).is_none_or(|listener| listener.join > join) {
            return;
        }
        let Some(listener) = self.listeners.remove(&conn) else { return };
        if let Some((_, count)) = self.hubs.get_mut(&listener.hub) {
            *count -= 1;
            if *count == 0 {
                self.hubs.remove(&listener.hub);
            }
        }
        self.count_listeners();
        self.on_absent(conn, listener.user, listener.present, ctx);
    }

    fn count_listeners(&self) {
        if let Some(handle) = &self.handle {
            handle.set_listeners(self.listeners.len() + self.following.badges.len());
        }
    }

    fn count_typing(&self) {
        if let Some(handle) = &self.handle {
            handle.set_typing(self.typing.len());
        }
    }
}

/// Answers what waits for a room that isn't there.
fn refuse(message: RoomMsg, rejection: &Rejection) {
    match message {
        RoomMsg::Submit { sink, .. } => sink.answer(Err(rejection.clone())),
        RoomMsg::Subscribe(subscribe) => subscribe.refuse(rejection.clone()),
        _ => {}
    }
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load(ctx);
        ctx.run_interval(self.rooms.config().rooms.idle, |room, _| {
            if matches!(room.phase, Phase::Ready(_))
                && room.listeners.is_empty()
                && room.following.badges.len() == 0
            {
                room.rooms.let_go(room.id, room.generation);
            }
        });
    }
}

impl Handler<RoomMsg> for Room {
    type Result = ();

    fn handle(&mut self, message: RoomMsg, ctx: &mut Self::Context) {
        if let RoomMsg::Named(handle) = message {
            self.handle = Some(handle);
            return;
        }
        #[cfg(test)]
        super::simulation::may_fail("room");
        match &mut self.phase {
            Phase::Loading { .. } if matches!(message, RoomMsg::Lost) => {}
            Phase::Loading { waiting, .. } => return waiting.push(message),
            Phase::Gone(_) if matches!(message, RoomMsg::Stop) => return ctx.stop(),
            Phase::Gone(refusal) => return refuse(message, refusal),
            Phase::Ready(_) => {}
        }
        match message {
            RoomMsg::Submit { by, command, sink } => self.on_submit(by, command, sink),
            RoomMsg::Committed(recorded) => self.on_committed(recorded, ctx),
            RoomMsg::Subscribe(subscribe) => self.on_subscribe(subscribe, ctx),
            RoomMsg::Confirmed { conn } => self.on_confirmed(conn, ctx),
            RoomMsg::Left { conn, join } => self.on_left(conn, join, ctx),
            RoomMsg::HubLost { hub } => self.on_hub_lost(hub, ctx),
            RoomMsg::Said(answer) => self.on_said(&answer),
            RoomMsg::Read { user } => {
                self.following.badges.on_read(user);
                self.arm_badges(ctx);
            }
            RoomMsg::Typing { conn, person, typing, .. } => self.on_typing(conn, &person, typing, ctx),
            RoomMsg::Signal(signal) => self.tell_signal(&signal, None),
            // After what was told the hubs so far: they can't take a subscription for one of the next memory.
            RoomMsg::Lost => self.end(Rejection::unavailable()),
            RoomMsg::Stop => ctx.stop(),
            RoomMsg::Named(_) => {}
        }
    }
}

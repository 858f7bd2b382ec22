//! Telling who has the room open and who types, in one order with the room's messages (CONN-06).

use super::{Phase, Room};
use crate::actors::hub::{ConnId, HubMsg};
use crate::domain::{Attendance, Event, EventBody, Person, Signal, UserId};
use crate::protocol::client_frame::TypingChange;
use crate::protocol::encode::{self, Here};
use crate::protocol::websocket;
use crate::telemetry::metrics;
use actix::{AsyncContext, Context, SpawnHandle};
use std::sync::Arc;
use tokio::time::Instant;

/// A timer that runs at the earliest of the times it was set to.
#[derive(Default)]
pub(super) struct Alarm(Option<(SpawnHandle, Instant)>);

impl Alarm {
    /// Sets it to `at`, unless it rings before. `ring` is called with the room.
    fn set(&mut self, at: Option<Instant>, ring: fn(&mut Room, &mut Context<Room>), ctx: &mut Context<Room>) {
        let Some(at) = at else { return };
        if let Some((handle, set)) = self.0 {
            if set <= at {
                return;
            }
            ctx.cancel_future(handle);
        }
        let handle = ctx.run_later(at.saturating_duration_since(Instant::now()), ring);
        self.0 = Some((handle, at));
    }
}

impl Room {
    /// Whether it is a room of people, who come and go and type.
    fn is_attended(&self) -> bool {
        matches!(&self.phase, Phase::Ready(state) if !state.kind.is_system())
    }

    /// A socket has the answer to its subscription: from here on the others may know (CONN-02).
    pub(super) fn on_confirmed(&mut self, conn: ConnId, ctx: &mut Context<Self>) {
        if !self.is_attended() {
            return;
        }
        let Some(listener) = self.listeners.get_mut(&conn) else { return };
        if !std::mem::replace(&mut listener.present, true) {
            self.present.joined(listener.user, &listener.name, Instant::now());
            self.arm_present(ctx);
        }
    }

    /// A socket that was present is off the list.
    pub(super) fn on_absent(
        &mut self,
        conn: ConnId,
        user: UserId,
        was_present: bool,
        ctx: &mut Context<Self>,
    ) {
        if was_present {
            self.present.left(user, Instant::now());
            self.arm_present(ctx);
        }
        if let Some((user, name)) = self.typing.gone(conn) {
            self.tell_typing(user, name, false);
        }
        self.arm_typing(ctx);
    }

    /// What has to be told before an event: that its author is here, and types no more (CONN-08, TYPE-05).
    pub(super) fn before_event(&mut self, event: &Event, ctx: &mut Context<Self>) {
        let EventBody::MessagePosted { author, .. } = &event.body else { return };
        // Without listeners nobody was told anything that could be contradicted.
        if !self.listeners.is_empty() {
            if self.present.spoke(author.id, &author.name, event.seq, Instant::now())
                && let Some(attendance) = self.take_attendance()
            {
                // Under load, too: it belongs to the message.
                self.send_signal(&Signal::RoomPresence(attendance), None);
            }
            self.arm_present(ctx);
        }
        if let Some(name) = self.typing.stop(author.id) {
            self.tell_typing(author.id, name, false);
        }
        self.arm_typing(ctx);
    }

    /// Somebody was removed from the room.
    pub(super) fn on_removed(&mut self, user: UserId, ctx: &mut Context<Self>) {
        self.present.removed(user, Instant::now());
        self.arm_present(ctx);
    }

    /// What is to be told of who is here; from then on it is shown to newcomers.
    fn take_attendance(&mut self) -> Option<Attendance> {
        let attendance = self.present.tell(Instant::now())?;
        self.here = None;
        Some(attendance)
    }

    /// Who was told as present, for snapshots.
    pub(super) fn here(&mut self) -> Arc<str> {
        let present = &self.present;
        let here = self.here.get_or_insert_with(|| {
            let (present, count) = present.snapshot();
            encode::here(&Here::Room { present: present.as_deref(), count }).into()
        });
        Arc::clone(here)
    }

    fn tell_present(&mut self) {
        if let Some(attendance) = self.take_attendance() {
            self.tell_signal(&Signal::RoomPresence(attendance), None);
        }
    }

    fn arm_present(&mut self, ctx: &mut Context<Self>) {
        let ring = |room: &mut Self, ctx: &mut Context<Self>| {
            room.present_alarm = Alarm::default();
            if room.present.next().is_some_and(|due| due <= Instant::now()) {
                room.tell_present();
            }
            room.arm_present(ctx);
        };
        self.present_alarm.set(self.present.next(), ring, ctx);
    }

    pub(super) fn on_typing(
        &mut self,
        conn: ConnId,
        person: &Person,
        typing: TypingChange,
        ctx: &mut Context<Self>,
    ) {
        match typing {
            TypingChange::Stop => {
                if let Some((user, name)) = self.typing.stopped_by(person.id, conn) {
                    self.tell_typing(user, name, false);
                }
            }
            TypingChange::Start { after } => {
                // It was said before a message that is out by now (TYPE-06).
                let is_late = after.is_some_and(|after| self.present.spoke_at(person.id) > Some(after));
                // Under load nobody begins to type; whoever had begun ends by themselves.
                let is_late = is_late || self.rooms.load().sheds_signals();
                let is_here = self.listeners.get(&conn).is_some_and(|listener| listener.present);
                if is_late || !is_here || !self.is_attended() {
                    return;
                }
                let name = Arc::clone(&person.name);
                if self.typing.start(person.id, Arc::clone(&name), conn, Instant::now()) {
                    self.tell_typing(person.id, name, true);
                }
            }
        }
        self.arm_typing(ctx);
    }

    fn arm_typing(&mut self, ctx: &mut Context<Self>) {
        let ring = |room: &mut Self, ctx: &mut Context<Self>| {
            room.typing_alarm = Alarm::default();
            let (ended, begun) = room.typing.due(Instant::now());
            for (user, name) in ended {
                room.tell_typing(user, name, false);
            }
            for (user, name) in begun {
                room.tell_typing(user, name, true);
            }
            room.arm_typing(ctx);
        };
        self.count_typing();
        self.typing_alarm.set(self.typing.next(), ring, ctx);
    }

    fn tell_typing(&mut self, user: UserId, name: Arc<str>, typing: bool) {
        // Nobody types before they are here.
        if typing && self.present.is_untold(user) {
            self.tell_present();
        }
        self.tell_signal(&Signal::Typing { user, name, typing }, Some(user));
    }

    /// Shows a signal, unless signals are left out for the load.
    pub(super) fn tell_signal(&self, signal: &Signal, except: Option<UserId>) {
        let load = self.rooms.load();
        let is_shed = match signal {
            Signal::Typing { typing: false, .. } => false,
            Signal::Typing { .. } => load.sheds_signals(),
            Signal::Presence { .. } | Signal::RoomPresence(_) => load.sheds_vital(self.id),
            // What somebody pays for is heard.
            Signal::AnswerBegun { .. } | Signal::AnswerSaid { .. } => false,
        };
        if is_shed {
            metrics::signals_dropped(1);
            return;
        }
        self.send_signal(signal, except);
    }

    pub(super) fn send_signal(&self, signal: &Signal, except: Option<UserId>) {
        let Phase::Ready(state) = &self.phase else { return };
        let frame = websocket::text(&encode::signal(self.id, state.head, signal));
        let vital = signal.is_vital();
        for (hub, _) in self.hubs.values() {
            hub.broadcast(HubMsg::Signal { room: self.id, frame: frame.clone(), except, vital });
        }
    }
}

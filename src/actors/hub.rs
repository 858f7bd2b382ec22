//! One hub per worker thread: the way from rooms to that thread's sockets. Per event it gets one message with encoded
//! bytes; per recipient it does a plain write, no message, no lock, no allocation.

mod badges;
mod census;
mod fanout;
mod handle;
mod joining;
mod places;
mod right;
mod switchboard;

pub use handle::{ConnId, HubHandle, HubMsg, JoinSlot, Joined};
pub use joining::Joining;
pub use switchboard::Switchboard;

use super::peer::Peer;
use super::registry::Rooms;
use super::turn::EndOfTurn;
use super::watch;
use crate::config::Config;
use crate::domain::Via;
use crate::protocol::CloseCode;
use actix::{Actor, AsyncContext, Context, Handler};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The switchboard of one thread, shared by its hub and its connections.
pub type Board = Rc<RefCell<Switchboard>>;

/// The mail slot of a switchboard for the other threads.
pub struct Hub {
    handle: HubHandle,
    board: Board,
    tick: Duration,
    badge: Duration,
}

impl Hub {
    /// Starts the hub of the current worker thread.
    pub fn start(id: u16, rooms: Arc<Rooms>, config: Arc<Config>) -> (HubHandle, Board) {
        let context = Context::new();
        let handle = HubHandle::new(id, context.address(), config.rooms.hub_backlog);
        let tick = (config.heartbeat.interval / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let badge = config.rooms.badge;
        let board = Rc::new(RefCell::new(Switchboard::new(handle.clone(), rooms, config)));
        let hub = Self { handle: handle.clone(), board: Rc::clone(&board), tick, badge };
        watch::start_vital(context, hub, "hub");
        (handle, board)
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.tick, |hub, _| {
            work_on(&hub.board, |board| {
                board.beat();
                board.flush();
            });
        });
        ctx.run_interval(self.badge, |hub, _| {
            work_on(&hub.board, |board| {
                board.tick_badges();
                board.flush();
            });
        });
        ctx.spawn(EndOfTurn(|hub: &mut Self, _: &mut Self::Context| work_on(&hub.board, Switchboard::flush)));
    }
}

/// Does something on the board. Should it fail, what the board knows of subscriptions can't be trusted any more: its sockets come
/// back and resume.
pub(super) fn work_on(board: &Board, work: impl FnOnce(&mut Switchboard)) {
    let done = watch::contained("hub", || work(&mut board.borrow_mut()));
    if done.is_err() {
        board.borrow_mut().begin_anew();
    }
}

impl Handler<HubMsg> for Hub {
    type Result = ();

    fn handle(&mut self, msg: HubMsg, _: &mut Self::Context) {
        let overrun = self.handle.took();
        if overrun {
            // Subscriptions that were on their way when it happened are not in yet: once more behind them.
            self.handle.tell(HubMsg::Overrun);
        }
        work_on(&self.board, |board| {
            if overrun {
                board.overrun();
            }
            board.take(msg);
        });
    }
}

impl Switchboard {
    fn take(&mut self, msg: HubMsg) {
        let board = self;
        #[cfg(test)]
        super::simulation::may_fail("hub");
        match msg {
            HubMsg::Event { room, seq, frame } => board.event(room, seq, frame),
            HubMsg::Signal { room, frame, except, vital } => board.signal(room, &frame, except, vital),
            HubMsg::Badges { room, head, frames } => board.badges(room, head, frames),
            HubMsg::Send { conn, class, frame } => board.send(conn, class, frame),
            HubMsg::Offer { conn, id, frame } => board.offer(conn, id, frame),
            HubMsg::Joined(joined) => board.joined(joined),
            HubMsg::JoinRefused { slot, rejection } => board.refused(slot, rejection),
            HubMsg::Unsubscribed { conn, room } => board.unsubscribed(conn, room),
            HubMsg::Overrun => board.overrun(),
            HubMsg::RoomLost { room } => board.room_lost(room),
            HubMsg::StartAnew { room } => board.start_anew(room),
            HubMsg::CloseSession { session, code } => {
                board.close_where(|peer| peer.identity.session() == Some(session), code);
                board.ended(|_, of| of == Some(session));
            }
            HubMsg::CloseBotKey { key, code } => {
                board.close_where(|peer| peer.identity.via == Via::BotKey(key), code);
            }
            HubMsg::LimitBotKey { key, expires_at } => board.limit_key(key, expires_at),
            HubMsg::CloseUser { user, code } => {
                board.close_where(|peer| peer.user() == user, code);
                board.ended(|of, _| of == user);
            }
            HubMsg::ChangeRole { user, role, code } => {
                let is_other = |peer: &Peer| peer.user() == user && peer.identity.person.role != role;
                board.close_where(is_other, code);
            }
            HubMsg::ShutOut(bans) => {
                board.close_where(|peer| bans.shut_out(peer.identity.address), CloseCode::Forbidden);
            }
            // Whoever asked may have gone.
            HubMsg::Count(asker) => drop(asker.send(board.counts())),
            HubMsg::Recheck => board.recheck(),
            HubMsg::Fence(asker) => drop(asker.send(())),
            HubMsg::Restart { spread } => board.restart(spread),
            HubMsg::Census => board.census_anew(Instant::now()),
        }
    }
}

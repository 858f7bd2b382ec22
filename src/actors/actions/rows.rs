//! What is kept in memory, held against the rows: at the start, when requests ended by other hands, and again and again where other
//! processes work on the same rows. And how a request is withdrawn.

use super::handle::End;
use super::{AGAIN, Actions, figures};
use crate::actors::clock;
use crate::domain::{ActionId, ActionRequest, ActionState, Outcome, Rejection};
use crate::storage::StoreError;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use std::collections::HashSet;

impl Actions {
    /// Reads which requests are open. What isn't known is offered, also what was before the start: clients know requests by their ids.
    /// What is known and has ended is over.
    pub(super) fn look(&mut self, ctx: &mut Context<Self>) {
        if self.looking {
            self.look_again = true;
            return;
        }
        self.looking = true;
        let (store, most) = (self.rooms.store().clone(), self.shared.config.pending_max);
        let mut known: HashSet<ActionId> = self.entries.keys().copied().collect();
        let read = async move {
            let open = store.open_actions(most).await?;
            for request in &open {
                known.remove(&request.id);
            }
            let ended = match known.is_empty() {
                true => Vec::new(),
                false => store.ended_actions(known.into_iter().collect()).await?,
            };
            Ok((open, ended))
        };
        ctx.spawn(read.into_actor(self).map(|read, actions, ctx| actions.on_seen(read, ctx)));
    }

    fn on_seen(
        &mut self,
        read: Result<(Vec<ActionRequest>, Vec<ActionRequest>), StoreError>,
        ctx: &mut Context<Self>,
    ) {
        self.looking = false;
        let left = std::mem::take(&mut self.left);
        match read {
            Ok((open, ended)) => {
                // Of what is being made or answered here the store tells whoever does it.
                for request in open {
                    if !left.contains(&request.id) && !self.making.contains(&request.id) {
                        self.on_open(&request, ctx);
                    }
                }
                for request in ended {
                    if !self.answering.contains(&request.id) {
                        self.on_ended(request);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "open action requests can't be read; tried again soon");
                ctx.run_later(AGAIN, |actions, ctx| {
                    if !actions.looking {
                        actions.look(ctx);
                    }
                });
            }
        }
        if std::mem::take(&mut self.look_again) {
            self.look(ctx);
        }
    }

    /// A request is open. One that a client has by way of another process is left to it.
    fn on_open(&mut self, request: &ActionRequest, ctx: &mut Context<Self>) {
        let id = request.id;
        let elsewhere = request.state == ActionState::Running && !self.rooms.store().is_alone();
        match self.entries.get_mut(&id) {
            Some(entry) => {
                entry.elsewhere = elsewhere && entry.offered.is_none();
                self.offer(id);
            }
            None => self.enter(request, None, elsewhere, ctx),
        }
    }

    /// A request ended by other hands.
    pub(super) fn on_ended(&mut self, request: ActionRequest) {
        let (state, end): (ActionState, End) = match (request.state, request.result) {
            (state @ (ActionState::Done | ActionState::Failed), Some(result)) => {
                (state, Ok(Outcome { state, result }))
            }
            _ => (ActionState::Expired, Err(Rejection::request_timeout())),
        };
        self.over(request.id, state, end);
    }

    /// Nobody waits for it any more: it ends as if its time were over.
    pub(super) fn withdraw(&mut self, id: ActionId, ctx: &mut Context<Self>) {
        let store = self.rooms.store().clone();
        let write = async move { store.withdraw_action(id, clock::now()).await };
        ctx.spawn(write.into_actor(self).map(move |written, actions, ctx| match written {
            Ok(was_open) => {
                if was_open || actions.entries.contains_key(&id) {
                    actions.shared.figures.count(figures::Outcome::Withdrawn);
                }
                actions.over(id, ActionState::Expired, Err(Rejection::request_timeout()));
            }
            // Until its deadline: then it is over anyway.
            Err(error) if actions.entries.contains_key(&id) => {
                tracing::debug!(%error, "an action request can't be withdrawn; tried again soon");
                ctx.run_later(AGAIN, move |actions, ctx| actions.withdraw(id, ctx));
            }
            Err(error) => tracing::debug!(%error, "an action request can't be withdrawn"),
        }));
    }
}

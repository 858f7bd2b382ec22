//! The end of a turn: an actor's context polls its futures once the mailbox is empty, and so sees all that came together.

use actix::{Actor, ActorFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that never ends and calls its closure at the end of each turn.
pub struct EndOfTurn<F>(pub F);

impl<A, F> ActorFuture<A> for EndOfTurn<F>
where
    A: Actor,
    F: FnMut(&mut A, &mut A::Context) + Unpin,
{
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut A::Context,
        _: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        (self.0)(actor, ctx);
        Poll::Pending
    }
}

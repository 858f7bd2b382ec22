//! Watched spawning: actix drops an actor that panics without a word; here somebody is told.

use actix::{Actor, Addr, Context};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

/// How an actor's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It stopped itself.
    Stopped,
    /// It panicked; what it held in memory is gone.
    Panicked,
}

/// Starts `actor` on the current arbiter and calls `ended` once it is over.
pub fn start<A>(actor: A, ended: impl FnOnce(Ending) + 'static) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let context = Context::new();
    let address = actix::AsyncContext::address(&context);
    let life = AssertUnwindSafe(context.into_future(actor)).catch_unwind();
    actix_rt::spawn(async move {
        ended(match life.await {
            Ok(()) => Ending::Stopped,
            Err(_) => Ending::Panicked,
        });
    });
    address
}

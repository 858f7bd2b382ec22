//! Watched spawning: actix drops an actor that panics without a word; here somebody is told.

use actix::{Actor, Addr, AsyncContext, Context};
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
    let address = context.address();
    spawn(context, actor, ended);
    address
}

/// Starts an actor without which the process is of no use: should it panic, the process ends, and whoever started it starts
/// it anew. Nothing acked is lost by that, and nothing half-alive goes on.
pub fn start_vital<A>(context: Context<A>, actor: A, name: &'static str) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let address = context.address();
    spawn(context, actor, move |ending| {
        if ending == Ending::Panicked {
            tracing::error!(actor = name, "a vital actor failed; the process ends");
            std::process::exit(EXIT_SOFTWARE);
        }
    });
    address
}

/// An internal software error (sysexits.h).
const EXIT_SOFTWARE: i32 = 70;

fn spawn<A>(context: Context<A>, actor: A, ended: impl FnOnce(Ending) + 'static)
where
    A: Actor<Context = Context<A>>,
{
    let life = AssertUnwindSafe(context.into_future(actor)).catch_unwind();
    actix_rt::spawn(async move {
        ended(match life.await {
            Ok(()) => Ending::Stopped,
            Err(_) => Ending::Panicked,
        });
    });
}

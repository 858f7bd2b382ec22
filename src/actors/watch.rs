//! Watched spawning: actix drops an actor that panics without a word; here somebody is told.

use crate::telemetry::metrics;
use actix::dev::channel::channel;
use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context};
use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How an actor's life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It stopped itself.
    Stopped,
    /// It panicked; what it held in memory is gone.
    Panicked,
}

/// Starts the actor that `make` gives on `arbiter`, and calls `ended` there once it is over. Its address takes messages at
/// once, from any thread, in the order they are sent.
pub fn start_on<A>(
    arbiter: &ArbiterHandle,
    make: impl FnOnce() -> A + Send + 'static,
    ended: impl FnOnce(Ending) + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>>,
{
    let (sender, receiver) = channel(MAILBOX);
    arbiter.spawn_fn(move || spawn(Context::with_receiver(receiver), make(), ended));
    Addr::new(sender)
}

/// The work panicked; what it was in the middle of can't be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Does a piece of an actor's work. A panic ends that piece only: the actor lives on and begins anew from what it can be sure of.
pub fn contained<T>(actor: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_payload| {
        metrics::actor_panicked(actor);
        tracing::error!(actor, "an actor failed and begins anew");
        Panicked
    })
}

/// What a mailbox takes by `try_send`; our own permits are the bound.
const MAILBOX: usize = 16;

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

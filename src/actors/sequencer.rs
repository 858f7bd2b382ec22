//! The one place that puts the writes of all rooms in order: what gathers while a commit runs is the next transaction
//! (group commit). Events go to their rooms and answers to their askers only after the commit.

use super::clock;
use super::load::Load;
use super::registry::Rooms;
use super::reply::ReplySink;
use super::turn::EndOfTurn;
use super::watch;
use crate::domain::{Ack, Command, Rejection, RoomId};
use crate::storage::{BatchOutcome, StoreError, Verdict, Write};
use crate::telemetry::{ai, metrics};
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A write on its way into the log.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Append {
    pub write: Write,
    pub sink: ReplySink,
}

/// The address of the sequencer, bounded.
#[derive(Clone)]
pub struct SequencerHandle {
    address: Addr<Sequencer>,
    permits: Arc<Semaphore>,
    queue: usize,
}

impl SequencerHandle {
    /// Queues a write; when the queue is full it is answered `overloaded`.
    #[expect(clippy::disallowed_methods, reason = "bounded by the permits of the write queue")]
    pub fn append(&self, mut append: Append) {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(place) => {
                append.sink.in_line(place);
                self.address.do_send(append);
            }
            Err(_) => append.sink.answer(Err(Rejection::overloaded())),
        }
    }

    /// Writes that aren't answered yet.
    pub fn depth(&self) -> usize {
        self.queue - self.permits.available_permits()
    }
}

/// See the module.
pub struct Sequencer {
    rooms: Arc<Rooms>,
    batch: usize,
    pending: VecDeque<Append>,
    committing: bool,
}

impl Sequencer {
    /// Starts it on the current arbiter.
    pub fn start(rooms: &Arc<Rooms>) -> SequencerHandle {
        let config = rooms.config();
        let queue = config.storage.write_queue;
        let batch = config.storage.commit_batch.max(1);
        let sequencer = Self { rooms: Arc::clone(rooms), batch, pending: VecDeque::new(), committing: false };
        SequencerHandle {
            address: watch::start_vital(Context::new(), sequencer, "sequencer"),
            permits: Arc::new(Semaphore::new(queue)),
            queue,
        }
    }

    fn commit(&mut self, ctx: &mut Context<Self>) {
        while !self.committing && !self.pending.is_empty() {
            self.commit_next(ctx);
        }
    }

    fn commit_next(&mut self, ctx: &mut Context<Self>) {
        let count = self.pending.len().min(self.batch);
        let mut writes = Vec::with_capacity(count);
        let mut askers = Vec::with_capacity(count);
        let mut may_end = false;
        for Append { write, sink } in self.pending.drain(..count) {
            may_end |= may_end_rights(&write);
            writes.push(write);
            askers.push(sink);
        }
        let began = Instant::now();
        match self.rooms.store().submit(writes, clock::now()) {
            Ok(outcome) => {
                self.committing = true;
                ctx.spawn(outcome.into_actor(self).map(move |outcome, sequencer, ctx| {
                    sequencer.committing = false;
                    let outcome = outcome.unwrap_or_default();
                    let done =
                        watch::contained("sequencer", || sequencer.on_committed(outcome, askers, began));
                    let is_known = done.unwrap_or(false);
                    if !is_known {
                        // Who wasn't answered was told so when the answer was dropped; what rooms weren't told they read anew.
                        sequencer.rooms.forget_all();
                        if may_end {
                            sequencer.rooms.recheck();
                        }
                    }
                    sequencer.commit(ctx);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "the writer takes no more");
                self.rooms.load().store_failed(&error);
                for sink in askers {
                    sink.answer(Err(rejection_of(&error)));
                }
            }
        }
    }

    /// Whether it is known what came of the batch.
    fn on_committed(&self, outcome: BatchOutcome, askers: Vec<ReplySink>, began: Instant) -> bool {
        #[cfg(test)]
        super::simulation::may_fail("sequencer");
        // A writer that died without an answer leaves the outcome as unknown as a lost connection does.
        let mut unknown = outcome.len() != askers.len();
        let mut touched: Vec<RoomId> = Vec::new();
        let mut signs = Signs::default();
        if unknown {
            signs.failed(&StoreError::OutcomeUnknown("the writer gave no answer".to_owned()));
        }
        let batch = askers.len();
        for (verdict, sink) in outcome.into_iter().zip(askers) {
            match verdict {
                Ok(Verdict::Accepted { ack, events: recorded }) => {
                    signs.worked = true;
                    for recorded in recorded {
                        metrics::event_committed(recorded.event.body.kind());
                        ai::committed(&recorded.event.body);
                        // Before anything that follows in the log is on its way to a hub.
                        self.rooms.end_by(&recorded.event.body);
                        self.rooms.answers().end_by(recorded.event.room, &recorded.event.body);
                        if !touched.contains(&recorded.event.room) {
                            touched.push(recorded.event.room);
                        }
                        self.rooms.route(recorded);
                    }
                    if let Ack::RunStopping { room, run } = ack {
                        self.rooms.answers().stop(room, run);
                    }
                    sink.answer(Ok(ack));
                }
                Ok(Verdict::Refused(rejection)) => sink.answer(Err(rejection)),
                Err(error) => {
                    signs.failed(&error);
                    unknown |= matches!(error, StoreError::OutcomeUnknown(_));
                    tracing::error!(trace_id = %sink.trace(), %error, "a write failed");
                    sink.answer(Err(rejection_of(&error)));
                }
            }
        }
        signs.tell(self.rooms.load());
        metrics::commit(batch, began.elapsed());
        if !touched.is_empty() {
            self.rooms.committed(touched.into());
        }
        if unknown {
            tracing::error!("the outcome of a commit is unknown; every room is loaded anew");
        }
        !unknown
    }
}

/// Whether somebody's right to be connected, or to be what they are, may end by it.
const fn may_end_rights(write: &Write) -> bool {
    match write {
        Write::Session { .. } => true,
        Write::Command { command, .. } => {
            matches!(
                command,
                Command::UpdateUser { .. } | Command::BanUser { .. } | Command::RemoveBot { .. }
            )
        }
        Write::Enrol { .. } => false,
    }
}

/// What a batch says about the store's health: an outage is one failure, a defect alone says nothing, and whatever else came to an
/// end, refusals among it, was a transaction that worked.
#[derive(Default)]
struct Signs {
    /// An outage if there was one, else a defect.
    failed: Option<StoreError>,
    worked: bool,
}

impl Signs {
    fn failed(&mut self, error: &StoreError) {
        if error.is_transient() || self.failed.is_none() {
            self.failed = Some(error.clone());
        }
    }

    fn tell(self, load: &Load) {
        match self.failed {
            Some(error) if error.is_transient() => load.store_failed(&error),
            Some(_) if !self.worked => {}
            Some(_) | None => load.store_worked(),
        }
    }
}

/// What an asker is told of an incident; the incident itself goes to the log.
pub fn rejection_of(error: &StoreError) -> Rejection {
    match error {
        StoreError::Full => Rejection::overloaded(),
        StoreError::Unavailable(_) | StoreError::DiskFull(_) | StoreError::OutcomeUnknown(_) => {
            Rejection::unavailable()
        }
        _ => Rejection::internal(),
    }
}

impl Actor for Sequencer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // All that arrived in this turn is one batch.
        ctx.spawn(EndOfTurn(|sequencer: &mut Self, ctx: &mut Context<Self>| sequencer.commit(ctx)));
    }
}

impl Handler<Append> for Sequencer {
    type Result = ();

    fn handle(&mut self, append: Append, _: &mut Self::Context) {
        self.pending.push_back(append);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// What the load is told of a batch with these incidents; before it, one failure less than makes it read-only, or one more.
    fn after(read_only: bool, worked: bool, incidents: &[StoreError]) -> bool {
        let load = Load::new(&config::Load { store_failures: 2, ..config::Load::default() });
        let outage = StoreError::Unavailable("gone".to_owned());
        (0..if read_only { 2 } else { 1 }).for_each(|_| load.store_failed(&outage));
        let mut signs = Signs { worked, ..Signs::default() };
        incidents.iter().for_each(|error| signs.failed(error));
        signs.tell(&load);
        if !read_only && !load.is_read_only() {
            // Whether the failure before is still counted.
            load.store_failed(&outage);
            return load.is_read_only();
        }
        load.is_read_only()
    }

    #[test]
    fn an_outage_counts_a_defect_says_nothing_and_what_ended_works() {
        let defect = || StoreError::Corrupt("a defect".to_owned());
        let outages = [
            StoreError::Unavailable("gone".to_owned()),
            StoreError::DiskFull("full".to_owned()),
            StoreError::OutcomeUnknown("who knows".to_owned()),
        ];
        for outage in outages {
            for incidents in
                [vec![outage.clone()], vec![defect(), outage.clone()], vec![outage.clone(), defect()]]
            {
                for worked in [false, true] {
                    assert!(
                        after(false, worked, &incidents) && after(true, worked, &incidents),
                        "{incidents:?}"
                    );
                }
            }
        }
        for before in [false, true] {
            assert!(
                after(before, false, &[defect()]),
                "a defect alone neither ends an outage nor forgets one"
            );
            assert!(!after(before, true, &[defect()]), "what was accepted beside a defect works");
            assert!(!after(before, true, &[]), "all was accepted");
            assert!(!after(before, false, &[]), "refusing everything took a transaction, too");
        }
    }
}

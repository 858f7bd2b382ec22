//! Brings outside what committed events cause there: takes what is due from the outbox, a bounded number at a time, and
//! delivers it at least once. What it holds when it dies is due again when the lease runs out.

mod delivery;

use super::bus::Bus;
use super::watch::{self, Ending};
use crate::config::Config;
use crate::storage::{Leased, OutboxDepth, Store, StoreError, Taken};
use crate::telemetry::metrics;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, SpawnHandle, WrapFuture};
use chrono::Utc;
use delivery::Carrier;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often the depth of the outbox is read, and dead letters over the limit let go.
const UPKEEP: Duration = Duration::from_secs(5);

/// A courier that failed starts anew after this long: what made it fail may do so again.
const RESTART: Duration = Duration::from_secs(1);

/// What the rest of the process sees of the courier.
#[derive(Clone, Default)]
pub struct CourierHandle {
    under_way: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
}

impl CourierHandle {
    /// From now on nothing new is taken. What is under way goes on; what isn't done at the end stays in the outbox.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Deliveries under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// See the module.
pub struct Courier {
    carrier: Arc<Carrier>,
    config: Arc<Config>,
    handle: CourierHandle,
    /// The outbox is being asked.
    looking: bool,
    /// Something came meanwhile.
    again: bool,
    timer: Option<SpawnHandle>,
}

/// Counts a delivery as long as it is under way, also when its courier is dropped.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a look into the outbox gave.
struct Found {
    rows: Vec<Leased>,
    /// How long until the next one is due.
    next: Option<Duration>,
}

impl Courier {
    /// Starts the courier on `arbiter`; should it fail, it is started anew.
    pub fn start(bus: Bus, store: Store, config: Arc<Config>, arbiter: &ArbiterHandle) -> CourierHandle {
        let handle = CourierHandle::default();
        let carrier = Arc::new(Carrier::new(bus, store, Arc::clone(&config)));
        launch(carrier, config, handle.clone(), arbiter.clone());
        handle
    }

    fn store(&self) -> &Store {
        self.carrier.store()
    }

    /// Takes what is due, as far as hands are free.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let free = self.config.outbox.workers.saturating_sub(self.handle.under_way());
        if self.handle.stopping.load(Ordering::Relaxed) || free == 0 {
            return;
        }
        if self.looking {
            self.again = true;
            return;
        }
        self.looking = true;
        let (store, lease) = (self.store().clone(), self.config.outbox.lease);
        let found = async move { find(&store, lease, free).await };
        ctx.spawn(found.into_actor(self).map(|found, courier, ctx| courier.on_found(found, ctx)));
    }

    fn on_found(&mut self, found: Result<Found, StoreError>, ctx: &mut Context<Self>) {
        self.looking = false;
        let poll = self.config.outbox.poll;
        let mut wait = poll;
        match found {
            Ok(Found { rows, next }) => {
                wait = if rows.is_empty() { next.unwrap_or(poll).min(poll) } else { Duration::ZERO };
                for row in rows {
                    self.deliver(row, ctx);
                }
            }
            Err(error) => tracing::warn!(%error, "the outbox can't be read"),
        }
        if std::mem::take(&mut self.again) || wait.is_zero() {
            self.look(ctx);
        } else {
            self.timer = Some(ctx.run_later(wait, |courier, ctx| {
                courier.timer = None;
                courier.look(ctx);
            }));
        }
    }

    fn deliver(&self, row: Leased, ctx: &mut Context<Self>) {
        let carrier = Arc::clone(&self.carrier);
        let under_way = UnderWay::new(&self.handle.under_way);
        let delivered = async move {
            carrier.deliver(row).await;
            drop(under_way);
        };
        ctx.spawn(delivered.into_actor(self).map(|(), courier, ctx| courier.look(ctx)));
    }

    /// Waits for the next commit that fills the outbox, again and again.
    fn listen(&self, ctx: &mut Context<Self>) {
        let filled = self.store().outbox_filled();
        let woken = async move { filled.notified().await };
        ctx.spawn(woken.into_actor(self).map(|(), courier, ctx| {
            courier.listen(ctx);
            courier.look(ctx);
        }));
    }

    fn upkeep(&self, ctx: &mut Context<Self>) {
        let (store, dead_max) = (self.store().clone(), self.config.outbox.dead_max);
        ctx.spawn(
            async move {
                match store.outbox_depth().await {
                    Ok(OutboxDepth { waiting, dead }) => {
                        metrics::outbox(waiting, dead);
                        if dead > dead_max
                            && let Err(error) = store.prune_outbox(dead_max).await
                        {
                            tracing::warn!(%error, "old dead letters can't be removed");
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the outbox can't be counted"),
                }
            }
            .into_actor(self),
        );
    }
}

fn launch(carrier: Arc<Carrier>, config: Arc<Config>, handle: CourierHandle, arbiter: ArbiterHandle) {
    let courier = Courier {
        carrier: Arc::clone(&carrier),
        config: Arc::clone(&config),
        handle: handle.clone(),
        looking: false,
        again: false,
        timer: None,
    };
    let again = arbiter.clone();
    let ended = move |ending| {
        if ending == Ending::Panicked {
            tracing::error!("the courier failed; it starts anew");
            actix_rt::spawn(async move {
                tokio::time::sleep(RESTART).await;
                launch(carrier, config, handle, again);
            });
        }
    };
    // Nobody writes to it: what it has to know comes from the store.
    drop(watch::start_on(&arbiter, move || courier, ended));
}

/// Looks first, so that an outbox with nothing due costs no write.
async fn find(store: &Store, lease: Duration, free: usize) -> Result<Found, StoreError> {
    let due = store.outbox_due().await?;
    let now = crate::domain::Timestamp::from(Utc::now());
    let Some(due) = due else { return Ok(Found { rows: Vec::new(), next: None }) };
    if due > now {
        let ms = u64::try_from(due.as_millis() - now.as_millis()).unwrap_or_default();
        return Ok(Found { rows: Vec::new(), next: Some(Duration::from_millis(ms.max(1))) });
    }
    let Taken { rows, malformed } = store.lease_outbox(now, now.after(lease), free).await?;
    for id in malformed {
        metrics::delivery("malformed");
        tracing::error!(outbox.id = id, "a row of the outbox makes no sense; it is given up");
    }
    // Another node was faster when there is nothing: not asked again at once.
    Ok(Found { rows, next: None })
}

impl Actor for Courier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(ctx);
        self.upkeep(ctx);
        ctx.run_interval(UPKEEP, |courier, ctx| courier.upkeep(ctx));
        self.look(ctx);
    }
}

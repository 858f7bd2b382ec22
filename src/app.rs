//! Composition: who is started in which order, on which thread, and in which order everything ends.

use crate::actors::Bus;
use crate::actors::actions::Actions;
use crate::actors::bans;
use crate::actors::cleaner;
use crate::actors::courier::{Courier, CourierHandle};
use crate::actors::hub::Hub;
use crate::actors::inference::{InferenceHandle, Pool};
use crate::actors::load;
use crate::actors::presence::{PresenceHandle, PresenceTracker};
use crate::actors::reconciler;
use crate::actors::registry::Rooms;
use crate::actors::sequencer::Sequencer;
use crate::auth::signing::{self, KeyId, Keys, Supply};
use crate::config::{self, Config};
use crate::inference::filter::Phrases;
use crate::protocol::payload;
use crate::storage::{KeyTerms, RunTerms, StorageOptions, Store, StoreError};
use crate::telemetry::metrics;
use crate::transport::http::{self, State};
use crate::transport::ws::Upgrade;
use actix_http::HttpService;
use actix_rt::{Arbiter, System};
use actix_server::{Server, ServerHandle};
use actix_service::{fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use chrono::Utc;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Why the server didn't start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("can't listen on {address}: {source}; choose another address with --listen")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Secrets(String),
    #[error("the client of AI engines: {0}")]
    Inference(String),
    #[error("metrics: {0}")]
    Metrics(String),
    #[error("the core thread did not start")]
    Core,
}

/// How often histograms are folded and gauges read.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often it is looked whether the signing keys were rotated.
const KEYS: Duration = Duration::from_secs(2);

/// HTTP connections a worker takes at least, however few sockets there may be: who is refused has to be told so.
const MIN_CONNECTIONS: usize = 1024;
/// What is still running at the end of the drain is given this long to notice.
const GRACE: Duration = Duration::from_secs(2);
/// The drain took too long and was cut off (sysexits.h: a temporary failure).
const EXIT_CUT_OFF: i32 = 75;

/// Serves until SIGTERM or SIGINT, then drains.
pub fn serve(config: Config) -> Result<(), ServeError> {
    System::new().block_on(run(Arc::new(config)))
}

async fn run(config: Arc<Config>) -> Result<(), ServeError> {
    metrics::install().map_err(ServeError::Metrics)?;
    let options = StorageOptions {
        keys: KeyTerms { keep: config.idempotency.keep, remember: config.idempotency.remember },
        outbox_rows: config.outbox.rows_max,
        runs: RunTerms {
            queue: config.ai.queue,
            room_queue: config.ai.room_queue,
            user_queue: config.ai.user_queue,
            hops: config.ai.hops,
            summary_again: config.ai.summary_again,
            ..RunTerms::DEFAULT
        },
        ..config.storage.options()
    };
    config.must_have_secrets().map_err(ServeError::Secrets)?;
    let (keys, supply) = Supply::open(&config, Utc::now().into()).map_err(ServeError::Secrets)?;
    if config.storage.is_on_server() && !signing::is_given(&config) {
        tracing::warn!(
            "the signing key was made in the data directory, but the database is on a server: other nodes don't accept what this one \
             signs, and it is lost with the directory; set secrets.signing_key (--production demands it)"
        );
    }
    let store = tokio::task::spawn_blocking(move || Store::open(options, payload::encode))
        .await
        .map_err(std::io::Error::other)??;
    let unnoted = note_key(&store, keys.ring().current.id).await;
    // Before anything is spawned: a signal that comes early has to be heard, too.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

    let core = Arbiter::new();
    let bus = start_core(&core, store.clone(), &config).await?;
    // Of its own: what strangers' servers and certificates cost is not the core's to pay.
    let outside = Arbiter::new();
    let inference = Arbiter::new();
    let filter = Arc::new(Phrases::new(config.ai.blocked_phrases.iter().map(String::as_str)));
    let thinking = Pool::start(bus.clone(), store.clone(), Arc::clone(&config), filter, &inference.handle())
        .map_err(ServeError::Inference)?;
    let courier = Courier::start(bus.clone(), store.clone(), Arc::clone(&config), &outside.handle());
    outside.spawn(cleaner::run(store.clone(), Arc::clone(&config)));
    outside.spawn(reconciler::run(Arc::clone(bus.rooms()), config.reconcile.every));

    // Before anybody can ask whether it is ready.
    actix_rt::spawn(load::Watch::begin(bus.clone()).run());
    let listener = listen(&config.server)?;
    let address = listener.local_addr()?;
    let state =
        State::new(store.clone(), bus.clone(), Arc::clone(&config), keys.clone(), thinking.clone(), address);
    let leaving = watch::Sender::new(false);
    let server = serve_workers(listener, &bus, state, &leaving)?;
    let exit = Exit { server: server.handle(), leaving, courier, thinking };
    actix_rt::spawn(upkeep(bus.clone(), store.clone()));
    actix_rt::spawn(forget_keys(store.clone(), config.idempotency.clone()));
    actix_rt::spawn(keep_keys(keys, supply, store.clone(), unnoted));
    actix_rt::spawn(bans::watch(bus.clone()));
    actix_rt::spawn(load::probe(bus.clone()));
    announce(&config, address);

    // In a task of its own: it has to go on while we wait for it to stop.
    let mut server = actix_rt::spawn(server);
    tokio::select! {
        ended = &mut server => ended.map_err(std::io::Error::other)??,
        _ = term.recv() => drain(&bus, &exit, &config).await?,
        _ = int.recv() => drain(&bus, &exit, &config).await?,
    }
    outside.stop();
    inference.stop();
    core.stop();
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Rooms, registry, sequencer and presence share one thread apart from the workers: a flood of sockets can't keep the
/// log waiting, and a message from one to the other never leaves the thread.
async fn start_core(core: &Arbiter, store: Store, config: &Arc<Config>) -> Result<Bus, ServeError> {
    let (ready, started) = tokio::sync::oneshot::channel();
    let rooms = Rooms::new(store, PresenceHandle::new(), core.handle(), Arc::clone(config));
    core.spawn_fn(move || {
        rooms.set_sequencer(Sequencer::start(&rooms));
        PresenceTracker::start(&rooms);
        Actions::start(&rooms);
        // The receiver only goes away with the whole start.
        drop(ready.send(Bus::new(rooms)));
    });
    let bus = started.await.map_err(|_closed| ServeError::Core)?;
    bus.rooms().find_commons().await?;
    // Before anybody can come in.
    bus.bans().load(bus.rooms().store()).await?;
    Ok(bus)
}

fn listen(config: &config::Server) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address: config.listen, source };
    let domain = socket2::Domain::for_address(config.listen);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind(&config.listen.into()).map_err(failed)?;
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX)).map_err(failed)?;
    Ok(socket.into())
}

fn serve_workers(
    listener: TcpListener,
    bus: &Bus,
    state: State,
    leaving: &watch::Sender<bool>,
) -> Result<Server, ServeError> {
    let config = Arc::clone(&state.config);
    let workers = config
        .server
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let next_hub = Arc::new(AtomicU16::new(0));
    let bus = bus.clone();
    let drain = config.shutdown.drain.as_secs();
    let leaving = leaving.subscribe();
    let server = Server::build()
        .workers(workers)
        // Sockets have left the server's hands and don't count.
        .max_concurrent_connections(config.socket.per_instance.max(MIN_CONNECTIONS))
        .shutdown_timeout(drain)
        .disable_signals()
        .listen("hearth", listener, move || {
            // Called once on each worker's thread.
            let id = next_hub.fetch_add(1, Ordering::Relaxed);
            let (hub, board) = Hub::start(id, Arc::clone(bus.rooms()), Arc::clone(&config));
            bus.rooms().add_hub(hub);
            let upgrade =
                Upgrade { bus: bus.clone(), board, config: Arc::clone(&config), keys: state.keys.clone() };
            let (state, leaving) = (state.clone(), leaving.clone());
            let app = App::new().configure(|service| http::configure(service, state));
            HttpService::build()
                .keep_alive(config.http.keep_alive)
                .client_request_timeout(config.http.head_timeout)
                .client_disconnect_timeout(Duration::from_secs(1))
                .tcp_nodelay(true)
                // Idle connections are closed when we leave, not waited for.
                .graceful_shutdown_signal(move || begins(leaving.clone()))
                .upgrade(fn_service(move |(request, stream)| upgrade.clone().accept(request, stream)))
                .finish(map_config(app, |()| AppConfig::default()))
                .tcp()
        })?
        .run();
    Ok(server)
}

/// How serving ends.
struct Exit {
    server: ServerHandle,
    /// Whether idle connections are to be closed.
    leaving: watch::Sender<bool>,
    courier: CourierHandle,
    thinking: InferenceHandle,
}

/// Ends when the signal is given, or can't be any more.
async fn begins(mut signal: watch::Receiver<bool>) {
    drop(signal.wait_for(|given| *given).await);
}

/// The order of leaving: no new sockets, everybody told to come back, what is running finished, then the threads end.
/// As long as there are sockets, requests are answered: whoever spreads the load has to see that we aren't ready (OBS-01).
async fn drain(bus: &Bus, exit: &Exit, config: &Config) -> std::io::Result<()> {
    let began = Instant::now();
    end_by(config.shutdown.drain + GRACE)?;
    tracing::info!(sockets = bus.sockets().count(), "draining");
    bus.drain(config.shutdown.spread);
    exit.courier.stop();
    exit.thinking.stop();
    let deadline = began + config.shutdown.drain;
    while bus.sockets().count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    // Sent first: a connection that is accepted later would only be closed again.
    let stopped = exit.server.stop(true);
    exit.leaving.send_replace(true);
    if tokio::time::timeout(left, stopped).await.is_err() {
        // Not waited for: it would take the whole time-out once more.
        drop(exit.server.stop(false));
    }
    while (bus.pending() > 0 || exit.courier.under_way() > 0 || exit.thinking.under_way() > 0)
        && Instant::now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if tokio::time::timeout(left, bus.rooms().presence().flush()).await.is_err() {
        tracing::warn!("no time is left to note when people were last seen");
    }
    tracing::info!(took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "drained");
    Ok(())
}

/// Ends the process after `limit`, whatever may hold it up: a store that doesn't answer, or a thread that is stuck. Nothing acked
/// is lost by that.
fn end_by(limit: Duration) -> std::io::Result<()> {
    let cut_off = move || {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            std::thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        tracing::error!("not everything ended in time; the process is cut off");
        std::process::exit(EXIT_CUT_OFF);
    };
    std::thread::Builder::new().name("hearth-exit".to_owned()).spawn(cut_off).map(drop)
}

/// Folds histograms and reads the gauges that nobody else writes.
async fn upkeep(bus: Bus, store: Store) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        metrics::run_upkeep();
        metrics::queue_depth("commands", bus.pending());
        let stats = store.stats();
        metrics::queue_depth("writer", stats.write_queue);
        metrics::queue_depth("readers", stats.read_queue);
        metrics::queue_depth("action_results", bus.actions().results_waiting());
        metrics::queue_depth("handshakes", bus.admission().waiting());
        bus.limits().sweep(tokio::time::Instant::now());
        for report in bus.limits().reports() {
            metrics::limit(report.limit, report.keys, report.refused);
        }
        metrics::queue_depth("hubs", bus.rooms().hubs().iter().map(|hub| hub.waiting()).sum());
    }
}

/// Clears away idempotency keys that are over, a few at a time: between two batches the commits that wait go first.
async fn forget_keys(store: Store, config: config::Idempotency) {
    let mut tick = tokio::time::interval(config.sweep);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        loop {
            match store.sweep_idempotency_keys(Utc::now().into(), config.sweep_batch).await {
                Ok(swept) if swept >= config.sweep_batch => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "idempotency keys can't be cleared away; tried again later");
                    break;
                }
            }
        }
    }
}

/// Writes to the audit trail which key signs; gives it back when that couldn't be done, to be tried again.
async fn note_key(store: &Store, key: KeyId) -> Option<KeyId> {
    let noted = store.note_signing_key(key.to_string(), Utc::now().into()).await;
    noted.err().map(|error| {
        tracing::warn!(%error, "the signing key can't be noted in the audit trail; tried again soon");
        key
    })
}

/// Takes over signing keys that were rotated, and lets go of those whose time is over. `unnoted` is still to be noted.
async fn keep_keys(keys: Keys, mut supply: Supply, store: Store, mut unnoted: Option<KeyId>) {
    let mut tick = tokio::time::interval(KEYS);
    let mut told = None;
    loop {
        tick.tick().await;
        let shared = keys.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let done = supply.refresh(&shared, Utc::now().into());
            (supply, done)
        });
        let Ok((back, done)) = looked.await else {
            tracing::error!("signing keys can't be looked after any more: rotations need a restart");
            return;
        };
        supply = back;
        if let Ok(Some(key)) = &done {
            tracing::info!(%key, "another signing key signs");
            unnoted = Some(*key);
        }
        if let Some(key) = unnoted.take() {
            unnoted = note_key(&store, key).await;
        }
        let problem = done.err();
        // Said once: it is tried again soon, and meanwhile those there are go on.
        if let Some(problem) = problem.as_ref().filter(|problem| told.as_ref() != Some(*problem)) {
            tracing::error!(problem, "the signing keys stay as they are");
        }
        told = problem;
    }
}

/// Tells the person at the terminal where to go.
fn announce(config: &Config, address: SocketAddr) {
    let url = config.server.url(address);
    tracing::info!(%address, "listening");
    // A closed standard output is no reason not to serve.
    drop(writeln!(std::io::stdout(), "Hearth is ready: open {url}"));
}

//! Carries a plan out, kills the server where the plan says so, and calls the checker.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::feed;
use super::identity::Identity;
use super::listener::Listener;
use super::plan::{Options, Plan};
use super::poster::Poster;
use super::shared::{Goal, Shared};
use super::{Outcome, TrialError};
use crate::check::{StoreView, check};
use crate::progress::Progress;
use crate::server::Server;
use crate::socket::Socket;
use crate::world::World;

type Work = JoinSet<Result<(), TrialError>>;

/// Runs the trial in rooms of its own. Without a `server` to kill the plan must have no kills.
pub async fn run(
    world: &World,
    options: &Options,
    server: Option<&mut Server>,
    progress: Progress,
) -> Result<Outcome, TrialError> {
    if options.kills > 0 && server.is_none() {
        return Err(TrialError::NothingToKill);
    }
    let started = Instant::now();
    let deadline = started + options.deadline;
    let plan = Plan::new(options);
    progress.say(format_args!("seed {}: making users and rooms", options.seed));
    let Ok(cast) = timeout_at(deadline, Cast::make(world, options, &plan)).await else {
        return Err(late(options, 0, 0));
    };
    let cast = cast?;
    let shared = Shared::new(&world.url, cast.rooms.clone());
    let (mut posters, mut others) = (Work::new(), Work::new());
    let stage = stage(&shared, cast, plan, options, server, progress, (&mut posters, &mut others));
    match timeout_at(deadline, stage).await {
        Ok(result) => result?,
        Err(_) => return Err(late(options, *shared.acked.borrow(), posters.len() + others.len())),
    }
    progress.say("reading the store");
    let store = StoreView::read(&world.admin, &shared.rooms).await;
    let store = store.map_err(|source| TrialError::Rest { who: "the checker".to_owned(), source })?;
    let violations = check(&shared.recorder.history(), &store);
    Ok(Outcome { seed: options.seed, tally: shared.tally(), elapsed: started.elapsed(), violations })
}

/// Everybody who takes part.
struct Cast {
    posters: Vec<Identity>,
    listeners: Vec<Identity>,
    reader: Identity,
    rooms: Vec<u64>,
    admin: Identity,
}

impl Cast {
    async fn make(world: &World, options: &Options, plan: &Plan) -> Result<Cast, TrialError> {
        let named = |name: String, client| Identity { name, client };
        let people = plan.clients.iter().filter(|(door, _)| !door.is_bot()).count();
        let mut people = world.users("poster", people).await?.into_iter();
        let mut posters = Vec::with_capacity(plan.clients.len());
        for (index, (door, _)) in plan.clients.iter().enumerate() {
            let person = if door.is_bot() { None } else { people.next() };
            let client = match person {
                Some(client) => client,
                None => world.bot(&format!("Poster {index}")).await?,
            };
            posters.push(named(format!("poster {index} ({door:?})"), client));
        }
        let listeners = world.users("listener", options.listeners).await?;
        let listeners =
            listeners.into_iter().enumerate().map(|(i, client)| named(format!("listener {i}"), client));
        Ok(Cast {
            posters,
            listeners: listeners.collect(),
            reader: named("feed reader".to_owned(), world.bot("Reader").await?),
            rooms: world.rooms(options.rooms.max(1)).await?,
            admin: named("admin".to_owned(), world.admin.clone()),
        })
    }
}

/// Listeners first, then posters and kills, then everybody catches up.
async fn stage(
    shared: &Arc<Shared>,
    cast: Cast,
    plan: Plan,
    options: &Options,
    server: Option<&mut Server>,
    progress: Progress,
    (posters, others): (&mut Work, &mut Work),
) -> Result<(), TrialError> {
    let (ready, mut all_ready) = mpsc::channel(1);
    for (who, seed) in cast.listeners.into_iter().zip(plan.listeners) {
        others.spawn(Listener::new(shared, who, seed, options.drop_after).run(ready.clone()));
    }
    drop(ready);
    let socket = Socket::connect(&shared.url, &cast.reader.client.credentials()).await;
    let socket = socket.map_err(|error| cast.reader.socket_error(error))?;
    let (start, epoch) = (socket.welcome().last_id, socket.welcome().epoch.clone());
    drop(socket);
    others.spawn(feed::read(Arc::clone(shared), cast.reader, start, epoch));
    // Every listener drops its sender when it is confirmed (or failed, which `finish` tells).
    while all_ready.recv().await.is_some() {}

    progress.say(format_args!("posting {} messages", options.messages));
    for (who, (door, bursts)) in cast.posters.into_iter().zip(plan.clients) {
        others_may_not_end(others)?;
        posters.spawn(Poster { shared: Arc::clone(shared), who, door, bursts }.run());
    }
    tokio::try_join!(finish(posters), kill(shared, &plan.kills, server, progress))?;

    let goal = goal(shared, &cast.admin).await?;
    progress.say(format_args!("catching up to id {}", goal.last_id));
    shared.goal.send_replace(Some(goal));
    match timeout(options.catch_up, finish(others)).await {
        Ok(result) => result,
        // Somebody waits for what never came: the checker says who, and for what.
        Err(_) => {
            progress.say(format_args!(
                "{} clients did not catch up within {:?}",
                others.len(),
                options.catch_up
            ));
            others.abort_all();
            shared.recorder.all_stayed();
            Ok(())
        }
    }
}

/// A listener or reader that ended before there was a goal failed.
fn others_may_not_end(others: &mut Work) -> Result<(), TrialError> {
    match others.try_join_next() {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

async fn finish(work: &mut Work) -> Result<(), TrialError> {
    while let Some(ended) = work.join_next().await {
        ended??;
    }
    Ok(())
}

async fn kill(
    shared: &Shared,
    points: &[usize],
    server: Option<&mut Server>,
    progress: Progress,
) -> Result<(), TrialError> {
    let Some(server) = server else { return Ok(()) };
    let mut acked = shared.acked.subscribe();
    for &point in points {
        // The sender lives as long as `shared`.
        if acked.wait_for(|acked| *acked >= point).await.is_err() {
            return Ok(());
        }
        server.kill()?;
        shared.count(|tally| tally.kills += 1);
        progress.say(format_args!("killed at {} acks", *shared.acked.borrow()));
        server.restart().await?;
    }
    Ok(())
}

/// Where the rooms are after the last post.
async fn goal(shared: &Shared, admin: &Identity) -> Result<Goal, TrialError> {
    let mut goal = Goal::default();
    for &room_id in &shared.rooms {
        let log = loop {
            match admin.client.room_log(room_id, 0).await {
                Ok(log) => break log,
                Err(error) => shared.retry_rest(admin, error).await?,
            }
        };
        goal.heads.insert(room_id, log.head);
        goal.last_id = goal.last_id.max(log.events.last().map_or(0, |event| event.id));
    }
    Ok(goal)
}

fn late(options: &Options, acked: usize, still: usize) -> TrialError {
    TrialError::Late { deadline: options.deadline, acked, messages: options.messages, still }
}

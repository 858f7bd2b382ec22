//! Carries a plan out: people and rooms, clients and faults at once, everybody to the end, then the checker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::device::Device;
use super::feed;
use super::identity::Identity;
use super::plan::Plan;
use super::shared::{Destination, Goal, Shared};
use super::stagehand::Stagehand;
use super::{Outcome, TrialError};
use crate::check::{StoreView, check};
use crate::client::Client;
use crate::history::{Origin, Reading};
use crate::progress::Progress;
use crate::socket::Socket;
use crate::world::{World, WorldError};

type Work = JoinSet<Result<(), TrialError>>;

/// Beyond catching up: what becoming quiet takes.
const QUIET: Duration = Duration::from_secs(30);
/// The feed has a second of waiting at the server, and then the rest at once.
const FED_WITHIN: Duration = Duration::from_secs(10);

/// Runs the trial in rooms of its own. Without a server to do it to the plan must have no faults.
pub async fn run(
    world: &World,
    plan: &Plan,
    stagehand: Option<&mut Stagehand<'_>>,
    progress: Progress,
) -> Result<Outcome, TrialError> {
    let options = &plan.options;
    if !plan.faults.is_empty() && stagehand.is_none() {
        return Err(TrialError::NothingToKill);
    }
    let started = Instant::now();
    let length = Duration::from_millis(options.deadline_ms);
    let deadline = started + length;
    let steps = plan.weight();
    let late = |done, still| TrialError::Late { deadline: length, done, steps, still };
    progress.say(format_args!("seed {}: making users and rooms", options.seed));
    let Ok(cast) = timeout_at(deadline, Cast::make(world, plan)).await else {
        return Err(late(0, 0));
    };
    let cast = cast?;
    let shared = Arc::clone(&cast.shared);
    let (mut devices, mut feeds) = (Work::new(), Work::new());
    let stage = stage(&cast, plan, stagehand, progress, (&mut devices, &mut feeds));
    match timeout_at(deadline, stage).await {
        Ok(result) => result?,
        Err(_) => return Err(late(*shared.progress.borrow(), devices.len() + feeds.len())),
    }
    progress.say("reading the store");
    let history = shared.recorder.history();
    let rooms = shared.rooms();
    let read = StoreView::read(&world.admin, &rooms, &history);
    let store = match timeout_at(deadline, read).await {
        Ok(store) => store.map_err(|source| TrialError::Rest { who: "the checker".to_owned(), source })?,
        Err(_) => return Err(late(*shared.progress.borrow(), 0)),
    };
    let violations = check(&history, &store, &options.promises());
    Ok(Outcome { seed: options.seed, tally: shared.tally(), elapsed: started.elapsed(), violations })
}

/// Everybody who takes part.
struct Cast {
    shared: Arc<Shared>,
    users: Vec<Identity>,
    reader: Identity,
    admin: Identity,
}

impl Cast {
    async fn make(world: &World, plan: &Plan) -> Result<Cast, TrialError> {
        let people = plan.users - plan.bots.len().min(plan.users);
        let mut people = world.users("person", people).await?.into_iter();
        let mut users = Vec::with_capacity(plan.users);
        for index in 0..plan.users {
            let person = if plan.bots.contains(&index) { None } else { people.next() };
            let client = match person {
                Some(client) => client,
                None => world.bot(&format!("Bot {index}")).await?,
            };
            users.push(known(format!("user {index}"), client).await?);
        }
        let ids: Vec<u64> = users.iter().map(|user| user.user).collect();
        let mut rooms: Vec<Option<u64>> = Vec::with_capacity(plan.rooms.len() + plan.slots);
        let mut origins = Vec::with_capacity(plan.rooms.len());
        for (index, room) in plan.rooms.iter().enumerate() {
            let members: Vec<u64> =
                room.members.iter().filter_map(|member| ids.get(*member).copied()).collect();
            let kind = if room.closed { "closed" } else { "open" };
            let name = world.room_name(&index.to_string());
            let made = world.admin.create_room(kind, &name, &members).await;
            let made = made.map_err(|source| WorldError::Call { what: "POST /rooms", source })?;
            rooms.push(Some(made.id));
            origins.push((made.id, Origin { closed: room.closed, members: members.into_iter().collect() }));
        }
        rooms.resize(plan.rooms.len() + plan.slots, None);
        let admin = known("admin".to_owned(), world.admin.clone()).await?;
        let reader = known("feed reader".to_owned(), world.bot("Reader").await?).await?;
        let shared = Shared::new(
            &world.url,
            world.admin.clone(),
            (world.room_prefix(), plan.options.tight),
            ids,
            rooms,
        );
        for (room_id, mut origin) in origins {
            origin.members.insert(admin.user);
            shared.recorder.room(room_id, origin);
        }
        Ok(Cast { shared, users, reader, admin })
    }
}

async fn known(name: String, client: Client) -> Result<Identity, TrialError> {
    let me = client.me().await.map_err(|source| TrialError::Rest { who: name.clone(), source })?;
    Ok(Identity { name, user: me.id, client })
}

/// Listeners first, then everybody acts while faults happen, then everybody catches up.
async fn stage(
    cast: &Cast,
    plan: &Plan,
    stagehand: Option<&mut Stagehand<'_>>,
    progress: Progress,
    (devices, feeds): (&mut Work, &mut Work),
) -> Result<(), TrialError> {
    let shared = &cast.shared;
    let socket = Socket::connect(&shared.url, &cast.reader.client.credentials()).await;
    let socket = socket.map_err(|error| cast.reader.socket_error(error))?;
    let (start, epoch) = (socket.welcome().last_id, socket.welcome().epoch.clone());
    drop(socket);
    feeds.spawn(feed::read(Arc::clone(shared), cast.reader.clone(), start, epoch));

    progress.say(format_args!("{} steps", plan.weight()));
    let (busy, mut all_idle) = mpsc::channel(1);
    // Those that only listen are there before anybody acts.
    for acting in [false, true] {
        let (ready, mut all_ready) = mpsc::channel::<()>(1);
        for (index, device) in plan.devices.iter().enumerate() {
            let Some(user) = cast.users.get(device.user).filter(|_| device.steps.is_empty() != acting) else {
                continue;
            };
            let name = format!("device {index} of user {}", device.user);
            if device.listens {
                shared.recorder.expects(&name);
            }
            let device = Device::new(shared, Identity { name, ..user.clone() }, device.clone());
            devices.spawn(device.run(ready.clone(), busy.clone()));
        }
        drop(ready);
        // Every device drops its sender when it is confirmed.
        tokio::select! {
            _ = all_ready.recv() => {}
            error = failure(devices) => return Err(error),
        }
    }
    drop(busy);
    let act = async {
        let faults = async {
            match stagehand {
                Some(stagehand) => stagehand.work(shared, &plan.faults, progress).await,
                None => Ok(()),
            }
        };
        tokio::pin!(faults);
        tokio::select! {
            // A fault that has begun is brought to its end: the server has to be there afterwards.
            result = &mut faults => {
                result?;
                while all_idle.recv().await.is_some() {}
                Ok(())
            }
            () = async { while all_idle.recv().await.is_some() {} } => {
                shared.progress.send_replace(usize::MAX);
                faults.await
            }
        }
    };
    tokio::select! {
        result = act => result?,
        error = failure(devices) => return Err(error),
    }
    catch_up(cast, plan, progress, (devices, feeds)).await
}

/// Waits for a device that fails; never ends otherwise.
async fn failure(work: &mut Work) -> TrialError {
    loop {
        match work.join_next().await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return error,
            Some(Err(error)) => return error.into(),
            None => std::future::pending().await,
        }
    }
}

async fn catch_up(
    cast: &Cast,
    plan: &Plan,
    progress: Progress,
    (devices, feeds): (&mut Work, &mut Work),
) -> Result<(), TrialError> {
    let shared = &cast.shared;
    let catch_up = Duration::from_millis(plan.options.catch_up_ms);
    let goal = goal(cast, plan, catch_up).await?;
    progress.say(format_args!("catching up to id {}", goal.last_id));
    shared.goal.send_replace(Some(goal));
    // Devices give up by themselves and say what they miss.
    if timeout(catch_up * 2 + QUIET * 2, finish(devices))
        .await
        .map(|done| done.map(|()| true))
        .unwrap_or(Ok(false))?
    {
        progress.say("all devices are done");
    }
    if timeout(FED_WITHIN, finish(feeds)).await.is_err() {
        progress.say("the feed reader did not catch up");
        feeds.abort_all();
        shared.recorder.all_fed();
    }
    for user in &cast.users {
        read_numbers(shared, user).await?;
    }
    Ok(())
}

async fn finish(work: &mut Work) -> Result<(), TrialError> {
    while let Some(ended) = work.join_next().await {
        ended??;
    }
    Ok(())
}

/// Where the rooms are after the last step.
async fn goal(cast: &Cast, plan: &Plan, catch_up: Duration) -> Result<Goal, TrialError> {
    let shared = &cast.shared;
    let devices = plan.devices.iter().filter(|device| device.listens).count();
    let mut goal = Goal { catch_up, devices, ..Goal::default() };
    for room_id in shared.rooms() {
        let room = loop {
            match cast.admin.client.room(room_id).await {
                Ok(room) => break Some(room),
                Err(error) if error.code() == "not_found" => break None,
                Err(error) => shared.retry_rest(&cast.admin, error).await?,
            }
        };
        let Some(room) = room else { continue };
        let log = loop {
            match cast.admin.client.room_log(room_id, 0).await {
                Ok(log) => break log,
                Err(error) => shared.retry_rest(&cast.admin, error).await?,
            }
        };
        let members: Option<HashSet<u64>> =
            (room.kind == "closed").then(|| room.members.iter().map(|member| member.id).collect());
        // The feed reader is a member of no closed room.
        if members.is_none() {
            goal.last_id = goal.last_id.max(log.events.last().map_or(0, |event| event.id));
        }
        goal.rooms.insert(room_id, Destination { head: log.head, members });
    }
    Ok(goal)
}

/// What both doors say a user has read, and has not.
async fn read_numbers(shared: &Shared, user: &Identity) -> Result<(), TrialError> {
    let rooms = loop {
        match user.client.rooms().await {
            Ok(rooms) => break rooms,
            Err(error) => shared.retry_rest(user, error).await?,
        }
    };
    let ours: HashSet<u64> = shared.rooms().into_iter().collect();
    let of = |source, room_id, head, read, unread| Reading {
        source,
        user: user.user,
        room_id,
        head,
        read,
        unread,
    };
    let rest = rooms.iter().map(|room| of("rest", room.id, room.head, room.read, room.unread));
    let mut readings: Vec<Reading> = rest.collect();
    let socket = Socket::connect(&shared.url, &user.client.credentials()).await;
    let socket = socket.map_err(|error| user.socket_error(error))?;
    let welcome = &socket.welcome().rooms;
    readings
        .extend(welcome.iter().map(|room| of("welcome", room.room_id, room.head, room.read, room.unread)));
    readings.retain(|reading| ours.contains(&reading.room_id));
    shared.recorder.readings(readings);
    // The numbers are read; a failed goodbye changes nothing.
    drop(socket.close().await);
    Ok(())
}

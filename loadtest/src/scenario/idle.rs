//! Connections that are there and do nothing: what each costs to open and to keep.
//!
//! The server's memory is measured against a server that has been busy before: the first connections make it take what it
//! keeps anyway, and it gives back what it doesn't need only after a while.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::crowd::{Crowd, confirmed, during, subscription};
use super::meter::Names;
use super::{Meter, ScenarioError, Stage};
use crate::lean::{self, Door, Receiver, Scratch};
use crate::report::Report;
use crate::server::Usage;
use crate::stats::float;

/// A welcome has to come within.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory counts as settled when so many looks in a row differ by less than this share of it, or after a while.
const LOOKS: usize = 6;
const LOOK_EVERY: Duration = Duration::from_millis(500);
const STEADY: f64 = 0.002;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// This share of the crowd comes and goes beforehand.
const WARM: usize = 10;
/// At most so often.
const WARM_ROUNDS: usize = 15;

#[derive(Debug, Clone)]
pub struct Idle {
    pub crowd: Crowd,
    pub rooms: usize,
    /// How long everyone stays.
    pub seconds: u64,
}

impl Idle {
    /// The report, and whether everyone stayed. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let doors = self.crowd.doors(stage).await?;
        let scratch = Receiver::scratch();
        let warm = Crowd { sockets: self.crowd.sockets.div_ceil(WARM), ..self.crowd.clone() };
        let before = warmed(stage, &warm, &doors, &rooms, &scratch).await?;

        stage.progress.say(format_args!("connecting {} sockets", self.crowd.sockets));
        let opening = Meter::start(stage.pid);
        let mut receivers = self.connect(&doors, &scratch).await?;
        let opened = opening.stop();
        stage.progress.say("subscribing");
        let subscribing = Meter::start(stage.pid);
        self.subscribe(&mut receivers, &rooms).await?;
        let subscribed = subscribing.stop();

        stage.progress.say(format_args!("staying for {} s", self.seconds));
        let sockets = self.crowd.sockets;
        let count = u64::try_from(sockets).unwrap_or(u64::MAX);
        let mut work = JoinSet::new();
        for mut receiver in receivers {
            work.spawn_local(async move { receiver.receive(|_| ControlFlow::Continue(())).await });
        }
        let after = settled(stage).await?;
        let staying = Meter::start(stage.pid);
        sleep(Duration::from_secs(self.seconds)).await;
        let stayed = staying.stop();
        let mut lost = 0_u64;
        while work.try_join_next().is_some() {
            lost += 1;
        }
        work.shutdown().await;
        stage.progress.say("all have left");
        let left = settled(stage).await?;

        let mut report = Report::new("idle", stage.seed);
        report.row("connections", count, "").row("rooms each", self.rooms, "");
        report.row("lost meanwhile", lost, "");
        let names = Names { whose: "", per_wall: "connects per second", per_cpu: "connects per CPU second" };
        opened.rows(&mut report, count, names);
        let names = Names {
            whose: "subscribing:",
            per_wall: "sockets per second",
            per_cpu: "sockets per CPU second",
        };
        subscribed.rows(&mut report, count, names);
        if let Some((opened, subscribed)) = opened.cpu.zip(subscribed.cpu) {
            let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / float(count.max(1));
            report.measured("server CPU per connect, upgrade and welcome", each(opened), "us");
            report.measured("server CPU per connect, subscribed too", each(opened + subscribed), "us");
        }
        if let (Some(before), Some(after), Some(left)) = (before, after, left) {
            let mib = |bytes: u64| float(bytes) / 1_048_576.0;
            let grown = float(after.saturating_sub(before));
            report.measured("server memory before, warmed", mib(before), "MiB");
            report.measured("server memory with all", mib(after), "MiB");
            report.measured("server memory when all have left", mib(left), "MiB");
            report.measured("server memory per connection", grown / 1024.0 / float(count.max(1)), "KiB");
        }
        if let Some(cpu) = stayed.cpu.filter(|_| self.seconds > 0) {
            let share = cpu.as_secs_f64() / stayed.wall.as_secs_f64() * 100.0;
            report.measured("server CPU while staying", share, "%");
        }
        Ok((report, lost == 0))
    }

    /// Connects everyone and waits for each welcome.
    async fn connect(&self, doors: &[Door], scratch: &Scratch) -> Result<Vec<Receiver>, ScenarioError> {
        let per_user = self.crowd.per_user.max(1);
        let connected = (0..self.crowd.sockets).map(|index| async move {
            let door = doors.get(index / per_user);
            let door = door.ok_or_else(|| ScenarioError::Refused("fewer users than sockets".to_owned()))?;
            let upgraded = lean::connect(door, index).await.map_err(during("connecting"))?;
            let mut receiver = Receiver::new(upgraded, scratch);
            let welcome = receiver.receive(|frame| {
                if frame.is_type("welcome") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match timeout(PATIENCE, welcome).await {
                Ok(welcomed) => welcomed.map_err(during("waiting for the welcome"))?,
                Err(_) => return Err(ScenarioError::Late { what: "a welcome".to_owned() }),
            }
            Ok(receiver)
        });
        stream::iter(connected).buffer_unordered(self.crowd.at_once.max(1)).try_collect().await
    }

    async fn subscribe(&self, receivers: &mut [Receiver], rooms: &[u64]) -> Result<(), ScenarioError> {
        let text: Rc<str> = subscription(rooms).into();
        let subscribed = receivers.iter_mut().map(|receiver| {
            let text = Rc::clone(&text);
            async move {
                receiver.send(&text).await.map_err(during("subscribing"))?;
                confirmed(receiver).await
            }
        });
        stream::iter(subscribed).buffer_unordered(self.crowd.at_once.max(1)).try_collect().await
    }
}

/// Some come and go until that leaves the server's memory as it was: what making the users took is given back by then.
async fn warmed(
    stage: &Stage,
    crowd: &Crowd,
    doors: &[Door],
    rooms: &[u64],
    scratch: &Scratch,
) -> Result<Option<u64>, ScenarioError> {
    let (mut least, mut steady) = (None::<u64>, 0);
    for round in 1..=WARM_ROUNDS {
        stage.progress.say(format_args!("{} sockets come and go, round {round}", crowd.sockets));
        drop(crowd.gather(doors, rooms, scratch).await?);
        let Some(rss) = settled(stage).await? else { return Ok(None) };
        let fell = least.is_none_or(|least| float(rss) < float(least) * (1.0 - STEADY * 5.0));
        least = Some(least.map_or(rss, |least| least.min(rss)));
        steady = if fell { 0 } else { steady + 1 };
        if steady == 2 {
            break;
        }
    }
    // The last look, not the least: what stays is what the next ones find.
    settled(stage).await
}

/// The server's resident bytes once they stay what they are; none when its process isn't known.
async fn settled(stage: &Stage) -> Result<Option<u64>, ScenarioError> {
    let Some(pid) = stage.pid else { return Ok(None) };
    let look = || Usage::of(pid).map(|usage| usage.rss).map_err(during("reading the server's memory"));
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut looks = vec![look()?];
    loop {
        sleep(LOOK_EVERY).await;
        let rss = look()?;
        looks.push(rss);
        let last = looks.iter().rev().take(LOOKS);
        let (least, most) =
            last.clone().fold((u64::MAX, 0), |(least, most), rss| (least.min(*rss), most.max(*rss)));
        let steady = float(most - least) <= float(rss) * STEADY;
        if (steady && looks.len() >= LOOKS) || Instant::now() > deadline {
            return Ok(Some(rss));
        }
    }
}

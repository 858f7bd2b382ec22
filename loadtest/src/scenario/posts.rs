//! Clients with one acked post in flight each: how many posts a second are durable, and how long an ack takes.

use std::ops::ControlFlow;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::crowd::{Crowd, during, subscribed};
use super::meter::Names;
use super::poster::{Frames, Texts, refusal_in};
use super::registry::{Commits, Scrape};
use super::{Meter, ScenarioError, Stage};
use crate::lean::Receiver;
use crate::report::Report;
use crate::stats::{Latencies, millis};
use crate::wire::Refusal;

/// An answer has to come within.
const PATIENCE: Duration = Duration::from_secs(60);
/// As much of an answer as an error needs.
const KEEP: usize = 4096;

#[derive(Debug, Clone)]
pub struct Posts {
    pub clients: usize,
    pub rooms: usize,
    /// Before the measuring begins.
    pub warm: Duration,
    pub time: Duration,
    /// Bytes of a body.
    pub size: usize,
}

#[derive(Default)]
struct Tally {
    /// Of the time that is measured.
    latencies: Latencies,
    /// Of the whole run.
    acked: u64,
    refused: u64,
}

impl Posts {
    /// The report, and whether every acked post is in its room's log once. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let crowd = Crowd { sockets: self.clients.max(1), per_user: 1, at_once: 16 };
        let doors = crowd.doors(stage).await?;
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let texts = Texts::new(self.size, &mut rng);
        let scratch = Receiver::scratch();
        let mut clients = Vec::new();
        for (index, (door, &room_id)) in doors.iter().zip(rooms.iter().cycle()).enumerate() {
            let receiver = subscribed(door, index, &[], &scratch, KEEP).await?;
            clients.push((receiver, Frames::hearth(room_id, &texts, &mut rng)));
        }
        let before = self.heads(stage, &rooms).await?;
        stage.progress.say(format_args!("posting for {} s", self.time.as_secs_f64()));
        let begin = Instant::now() + self.warm;
        let mut work = JoinSet::new();
        for (receiver, frames) in clients {
            work.spawn_local(write(receiver, frames, begin, begin + self.time));
        }
        tokio::time::sleep_until(begin).await;
        let counts = Scrape::of(&stage.world.url).await.ok();
        let meter = Meter::start(stage.pid);
        tokio::time::sleep_until(begin + self.time).await;
        let spent = meter.stop();
        let commits = match counts {
            Some(counts) => {
                Scrape::of(&stage.world.url).await.ok().map(|now| Commits::between(&counts, &now))
            }
            None => None,
        };
        let mut total = Tally::default();
        while let Some(done) = work.join_next().await {
            let done = done??;
            total.latencies.merge(&done.latencies);
            total.acked += done.acked;
            total.refused += done.refused;
        }
        let stored = self.heads(stage, &rooms).await?.saturating_sub(before);

        let mut report = Report::new("posts", stage.seed);
        let latencies = &total.latencies;
        report.row("clients", self.clients, "").row("rooms", self.rooms, "").row("body", self.size, "bytes");
        report.row("acked posts", latencies.count(), "").row("asked to wait", total.refused, "");
        report.row("acked and not stored once", stored.abs_diff(total.acked), "");
        let names =
            Names { whose: "", per_wall: "acked posts per second", per_cpu: "acked posts per CPU second" };
        spent.rows(&mut report, latencies.count(), names);
        report.measured("ack p50", millis(latencies.percentile(50)), "ms");
        report.measured("ack p99", millis(latencies.percentile(99)), "ms");
        report.measured("ack max", millis(latencies.max()), "ms");
        if let Some(commits) = commits {
            commits.rows(&mut report);
        }
        Ok((report, stored == total.acked))
    }

    /// The sum of the rooms' heads.
    async fn heads(&self, stage: &Stage, rooms: &[u64]) -> Result<u64, ScenarioError> {
        let mut sum = 0;
        for room_id in rooms {
            sum += stage.world.admin.room(*room_id).await?.head;
        }
        Ok(sum)
    }
}

/// Posts one after the other. Being told to wait is counted and obeyed.
async fn write(
    mut receiver: Receiver,
    mut frames: Frames,
    begin: Instant,
    until: Instant,
) -> Result<Tally, ScenarioError> {
    let sender = receiver.sender();
    let mut tally = Tally::default();
    while Instant::now() < until {
        let sent = Instant::now();
        let (_, frame) = frames.post();
        sender.write(&frame).await.map_err(during("posting"))?;
        let mut refused: Option<Refusal> = None;
        let answer = receiver.receive(|frame| {
            if frame.is_type("error") {
                refused = Some(refusal_in(frame.prefix));
            } else if !frame.is_type("reply") {
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        });
        match timeout(PATIENCE, answer).await {
            Ok(answered) => answered.map_err(during("waiting for an ack"))?,
            Err(_) => return Err(ScenarioError::Late { what: "an ack".to_owned() }),
        }
        match refused {
            None => {
                tally.acked += 1;
                if sent >= begin {
                    tally.latencies.record(sent.elapsed());
                }
            }
            Some(refusal) if refusal.retryable => {
                tally.refused += 1;
                let wait = sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(100)));
                // The end of the run may come first.
                drop(timeout_at(until, wait).await);
            }
            Some(refusal) => return Err(ScenarioError::Refused(format!("a post was refused: {refusal}"))),
        }
    }
    Ok(tally)
}

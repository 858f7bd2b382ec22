//! One room, many receivers: deliveries per second of server CPU, and how late they are; beside them what a bare epoll loop does.

mod load;
mod tally;

use std::ops::ControlFlow;
use std::rc::Rc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use super::crowd::{Crowd, bare, subscribed};
use super::meter::{Names, Spent};
use super::poster::{Desk, Frames, Poster, Texts};
use super::registry::{Commits, Scrape};
use super::{ScenarioError, Stage};
use crate::baseline::{self, FIRST_SEQ, Mode};
use crate::lean::{self, Door, Receiver, Scratch};
use crate::report::Report;
use crate::stats::{Latencies, millis};
pub use load::Load;
use tally::Tally;

/// Posters keep as much of a frame as an error needs.
const KEEP: usize = 4096;

#[derive(Debug, Clone)]
pub struct Fanout {
    pub crowd: Crowd,
    pub messages: usize,
    /// Messages before the measuring begins.
    pub warm: usize,
    pub load: Load,
    /// Users who post in turn.
    pub posters: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Compare with a broadcaster that writes so.
    pub baseline: Option<Mode>,
}

/// Everybody connected to one side.
struct Side {
    receivers: Vec<Receiver>,
    posters: Vec<Poster>,
    desk: Rc<Desk>,
    pid: Option<u32>,
    /// The first message's seq.
    first: u64,
    /// Where the server's own counts are; who has none acks nothing.
    metrics: Option<String>,
}

/// What one side did.
struct Measured {
    spent: Spent,
    deliveries: u64,
    latencies: Latencies,
    /// Behind the first receiver of the same message: what a commit takes is no part of it.
    behind: Latencies,
    acks: Latencies,
    asked_to_wait: u64,
    /// Bytes of an event's frame.
    frame_bytes: u64,
    /// Receivers whose connection ended.
    lost: u64,
    /// Messages that weren't the next one.
    out_of_order: u64,
    /// Of the server.
    commits: Option<Commits>,
}

impl Fanout {
    /// The report, and whether everyone got everything once and in order. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let server = self.on_server(stage).await?;
        let frame_bytes = usize::try_from(server.frame_bytes).unwrap_or(usize::MAX);
        let bare = match self.baseline {
            Some(mode) => Some(self.on_baseline(stage, mode, frame_bytes).await?),
            None => None,
        };
        let mut report = Report::new("fanout", stage.seed);
        report.row("receivers", self.crowd.sockets, "").row("messages", self.messages, "");
        report.row("body", self.size, "bytes").row("event", frame_bytes, "bytes");
        report.row("load", self.load.to_string(), "").row("posters", self.posters.max(1), "");
        report.row("deliveries", server.deliveries, "").row("receivers lost", server.lost, "");
        report.row("not in order or not once", server.out_of_order, "");
        report.row("asked to wait", server.asked_to_wait, "");
        let rates = ("deliveries per second", "deliveries per CPU second");
        let names = |whose| Names { whose, per_wall: rates.0, per_cpu: rates.1 };
        server.spent.rows(&mut report, server.deliveries, names(""));
        let timed = server.latencies.count() > 0;
        if timed {
            for (percent, name) in [(50, "latency p50"), (99, "latency p99"), (100, "latency max")] {
                report.measured(name, millis(server.latencies.percentile(percent)), "ms");
            }
            report.measured("behind the first receiver p99", millis(server.behind.percentile(99)), "ms");
        }
        report.measured("ack p50", millis(server.acks.percentile(50)), "ms");
        report.measured("ack p99", millis(server.acks.percentile(99)), "ms");
        if let Some(commits) = &server.commits {
            commits.rows(&mut report);
        }
        let mut kept = server.lost == 0 && server.out_of_order == 0;
        if let (Some(bare), Some(mode)) = (bare, self.baseline) {
            kept &= bare.lost == 0 && bare.out_of_order == 0;
            report.row("baseline", mode.name(), "");
            bare.spent.rows(&mut report, bare.deliveries, names("baseline"));
            if timed {
                report.measured("baseline latency p50", millis(bare.latencies.percentile(50)), "ms");
                report.measured("baseline latency p99", millis(bare.latencies.percentile(99)), "ms");
                let behind = millis(bare.behind.percentile(99));
                report.measured("baseline behind the first receiver p99", behind, "ms");
            }
            let per_cpu = |side: &Measured| side.spent.per_cpu(side.deliveries);
            if let Some((ours, theirs)) = per_cpu(&server).zip(per_cpu(&bare)) {
                report.measured("deliveries per CPU second, of the baseline's", 100.0 * ours / theirs, "%");
            }
            if timed {
                let p99 = |latencies: &Latencies| millis(latencies.percentile(99));
                let (ours, theirs) = (p99(&server.latencies), p99(&bare.latencies).max(1e-3));
                report.measured("latency p99 by the baseline's", ours / theirs, "");
                if let Some(commit) = server.commits.as_ref().and_then(Commits::mean) {
                    let name = "latency p99 less the mean commit by the baseline's";
                    report.measured(name, (ours - millis(commit)) / theirs, "");
                }
                let behind = p99(&server.behind) / p99(&bare.behind).max(1e-3);
                report.measured("behind the first receiver p99 by the baseline's", behind, "");
            }
        }
        Ok((report, kept))
    }

    async fn on_server(&self, stage: &Stage) -> Result<Measured, ScenarioError> {
        let rooms = stage.world.rooms(1).await?;
        let room_id = rooms.first().copied().unwrap_or_default();
        let doors = self.crowd.doors(stage).await?;
        let server = doors.first().map(|door| door.server);
        let server = server.ok_or_else(|| ScenarioError::Refused("a receiver is needed".to_owned()))?;
        let scratch = Receiver::scratch();
        let desk = Rc::new(Desk::default());
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let texts = Texts::new(self.size, &mut rng);
        let mut posters = Vec::new();
        for user in stage.world.users("speaker", self.posters.max(1)).await? {
            let door = Door { server, credentials: user.credentials() };
            let line = subscribed(&door, 0, &[], &scratch, KEEP).await?;
            let frames = Frames::hearth(room_id, &texts, &mut rng);
            posters.push(Poster::new(line, frames, &desk));
        }
        stage.progress.say(format_args!("connecting {} receivers", self.crowd.sockets));
        let receivers = self.crowd.gather(&doors, &rooms, &scratch).await?;
        let first = stage.world.admin.room(room_id).await?.head + 1;
        stage.progress.say(format_args!("posting {} messages", self.messages));
        let metrics = Some(stage.world.url.clone());
        self.measure(stage, Side { receivers, posters, desk, pid: stage.pid, first, metrics }).await
    }

    async fn on_baseline(
        &self,
        stage: &Stage,
        mode: Mode,
        frame_bytes: usize,
    ) -> Result<Measured, ScenarioError> {
        stage.progress.say(format_args!("the same with the {} baseline", mode.name()));
        let baseline = stage.baseline.start(baseline::Options { mode, frame_bytes })?;
        let scratch: Scratch = Receiver::scratch();
        let desk = Rc::new(Desk::default());
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let texts = Texts::new(self.size, &mut rng);
        let keep = lean::PREFIX;
        let receivers = self.crowd.gather_bare(&baseline, |_| 0, &scratch, keep).await?;
        let mut posters = Vec::new();
        for _ in 0..self.posters.max(1) {
            let line = bare(&baseline, 0, false, 0, &scratch, keep).await?;
            posters.push(Poster::new(line, Frames::bare(&texts, &mut rng), &desk));
        }
        let pid = Some(baseline.pid());
        let side = Side { receivers, posters, desk, pid, first: FIRST_SEQ, metrics: None };
        self.measure(stage, side).await
    }

    async fn measure(&self, stage: &Stage, side: Side) -> Result<Measured, ScenarioError> {
        let Side { receivers, mut posters, desk, pid, first, metrics } = side;
        let tally = Rc::new(Tally::new(first));
        let receiving = receivers.len();
        let mut work = JoinSet::new();
        for receiver in receivers {
            work.spawn_local(count(receiver, first, Rc::clone(&tally)));
        }
        let _following = stage.progress.follow(&tally, |tally| format!("{} deliveries", tally.count()));
        let load = load::Posting { tally: &tally, desk: &desk, receivers: receiving };
        load.post(&mut posters, &self.load, self.warm).await?;
        tally.begin();
        desk.begin();
        let counts = match &metrics {
            Some(url) => Scrape::of(url).await.ok(),
            None => None,
        };
        let meter = super::Meter::start(pid);
        load.post(&mut posters, &self.load, self.messages).await?;
        let spent = meter.stop();
        let mut commits = None;
        if let Some(url) = &metrics {
            load.all_acked(self.warm + self.messages).await?;
            let now = Scrape::of(url).await.ok();
            commits = counts.zip(now).map(|(counts, now)| Commits::between(&counts, &now));
        }
        let mut lost = 0_u64;
        while work.try_join_next().is_some() {
            lost += 1;
        }
        let deliveries = tally.measured();
        Ok(Measured {
            spent,
            deliveries,
            latencies: tally.latencies(),
            behind: tally.behind(),
            acks: desk.latencies(),
            asked_to_wait: desk.refusals(),
            frame_bytes: mean(tally.bytes(), deliveries),
            lost,
            out_of_order: tally.out_of_order(),
            commits,
        })
    }
}

/// Rounded to a whole number.
fn mean(sum: u64, count: u64) -> u64 {
    (sum + count / 2).checked_div(count).unwrap_or_default()
}

/// Expects one seq after the other.
async fn count(mut receiver: Receiver, first: u64, tally: Rc<Tally>) -> std::io::Result<()> {
    let mut next = first;
    receiver
        .receive(|frame| {
            if let Some(seq) = frame.posted() {
                tally.delivered(seq, seq == next, frame.length);
                next = seq + 1;
            }
            ControlFlow::Continue(())
        })
        .await
}

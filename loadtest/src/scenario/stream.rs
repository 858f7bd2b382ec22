//! Many answers of an assistant at once, each streamed into a room of its own: how long a piece is on its way, what a stream costs, and what
//! posts in other rooms feel of it.
//!
//! The language model is part of this process: it knows when it wrote each piece, and what listeners have to hear. Posts go on at the same
//! pace before, during and after the streams, so that only the streams differ.

mod beside;
mod ear;

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::crowd::{Crowd, during, subscribed};
use super::meter::Spent;
use super::{Meter, ScenarioError, Stage};
use crate::lean::{Receiver, Scratch};
use crate::machine::too_many_sockets;
use crate::report::Report;
use crate::server::Usage;
use crate::stats::{Latencies, float, millis};
use crate::upstream::{MODEL, Track, Tracks, Upstream, marker};
use beside::{Beside, Plan};
use ear::{Ear, Faults};

/// All answers have to begin within.
const BEGINS_WITHIN: Duration = Duration::from_secs(25);
/// The end of the answers may take so long after the last piece.
const PATIENCE: Duration = Duration::from_secs(30);
/// As much of a frame as a listener reads: `ai.ended` has the whole answer.
const KEEP: usize = 256 * 1024;
/// No answer is longer, in bytes.
const LONGEST: usize = 16 * 1024;
/// Rooms and users that others post in and with.
const OTHERS: usize = 8;
/// How often the server's memory is read.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub struct Stream {
    /// Answers at once, each in a room of its own.
    pub streams: usize,
    /// Tokens per second of each.
    pub rate: u32,
    /// How long each is.
    pub time: Duration,
    /// Sockets in each of those rooms.
    pub listeners: usize,
    /// Posts per second in other rooms.
    pub posts: u32,
}

/// What all listeners heard.
#[derive(Default)]
struct Heard {
    latencies: Latencies,
    faults: Faults,
    deltas: u64,
    /// Ears that heard no end.
    endless: usize,
}

/// The posts of one phase, and what the server spent meanwhile.
struct Phase {
    acks: Latencies,
    spent: Spent,
}

impl Stream {
    /// How a server has to be set for so many.
    pub fn settings(&self) -> Vec<String> {
        let streams = self.streams;
        vec![
            "limits.handshakes=0".to_owned(),
            // One asker has at most three quarters of them.
            format!("ai.workers={}", streams.saturating_mul(4) / 3 + 1),
            format!("ai.user_queue={streams}"),
        ]
    }

    /// The report, and whether everybody heard each byte once, in order, and the same is stored. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        if let Some(problem) = too_many_sockets(self.streams.saturating_mul(self.listeners + 2) + OTHERS) {
            return Err(ScenarioError::Refused(problem));
        }
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let gap = Duration::from_secs(1) / self.rate.max(1);
        let upstream =
            Upstream::start(self.tracks(gap, &mut rng)?, gap).await.map_err(during("listening"))?;
        let rooms = stage.world.rooms(self.streams).await?;
        let others = stage.world.rooms(OTHERS).await?;
        let (assistant, name) = assistant(stage, &upstream).await?;
        let scratch = Receiver::scratch();
        let crowd = Crowd { sockets: OTHERS, per_user: 1, at_once: OTHERS };
        let doors = crowd.doors(stage).await?;
        let plan = Plan { doors, rooms: others, rate: self.posts, seed: stage.seed };
        let mut others = Beside::start(plan).await?;
        let (heard, ears) = self.listen(stage, &rooms, &upstream, &scratch).await?;

        let half = self.time / 2;
        stage.progress.say(format_args!("{} posts a second, and no stream", self.posts));
        // The first ones warm everything up.
        others.post(half.min(Duration::from_secs(2))).await?;
        let mut quiet = vec![phase(stage, &mut others, half).await?];
        let before = stage.pid.and_then(|pid| Usage::of(pid).ok());
        let asked = ask(stage, &rooms, &name).await?;
        self.all_begin(&upstream).await?;
        stage.progress.say(format_args!("{} streams of {} tokens a second", self.streams, self.rate));
        let memory = Watch::start(stage.pid);
        upstream.begin();
        let streaming = phase(stage, &mut others, self.time).await?;
        let most = memory.stop();
        let endless = finished(ears).await?;
        heard.borrow_mut().endless = endless;
        stage.progress.say("the same posts once more, and no stream");
        quiet.push(phase(stage, &mut others, half).await?);
        let otherwise = stored_otherwise(stage, &asked, upstream.tracks()).await?;
        let again = upstream.tracks().borrow().iter().filter(|track| track.asked != 1).count();
        stage
            .world
            .admin
            .call::<Value>(Method::DELETE, &format!("/assistants/{assistant}"), &[], None)
            .await?;

        let mut report = Report::new("stream", stage.seed);
        report.row("streams", self.streams, "").row("tokens of each", self.rate, "1/s");
        report.row("listeners of each", self.listeners, "").row("posts in other rooms", self.posts, "1/s");
        let heard = &*heard.borrow();
        self.rows(&mut report, heard, (otherwise, again));
        Costs { stage: self, quiet: &quiet, streaming: &streaming, before, most }.rows(&mut report);
        let kept = heard.faults.is_none() && heard.endless == 0 && otherwise == 0 && again == 0;
        Ok((report, kept && heard.latencies.count() == self.pieces(upstream.tracks())))
    }

    /// What is going to be said.
    fn tracks(&self, gap: Duration, rng: &mut SmallRng) -> Result<Vec<Track>, ScenarioError> {
        let pieces = self.time.as_nanos() / gap.as_nanos().max(1);
        let pieces = usize::try_from(pieces).unwrap_or(usize::MAX).max(1);
        let too_long = || {
            let problem = format!(
                "{pieces} tokens are more than the {LONGEST} bytes of an answer: fewer --seconds, or a lower --rate"
            );
            ScenarioError::Refused(problem)
        };
        if pieces > LONGEST {
            return Err(too_long());
        }
        let words = Track::words();
        let tracks: Vec<Track> = (0..self.streams).map(|_| Track::drawn(pieces, &words, rng)).collect();
        if tracks.iter().any(|track| track.text().len() > LONGEST) { Err(too_long()) } else { Ok(tracks) }
    }

    /// Pieces that listeners have to hear, all together.
    fn pieces(&self, tracks: &Tracks) -> u64 {
        let said: usize = tracks.borrow().iter().map(Track::pieces).sum();
        u64::try_from(said.saturating_mul(self.listeners)).unwrap_or(u64::MAX)
    }

    /// Listeners of all rooms; each ends when it has heard the end of its answer.
    async fn listen(
        &self,
        stage: &Stage,
        rooms: &[u64],
        upstream: &Upstream,
        scratch: &Scratch,
    ) -> Result<(Rc<RefCell<Heard>>, JoinSet<bool>), ScenarioError> {
        let crowd = Crowd { sockets: self.streams.saturating_mul(self.listeners), per_user: 10, at_once: 16 };
        let doors = crowd.doors(stage).await?;
        let heard: Rc<RefCell<Heard>> = Rc::default();
        let mut ears = JoinSet::new();
        for index in 0..crowd.sockets {
            let (stream, door) = (index / self.listeners.max(1), doors.get(index / crowd.per_user));
            let (Some(room), Some(door)) = (rooms.get(stream), door) else { continue };
            let receiver = subscribed(door, index, &[*room], scratch, KEEP).await?;
            ears.spawn_local(hear(receiver, stream, Rc::clone(upstream.tracks()), Rc::clone(&heard)));
        }
        Ok((heard, ears))
    }

    /// Waits until the server has asked for all of them.
    async fn all_begin(&self, upstream: &Upstream) -> Result<(), ScenarioError> {
        let deadline = Instant::now() + BEGINS_WITHIN;
        while upstream.asked() < self.streams {
            if Instant::now() > deadline {
                let (begun, wanted) = (upstream.asked(), self.streams);
                return Err(ScenarioError::Refused(format!(
                    "{begun} of {wanted} streams began: the server needs {}",
                    self.settings().join(", ")
                )));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn rows(&self, report: &mut Report, heard: &Heard, (otherwise, again): (usize, usize)) {
        let Faults { lost, doubled, different, disordered, broken, ended_otherwise } = heard.faults;
        report.row("pieces heard", heard.latencies.count(), "").row("frames they came in", heard.deltas, "");
        for (name, percent) in [("relay p50", 50), ("relay p99", 99)] {
            report.measured(name, millis(heard.latencies.percentile(percent)), "ms");
        }
        report.measured("relay max", millis(heard.latencies.max()), "ms");
        report.row("lost", lost, "bytes").row("doubled", doubled, "bytes");
        report.row("other text", different, "").row("out of order", disordered, "");
        report.row("subscriptions broken", broken, "").row("ends not heard", heard.endless, "");
        report.row("ended otherwise", ended_otherwise, "").row("stored otherwise", otherwise, "");
        report.row("not asked for once", again, "");
    }
}

/// Others post for so long, and wait for their acks.
async fn phase(stage: &Stage, others: &mut Beside, time: Duration) -> Result<Phase, ScenarioError> {
    let meter = Meter::start(stage.pid);
    let acks = others.post(time).await?;
    Ok(Phase { acks, spent: meter.stop() })
}

/// What the streams cost, and what the others felt.
struct Costs<'a> {
    stage: &'a Stream,
    quiet: &'a [Phase],
    streaming: &'a Phase,
    before: Option<Usage>,
    most: u64,
}

impl Costs<'_> {
    fn rows(&self, report: &mut Report) {
        let spent = self.streaming.spent;
        let streams = float(u64::try_from(self.stage.streams).unwrap_or(u64::MAX));
        if let Some((cpu, alone)) = spent.cpu.zip(self.cpu_of_posts()) {
            report.measured("server CPU while streaming", cpu.as_secs_f64(), "s");
            report.measured("of that for posts", alone.as_secs_f64(), "s");
            let stream_seconds = streams * spent.wall.as_secs_f64();
            let each = cpu.saturating_sub(alone).as_secs_f64() / stream_seconds.max(1e-9);
            report.measured("server CPU of a stream-second", each * 1000.0, "ms");
        }
        if let Some(before) = self.before {
            let grown = self.most.saturating_sub(before.rss);
            report.measured("server memory before", float(before.rss) / 1_048_576.0, "MiB");
            report.measured("server memory at most", float(self.most) / 1_048_576.0, "MiB");
            report.measured("server memory of a stream", float(grown) / 1024.0 / streams, "KiB");
        }
        let mut without = Latencies::default();
        self.quiet.iter().for_each(|phase| without.merge(&phase.acks));
        let (with, without) = (self.streaming.acks.percentile(99), without.percentile(99));
        report.measured("post p99 without streams", millis(without), "ms");
        report.measured("post p99 with streams", millis(with), "ms");
        report.measured("with by without", with.as_secs_f64() / without.as_secs_f64().max(1e-9), "");
        report.measured("load generator CPU", spent.own.as_secs_f64(), "s");
        if spent.busy() > super::meter::BUSY {
            report.mark();
        }
    }

    /// What posts alone cost in the time that the streams took.
    fn cpu_of_posts(&self) -> Option<Duration> {
        let wall: Duration = self.quiet.iter().map(|phase| phase.spent.wall).sum();
        let cpu: Option<Duration> = self.quiet.iter().map(|phase| phase.spent.cpu).sum();
        let share = self.streaming.spent.wall.as_secs_f64() / wall.as_secs_f64().max(1e-9);
        cpu.map(|cpu| cpu.mul_f64(share))
    }
}

/// Reads the server's memory again and again.
struct Watch {
    most: Rc<Cell<u64>>,
    looking: JoinHandle<()>,
}

impl Watch {
    fn start(pid: Option<u32>) -> Watch {
        let most: Rc<Cell<u64>> = Rc::default();
        let seen = Rc::clone(&most);
        let looking = spawn_local(async move {
            while let Some(used) = pid.and_then(|pid| Usage::of(pid).ok()) {
                seen.set(seen.get().max(used.rss));
                sleep(LOOK).await;
            }
        });
        Watch { most, looking }
    }

    /// The most there was, in bytes.
    fn stop(self) -> u64 {
        self.looking.abort();
        self.most.get()
    }
}

/// Makes an assistant whose model is ours; its id and name.
async fn assistant(stage: &Stage, upstream: &Upstream) -> Result<(u64, String), ScenarioError> {
    // A name without a space in it, that nobody else has.
    let name = format!("Streamer-{}", Uuid::new_v4().simple());
    let body = json!({"name": name, "base_url": upstream.url(), "model": MODEL});
    let (_, made): (u16, Value) =
        stage.world.admin.call(Method::POST, "/assistants", &[], Some(&body)).await?;
    let id = made.get("id").and_then(Value::as_u64);
    let id = id.ok_or_else(|| ScenarioError::Refused(format!("an assistant without an id: {made}")))?;
    Ok((id, name))
}

/// Asks once in each room; the messages that are going to be the answers.
async fn ask(stage: &Stage, rooms: &[u64], name: &str) -> Result<Vec<u64>, ScenarioError> {
    let mut asked = Vec::new();
    for (index, room) in rooms.iter().enumerate() {
        let body = json!({"body": format!("@{name} {}", marker(index)), "client_message_id": Uuid::new_v4()});
        let path = format!("/rooms/{room}/messages");
        let (_, posted): (u16, Value) = stage.world.admin.call(Method::POST, &path, &[], Some(&body)).await?;
        let message = posted.pointer("/runs/0/message_id").and_then(Value::as_u64);
        let refused = || ScenarioError::Refused(format!("the assistant doesn't answer: {posted}"));
        asked.push(message.ok_or_else(refused)?);
    }
    Ok(asked)
}

/// Listens to one answer; true when its end came.
async fn hear(mut receiver: Receiver, stream: usize, tracks: Tracks, heard: Rc<RefCell<Heard>>) -> bool {
    let mut ear = Ear::default();
    let ending = receiver.hear(|frame| {
        if let Some(track) = tracks.borrow().get(stream) {
            ear.hear(frame, track, Instant::now(), &mut heard.borrow_mut().latencies);
        }
        if ear.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // A lost connection leaves the ear without its end.
    drop(ending.await);
    let mut heard = heard.borrow_mut();
    heard.faults.add(ear.faults);
    heard.deltas += ear.deltas;
    ear.is_over()
}

/// Waits until all have heard the end; how many didn't.
async fn finished(mut ears: JoinSet<bool>) -> Result<usize, ScenarioError> {
    let mut endless = 0;
    let deadline = Instant::now() + PATIENCE;
    while let Ok(Some(over)) =
        timeout(deadline.saturating_duration_since(Instant::now()), ears.join_next()).await
    {
        endless += usize::from(!over?);
    }
    Ok(endless + ears.len())
}

/// Answers that REST shows with another text.
async fn stored_otherwise(stage: &Stage, asked: &[u64], tracks: &Tracks) -> Result<usize, ScenarioError> {
    let texts: Vec<String> = tracks.borrow().iter().map(|track| track.text().to_owned()).collect();
    let mut otherwise = 0;
    for (message, text) in asked.iter().zip(&texts) {
        let path = format!("/messages/{message}");
        let (_, message): (u16, Value) = stage.world.admin.call(Method::GET, &path, &[], None).await?;
        otherwise += usize::from(message.get("body").and_then(Value::as_str) != Some(text.as_str()));
    }
    Ok(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(rate: u32, seconds: u64) -> Stream {
        Stream { streams: 3, rate, time: Duration::from_secs(seconds), listeners: 2, posts: 10 }
    }

    #[test]
    fn answers_are_as_long_as_they_may_be_and_no_longer() {
        let tracks = |stream: &Stream| {
            let gap = Duration::from_secs(1) / stream.rate;
            stream.tracks(gap, &mut SmallRng::seed_from_u64(1))
        };
        let few = stream(10, 3);
        let made = tracks(&few).unwrap();
        assert_eq!(made.iter().map(Track::pieces).collect::<Vec<_>>(), [30, 30, 30]);
        assert_ne!(made[0].text(), made[1].text());
        assert_eq!(few.pieces(&Rc::new(RefCell::new(made))), 180);
        for many in [stream(1_000, 10), stream(u32::MAX, 1_000_000)] {
            let problem = tracks(&many).unwrap_err().to_string();
            assert!(problem.contains("--seconds"), "{problem}");
        }
    }

    #[test]
    fn posts_alone_are_taken_off_what_streams_cost() {
        let phase = |wall: u64, cpu: u64| Phase {
            acks: Latencies::default(),
            spent: Spent {
                wall: Duration::from_secs(wall),
                cpu: Some(Duration::from_secs(cpu)),
                rss: None,
                own: Duration::ZERO,
            },
        };
        let (stage, quiet, streaming) = (stream(10, 3), [phase(2, 1), phase(3, 1)], phase(10, 9));
        let before = Some(Usage { cpu: Duration::ZERO, rss: 1_048_576 });
        let costs =
            Costs { stage: &stage, quiet: &quiet, streaming: &streaming, before, most: 4 * 1_048_576 };
        assert_eq!(costs.cpu_of_posts(), Some(Duration::from_secs(4)));
        let mut report = Report::new("stream", 1);
        costs.rows(&mut report);
        let mut line = Vec::new();
        report.write_json(&mut line).unwrap();
        let result = serde_json::from_slice::<Value>(&line).unwrap()["result"].clone();
        // (9 s - 4 s) / (3 streams * 10 s)
        assert_eq!(result["server_cpu_of_a_stream_second_ms"], 166.667);
        assert_eq!(result["server_memory_of_a_stream_kib"], 1024.0);
    }
}

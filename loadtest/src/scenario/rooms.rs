//! Many small rooms whose members all talk: each sends again when its own message comes back. Every message is durable and heard
//! by all members once and in order; beside it what a bare epoll loop does, which stores nothing.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem::Finder;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::crowd::{Crowd, during, subscribed};
use super::meter::{Meter, Names, Spent};
use super::poster::{Frames, Texts, obey, refusal_in};
use super::{ScenarioError, Stage};
use crate::baseline::{self, FIRST_SEQ, Mode};
use crate::lean::Receiver;
use crate::report::Report;
use crate::stats::{Latencies, millis};
use crate::wire::Refusal;

/// As much of a frame as holds the id of its message.
const KEEP: usize = 512;
const ID_KEY: &[u8] = br#""client_message_id":""#;
/// The last deliveries may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Rooms {
    pub rooms: usize,
    /// Sockets in each room.
    pub members: usize,
    /// Sockets of one user, each in another room.
    pub per_user: usize,
    pub at_once: usize,
    /// Before the measuring begins.
    pub warm: Duration,
    pub time: Duration,
    /// Bytes of a body.
    pub size: usize,
    pub baseline: Option<Mode>,
}

/// What all members write down.
struct Board {
    key: Finder<'static>,
    stopping: Cell<bool>,
    /// Of the time that is measured.
    deliveries: Cell<u64>,
    bytes: Cell<u64>,
    latencies: RefCell<Latencies>,
    /// Of the whole run.
    heard: Cell<u64>,
    out_of_order: Cell<u64>,
    posted: Cell<u64>,
    acked: Cell<u64>,
    asked_to_wait: Cell<u64>,
}

struct Measured {
    spent: Spent,
    deliveries: u64,
    posts: u64,
    latencies: Latencies,
    frame_bytes: u64,
    out_of_order: u64,
    asked_to_wait: u64,
    /// Deliveries that did not come, and acks.
    missing: u64,
    unacked: u64,
}

impl Rooms {
    /// The report, and whether every member got every message of its room once and in order. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let server = self.on_server(stage).await?;
        let frame_bytes = usize::try_from(server.frame_bytes).unwrap_or(usize::MAX);
        let bare = match self.baseline {
            Some(mode) => Some(self.on_baseline(stage, mode, frame_bytes).await?),
            None => None,
        };
        let mut report = Report::new("rooms", stage.seed);
        report.row("rooms", self.rooms, "").row("members of each", self.members, "");
        report.row("sockets of a user", self.per_user, "");
        report.row("body", self.size, "bytes").row("event", frame_bytes, "bytes");
        report.row("posts", server.posts, "").row("deliveries", server.deliveries, "");
        report.row("missing", server.missing, "").row("not in order or not once", server.out_of_order, "");
        report.row("acks missing", server.unacked, "").row("asked to wait", server.asked_to_wait, "");
        let names =
            |whose| Names { whose, per_wall: "deliveries per second", per_cpu: "deliveries per CPU second" };
        server.spent.rows(&mut report, server.deliveries, names(""));
        for (percent, name) in [(50, "own message back p50"), (99, "own message back p99")] {
            report.measured(name, millis(server.latencies.percentile(percent)), "ms");
        }
        let kept = |side: &Measured| side.missing == 0 && side.out_of_order == 0 && side.unacked == 0;
        let mut all_kept = kept(&server);
        if let (Some(bare), Some(mode)) = (bare, self.baseline) {
            all_kept &= kept(&bare);
            report.row("baseline", mode.name(), "");
            bare.spent.rows(&mut report, bare.deliveries, names("baseline"));
            report.measured("baseline own message back p99", millis(bare.latencies.percentile(99)), "ms");
            let per_cpu = |side: &Measured| side.spent.per_cpu(side.deliveries);
            if let Some((ours, theirs)) = per_cpu(&server).zip(per_cpu(&bare)) {
                report.measured("deliveries per CPU second, of the baseline's", 100.0 * ours / theirs, "%");
            }
        }
        Ok((report, all_kept))
    }

    fn crowd(&self) -> Crowd {
        let sockets = self.rooms.max(1) * self.members.max(1);
        // Two sockets of a user in one room would hear each other's messages twice.
        let per_user = self.per_user.clamp(1, self.rooms.max(1));
        Crowd { sockets, per_user, at_once: self.at_once }
    }

    async fn on_server(&self, stage: &Stage) -> Result<Measured, ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let mut first = Vec::new();
        for room_id in &rooms {
            first.push(stage.world.admin.room(*room_id).await?.head + 1);
        }
        let crowd = self.crowd();
        let doors = crowd.doors(stage).await?;
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let texts = Texts::new(self.size, &mut rng);
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("connecting {} members", crowd.sockets));
        let mut members = Vec::new();
        for (index, (&room_id, &first)) in (0..crowd.sockets).zip(rooms.iter().zip(&first).cycle()) {
            let Some(door) = doors.get(index / crowd.per_user) else { continue };
            let receiver = subscribed(door, index, &[room_id], &scratch, KEEP).await?;
            members.push(Member { receiver, frames: Frames::hearth(room_id, &texts, &mut rng), next: first });
        }
        self.measure(stage, members, stage.pid, true).await
    }

    async fn on_baseline(
        &self,
        stage: &Stage,
        mode: Mode,
        frame_bytes: usize,
    ) -> Result<Measured, ScenarioError> {
        stage.progress.say(format_args!("the same with the {} baseline", mode.name()));
        let baseline = stage.baseline.start(baseline::Options { mode, frame_bytes })?;
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let texts = Texts::new(self.size, &mut rng);
        let scratch = Receiver::scratch();
        let rooms = self.rooms.max(1);
        let gathered = self.crowd().gather_bare(&baseline, |index| index % rooms, &scratch, KEEP).await?;
        let mut members = Vec::new();
        for receiver in gathered {
            members.push(Member { receiver, frames: Frames::bare(&texts, &mut rng), next: FIRST_SEQ });
        }
        self.measure(stage, members, Some(baseline.pid()), false).await
    }

    async fn measure(
        &self,
        stage: &Stage,
        members: Vec<Member>,
        pid: Option<u32>,
        acks: bool,
    ) -> Result<Measured, ScenarioError> {
        let board = Rc::new(Board::default());
        let mut talking = JoinSet::new();
        for member in members {
            talking.spawn_local(member.talk(Rc::clone(&board)));
        }
        let _following = stage.progress.follow(&board, |board| format!("{} deliveries", board.heard.get()));
        sleep(self.warm).await;
        must_go_on(&mut talking)?;
        stage.progress.say(format_args!("measuring for {:.1} s", self.time.as_secs_f64()));
        let posted = board.posted.get();
        board.begin();
        let meter = Meter::start(pid);
        sleep(self.time).await;
        let spent = meter.stop();
        let (deliveries, posts) = (board.deliveries.get(), board.posted.get() - posted);
        let (bytes, latencies) = (board.bytes.get(), board.latencies.borrow().clone());
        board.stopping.set(true);

        let members = u64::try_from(self.members.max(1)).unwrap_or(u64::MAX);
        let missing = || (board.posted.get() * members).saturating_sub(board.heard.get());
        let unacked = || if acks { board.posted.get().saturating_sub(board.acked.get()) } else { 0 };
        let patience = Instant::now() + PATIENCE;
        while (missing() > 0 || unacked() > 0) && Instant::now() < patience {
            must_go_on(&mut talking)?;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Measured {
            spent,
            deliveries,
            posts,
            latencies,
            frame_bytes: (bytes + deliveries / 2).checked_div(deliveries).unwrap_or_default(),
            // More than was posted is as wrong as another order.
            out_of_order: board.out_of_order.get()
                + board.heard.get().saturating_sub(board.posted.get() * members),
            asked_to_wait: board.asked_to_wait.get(),
            missing: missing(),
            unacked: unacked(),
        })
    }
}

/// A member that ended has failed.
fn must_go_on(talking: &mut JoinSet<Result<(), ScenarioError>>) -> Result<(), ScenarioError> {
    match talking.try_join_next() {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

impl Default for Board {
    fn default() -> Board {
        Board {
            key: Finder::new(ID_KEY),
            stopping: Cell::default(),
            deliveries: Cell::default(),
            bytes: Cell::default(),
            latencies: RefCell::default(),
            heard: Cell::default(),
            out_of_order: Cell::default(),
            posted: Cell::default(),
            acked: Cell::default(),
            asked_to_wait: Cell::default(),
        }
    }
}

impl Board {
    /// The measuring begins.
    fn begin(&self) {
        self.deliveries.set(0);
        self.bytes.set(0);
        *self.latencies.borrow_mut() = Latencies::default();
    }

    /// A message came to somebody. True when it is the one with this id.
    fn heard(&self, prefix: &[u8], bytes: u64, id: &[u8]) -> bool {
        add(&self.deliveries, 1);
        add(&self.bytes, bytes);
        add(&self.heard, 1);
        let behind = self.key.find(prefix).and_then(|at| prefix.get(at + ID_KEY.len()..));
        behind.is_some_and(|behind| behind.starts_with(id))
    }
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

/// One socket in one room.
struct Member {
    receiver: Receiver,
    frames: Frames,
    /// The seq that has to come next.
    next: u64,
}

impl Member {
    async fn talk(mut self, board: Rc<Board>) -> Result<(), ScenarioError> {
        let sender = self.receiver.sender();
        loop {
            let (id, frame) = self.frames.post();
            let id = id.to_string();
            let sent = Instant::now();
            add(&board.posted, 1);
            sender.write(&frame).await.map_err(during("posting"))?;
            let mut refused: Option<Refusal> = None;
            let mut came = false;
            let next = &mut self.next;
            let heard = self.receiver.receive(|frame| {
                if let Some(seq) = frame.posted() {
                    if seq != *next {
                        add(&board.out_of_order, 1);
                    }
                    *next = seq + 1;
                    came |= board.heard(frame.prefix, frame.length, id.as_bytes());
                } else if frame.is_type("reply") {
                    add(&board.acked, 1);
                } else if frame.is_type("error") {
                    refused = Some(refusal_in(frame.prefix));
                }
                let may_go_on = (came && !board.stopping.get()) || refused.is_some();
                if may_go_on { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            heard.await.map_err(during("hearing"))?;
            match refused {
                Some(refusal) => {
                    add(&board.asked_to_wait, 1);
                    board.posted.set(board.posted.get() - 1);
                    obey(&refusal).await?;
                }
                None => board.latencies.borrow_mut().record(sent.elapsed()),
            }
        }
    }
}

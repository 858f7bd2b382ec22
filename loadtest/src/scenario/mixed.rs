//! A day of a team, compressed: people come in the morning, mostly listen, write in bursts in rooms of all sizes, mark what they read,
//! look things up, lose their connection, leave in the evening, and find the next morning whatever they missed.

mod board;
mod day;
mod frames;
mod person;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::crowd::address;
use super::meter::{Meter, Names};
use super::{ScenarioError, Stage};
use crate::lean::{Door, Receiver};
use crate::machine::too_many_sockets;
use crate::report::Report;
use crate::server::Usage;
use crate::stats::{Latencies, float, millis, per_second};
use crate::words::Writer;
use board::Board;
use day::Day;
pub use day::Habits;
use person::{House, Person};

/// How often the server's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Everything has to be there the next morning within.
const MORNING: Duration = Duration::from_secs(90);
/// The next morning people come within.
const COMING: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Mixed {
    pub people: usize,
    pub rooms: usize,
    /// How long the day is.
    pub time: Duration,
    pub habits: Habits,
}

impl Mixed {
    /// The report, and whether everyone heard every acked post of their rooms once and in order. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        if let Some(problem) = too_many_sockets(self.people.saturating_mul(2)) {
            return Err(ScenarioError::Refused(problem));
        }
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let mut before = HashMap::new();
        for room_id in &rooms {
            before.insert(*room_id, stage.world.admin.room(*room_id).await?.head);
        }
        stage.progress.say(format_args!("making {} people", self.people));
        let users = stage.world.users("person", self.people).await?;
        let everything = stage.world.admin.rooms().await?;
        let commons = everything.iter().find(|room| room.kind == "commons").map(|room| room.id);
        let server = address(&stage.world.url).await?;
        stage.progress.say(format_args!("the day begins: {} s", self.time.as_secs()));
        let house = Rc::new(House {
            board: Board::default(),
            writer: Writer::default(),
            rooms: rooms.clone(),
            commons,
            start: Instant::now() + Duration::from_millis(100),
            scratch: Receiver::scratch(),
        });
        let mut rng = SmallRng::seed_from_u64(stage.seed);
        let mut living = JoinSet::new();
        for (index, user) in users.into_iter().enumerate() {
            let day = Day::draw(rooms.len(), self.time, self.habits, &mut rng);
            let door = Door { server, credentials: user.credentials() };
            let own = SmallRng::seed_from_u64(rng.random());
            living.spawn_local(Person::new(&house, index, (user, door), day, own).live());
        }
        let height = Rc::new(Cell::new(0));
        let looking = spawn_local(look(stage.pid, Rc::clone(&height)));
        let _following = stage.progress.follow(&house, |house| {
            format!("{} posts, {} deliveries", house.board.posted.get(), house.board.deliveries.get())
        });
        let meter = Meter::start(stage.pid);
        let mut people = Vec::new();
        while let Some(person) = living.join_next().await {
            people.push(person??);
        }
        let spent = meter.stop();
        looking.abort();

        stage.progress.say("the next morning");
        // Posts of who left before the answer are answered then, so that the heads come after.
        let deadline = Instant::now() + MORNING;
        let none = HashMap::new();
        let people = self.morning(people, none, deadline, &mut rng).await?;
        let mut heads = HashMap::new();
        for room_id in &rooms {
            let head = stage.world.admin.room(*room_id).await?.head;
            let posted = head.saturating_sub(before.get(room_id).copied().unwrap_or_default());
            if posted != house.board.acked_in(*room_id) {
                house.board.wrong("a room with another number of messages than were acked");
            }
            heads.insert(*room_id, head);
        }
        self.morning(people, heads, deadline, &mut rng).await?;
        Ok(self.report(stage, &house.board, spent, height.get()))
    }

    /// Everybody comes once more and stays until these heads are reached and nothing is unanswered.
    async fn morning(
        &self,
        people: Vec<Person>,
        heads: HashMap<u64, u64>,
        deadline: Instant,
        rng: &mut SmallRng,
    ) -> Result<Vec<Person>, ScenarioError> {
        let heads = Rc::new(heads);
        let mut coming = JoinSet::new();
        for mut person in people {
            let heads = Rc::clone(&heads);
            let after = COMING.min(self.time / 4).mul_f64(rng.random::<f64>());
            coming.spawn_local(async move {
                sleep(after).await;
                person.come_again(&heads, deadline).await?;
                Ok::<Person, ScenarioError>(person)
            });
        }
        let mut back = Vec::new();
        while let Some(person) = coming.join_next().await {
            back.push(person??);
        }
        Ok(back)
    }

    fn report(
        &self,
        stage: &Stage,
        board: &Board,
        spent: super::meter::Spent,
        height: u64,
    ) -> (Report, bool) {
        let mut report = Report::new("mixed", stage.seed);
        report.row("people", self.people, "").row("rooms", self.rooms, "");
        report.row("posts of a person", self.habits.posts, "");
        report.row("posts", board.posted.get(), "").row("deliveries", board.deliveries.get(), "");
        report.row("reconnects", board.reconnects.get(), "");
        report.row("events resumed", board.resumed.get(), "").row("gaps", board.gaps.get(), "");
        report.row("resyncs", board.resyncs.get(), "").row(
            "connections ended by the server",
            board.ended.get(),
            "",
        );
        report.row("asked to wait", board.asked_to_wait.get(), "");
        let wrong = board.wrongs();
        let kept = wrong.is_empty();
        report.row("not as promised", if kept { json!(0) } else { json!(wrong) }, "");
        report.measured("posts per second", per_second(board.posted.get(), spent.wall), "");
        let names =
            Names { whose: "", per_wall: "deliveries per second", per_cpu: "deliveries per CPU second" };
        spent.rows(&mut report, board.deliveries.get(), names);
        if let Some(cpu) = spent.cpu {
            let share = cpu.as_secs_f64() / spent.wall.as_secs_f64().max(1e-9) * 100.0;
            report.measured("server CPU of the day", share, "%");
            report.measured("server memory at its height", float(height) / 1_048_576.0, "MiB");
        }
        let timed: [(&str, &Latencies); 4] = [
            ("delivery", &board.latencies.borrow()),
            ("ack", &board.acks.borrow()),
            ("history page", &board.pages.borrow()),
            ("search", &board.searches.borrow()),
        ];
        for (name, latencies) in timed {
            for (percent, rank) in [(50, "p50"), (99, "p99"), (100, "max")] {
                report.measured(format!("{name} {rank}"), millis(latencies.percentile(percent)), "ms");
            }
        }
        (report, kept)
    }
}

/// Keeps the most memory that was seen.
async fn look(pid: Option<u32>, height: Rc<Cell<u64>>) {
    while let Some(usage) = pid.and_then(|pid| Usage::of(pid).ok()) {
        height.set(height.get().max(usage.rss));
        sleep(LOOK_EVERY).await;
    }
}

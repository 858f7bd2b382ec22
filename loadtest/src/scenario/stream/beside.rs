//! Posts in other rooms, from a thread of their own: what this process does for the model and the listeners isn't in the time of an ack.

use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use crate::lean::{Door, Receiver};
use crate::scenario::ScenarioError;
use crate::scenario::crowd::{during, subscribed};
use crate::scenario::poster::{Desk, Frames, Poster, Texts};
use crate::stats::Latencies;

/// Bytes of a post.
const BODY: usize = 100;
/// As much of a frame as is looked at.
const KEEP: usize = 4096;

/// Who posts where, and how often.
pub(super) struct Plan {
    /// One for each room.
    pub(super) doors: Vec<Door>,
    pub(super) rooms: Vec<u64>,
    /// Posts per second, all together.
    pub(super) rate: u32,
    pub(super) seed: u64,
}

/// The thread; it ends when this is dropped.
pub(super) struct Beside {
    asks: mpsc::Sender<Duration>,
    told: mpsc::Receiver<Result<Latencies, ScenarioError>>,
}

impl Beside {
    /// Everyone is connected when this is over.
    pub(super) async fn start(plan: Plan) -> Result<Beside, ScenarioError> {
        let (asks, asked) = mpsc::channel(1);
        let (tell, told) = mpsc::channel(1);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(during("starting a thread"))?;
        let work = move || LocalSet::new().block_on(&runtime, plan.work(asked, tell));
        thread::Builder::new().name("posts".to_owned()).spawn(work).map_err(during("starting a thread"))?;
        let mut beside = Beside { asks, told };
        beside.hear().await?;
        Ok(beside)
    }

    /// Has them post for so long; how long the acks took.
    pub(super) async fn post(&mut self, time: Duration) -> Result<Latencies, ScenarioError> {
        self.asks.send(time).await.map_err(|_over| gone())?;
        self.hear().await
    }

    async fn hear(&mut self) -> Result<Latencies, ScenarioError> {
        self.told.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

fn gone() -> ScenarioError {
    during("posting")(io::Error::other("the thread is gone"))
}

impl Plan {
    async fn work(
        self,
        mut asked: mpsc::Receiver<Duration>,
        tell: mpsc::Sender<Result<Latencies, ScenarioError>>,
    ) {
        let desk = Rc::new(Desk::default());
        let mut posters = match self.posters(&desk).await {
            Ok(posters) => posters,
            Err(error) => return drop(tell.send(Err(error)).await),
        };
        let mut posted = 0;
        // Whoever asks may have gone.
        drop(tell.send(Ok(Latencies::default())).await);
        while let Some(time) = asked.recv().await {
            drop(tell.send(self.post(time, &mut posters, &desk, &mut posted).await).await);
        }
    }

    async fn posters(&self, desk: &Rc<Desk>) -> Result<Vec<Poster>, ScenarioError> {
        let (mut rng, scratch) = (SmallRng::seed_from_u64(self.seed), Receiver::scratch());
        let texts = Texts::new(BODY, &mut rng);
        let mut posters = Vec::new();
        for (index, (door, room)) in self.doors.iter().zip(&self.rooms).enumerate() {
            let receiver = subscribed(door, index, &[*room], &scratch, KEEP).await?;
            posters.push(Poster::new(receiver, Frames::hearth(*room, &texts, &mut rng), desk));
        }
        Ok(posters)
    }

    /// Posts for so long, and waits for the acks.
    async fn post(
        &self,
        time: Duration,
        posters: &mut [Poster],
        desk: &Desk,
        posted: &mut u64,
    ) -> Result<Latencies, ScenarioError> {
        desk.begin();
        let (begin, gap) = (Instant::now(), Duration::from_secs(1) / self.rate.max(1));
        let end = begin + time;
        let mut due = begin;
        'all: loop {
            for poster in &mut *posters {
                sleep_until(due.min(end)).await;
                if due >= end {
                    break 'all;
                }
                poster.post().await?;
                *posted += 1;
                due += gap;
            }
        }
        desk.all_acked(*posted).await?;
        Ok(desk.latencies())
    }
}

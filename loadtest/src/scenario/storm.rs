//! Everybody loses the server, or the way to it, at once and wants it back: how long until all are there and have what they missed.

mod device;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::crowd::Crowd;
use super::meter::BUSY;
use super::{Meter, ScenarioError, Stage};
use crate::client::ClientError;
use crate::lean::Receiver;
use crate::report::Report;
use crate::server::{Server, Usage};
use crate::socket::Socket;
use device::Client;

/// A drain lets requests end; more than this is no drain.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

const BETWEEN_POSTS: Duration = Duration::from_millis(20);

/// How the connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The server gets a SIGTERM and comes back.
    Terminate,
    /// The server gets a SIGKILL and comes back.
    Kill,
    /// The clients drop them; the server stays.
    Drop,
}

#[derive(Debug, Clone)]
pub struct Storm {
    pub crowd: Crowd,
    pub rooms: usize,
    pub how: How,
    /// Posted from the moment the connections go.
    pub messages: usize,
    pub back_within: Duration,
}

/// What all clients write down.
#[derive(Default)]
struct Tally {
    /// Clients with all rooms confirmed, before the storm.
    there: usize,
    /// Clients that dropped their connection.
    dropped: usize,
    /// How long after the connections went each was subscribed again, with what it had missed until then.
    back: Vec<Duration>,
    /// How long after it each had all that was posted.
    caught_up: Vec<Duration>,
    /// Rooms whose missed events had to be paged.
    gaps: usize,
    /// Why a try did not work, by reason.
    refusals: BTreeMap<String, u64>,
    /// Clients sent away for good.
    lost: Vec<String>,
}

/// What all clients share.
struct Shared {
    rooms: Vec<u64>,
    tally: RefCell<Tally>,
    /// Changes when the clients drop their connections.
    dropping: watch::Sender<()>,
    /// Set when the connections go.
    gone: watch::Sender<Option<Instant>>,
    /// The heads to catch up to, once nothing more is posted.
    heads: watch::Sender<Option<HashMap<u64, u64>>>,
}

impl Storm {
    /// Has to run inside a `LocalSet`. True when everybody came back and none was refused for good.
    pub async fn run(
        &self,
        stage: &Stage,
        mut server: Option<&mut Server>,
    ) -> Result<(Report, bool), ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let doors = self.crowd.doors(stage).await?;
        let author = stage.world.users("author", 1).await?;
        let shared = Rc::new(Shared {
            rooms: rooms.clone(),
            tally: RefCell::default(),
            dropping: watch::Sender::new(()),
            gone: watch::Sender::new(None),
            heads: watch::Sender::new(None),
        });
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("connecting {} clients", self.crowd.sockets));
        let mut clients = JoinSet::new();
        let per_user = self.crowd.per_user.max(1);
        for index in 0..self.crowd.sockets {
            let Some(door) = doors.get(index / per_user) else { continue };
            let client = Client::new(&shared, door.clone(), index, &scratch);
            clients.spawn_local(client.run());
        }
        let patience = Instant::now() + self.back_within;
        while shared.tally.borrow().there < self.crowd.sockets {
            self.must_go_on(&shared, patience)?;
            sleep(Duration::from_millis(50)).await;
        }
        shared.tally.borrow_mut().refusals.clear();

        let credentials = author.first().map(|author| author.credentials());
        let mut speaker = match (self.how, credentials) {
            (How::Drop, Some(who)) => Some(Socket::connect(&stage.world.url, &who).await?),
            _ => None,
        };
        let cpu_before = stage.pid.and_then(|pid| Usage::of(pid).ok());
        let mut meter = Meter::start(stage.pid);
        let gone = Instant::now();
        shared.gone.send_replace(Some(gone));
        let (last, absent) = match (&mut server, &mut speaker) {
            (_, Some(speaker)) => {
                stage.progress.say("everybody drops");
                shared.dropping.send_replace(());
                // Posted while nobody is there, or on the way back.
                while shared.tally.borrow().dropped < self.crowd.sockets {
                    self.must_go_on(&shared, gone + self.back_within)?;
                    tokio::task::yield_now().await;
                }
                (post_at_once(speaker, &rooms, self.messages).await?, None)
            }
            (Some(server), None) => {
                stage.progress.say("the server goes");
                // Posted over the whole time of coming back, beginning while nobody is there.
                let author = author.into_iter().next();
                let posting = tokio::task::spawn_local(post_all(author, rooms, self.messages));
                if self.how == How::Kill {
                    server.kill()?;
                } else {
                    server.terminate(DRAIN_WITHIN).await?;
                }
                server.restart().await?;
                let absent = gone.elapsed();
                meter = Meter::start(server.pid());
                stage
                    .progress
                    .say(format_args!("the server is ready again after {:.2} s", absent.as_secs_f64()));
                (posting.await??, Some(absent))
            }
            (None, None) => return Err(ScenarioError::Refused("this needs --spawn".to_owned())),
        };
        shared.heads.send_replace(Some(last));
        let patience = Instant::now() + self.back_within;
        while shared.tally.borrow().caught_up.len() < self.crowd.sockets {
            if self.must_go_on(&shared, patience).is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let spent = meter.stop();
        clients.abort_all();

        let tally = shared.tally.borrow();
        let mut report = Report::new("storm", stage.seed);
        let how = match self.how {
            How::Terminate => "SIGTERM",
            How::Kill => "kill -9",
            How::Drop => "dropped by the clients",
        };
        report.row("clients", self.crowd.sockets, "").row("how", how, "");
        report.row("messages posted meanwhile", self.messages, "");
        if let Some(absent) = absent {
            report.measured("server away", absent.as_secs_f64(), "s");
        }
        report.row("back", tally.back.len(), "").row("have all that was posted", tally.caught_up.len(), "");
        report.row("refused for good", tally.lost.len(), "").row("gaps", tally.gaps, "");
        self.percentiles(&mut report, &tally.back, ["50 % back", "95 % back", "100 % back"]);
        // With a server that goes, the last message is posted long after.
        if self.how == How::Drop {
            let names = ["50 % caught up", "95 % caught up", "100 % caught up"];
            self.percentiles(&mut report, &tally.caught_up, names);
        }
        report.row("tries that failed", json!(tally.refusals), "");
        if let Some(first) = tally.lost.first() {
            report.row("first refused for good", first.clone(), "");
        }
        report.measured("load generator CPU", spent.own.as_secs_f64(), "s");
        if spent.busy() > BUSY {
            report.mark();
        }
        if let (Some(before), Some(cpu)) = (cpu_before, spent.cpu) {
            report.measured("server CPU until all were back", cpu.as_secs_f64(), "s");
            report.measured("server CPU before, since its start", before.cpu.as_secs_f64(), "s");
        }
        let kept = tally.caught_up.len() == self.crowd.sockets && tally.lost.is_empty();
        Ok((report, kept))
    }

    fn percentiles(&self, report: &mut Report, times: &[Duration], names: [&'static str; 3]) {
        let mut times = times.to_vec();
        times.sort_unstable();
        for (name, percent) in names.into_iter().zip([50, 95, 100]) {
            let rank = (self.crowd.sockets * percent).div_ceil(100).max(1);
            if let Some(at) = times.get(rank - 1) {
                report.measured(name, at.as_secs_f64(), "s");
            }
        }
    }

    fn must_go_on(&self, shared: &Shared, patience: Instant) -> Result<(), ScenarioError> {
        let tally = shared.tally.borrow();
        if let Some(first) = tally.lost.first() {
            return Err(ScenarioError::Refused(format!("a client was refused for good: {first}")));
        }
        if Instant::now() > patience {
            let what =
                format!("{} of {} clients, refusals {:?}", tally.there, self.crowd.sockets, tally.refusals);
            return Err(ScenarioError::Late { what });
        }
        Ok(())
    }
}

/// Posts all of them on one socket and waits for the acks; the last seq of each room.
async fn post_at_once(
    speaker: &mut Socket,
    rooms: &[u64],
    messages: usize,
) -> Result<HashMap<u64, u64>, ScenarioError> {
    let mut asked = Vec::with_capacity(messages);
    for (index, &room_id) in (0..messages).zip(rooms.iter().cycle()) {
        let body = format!("meanwhile {index}");
        asked.push((room_id, speaker.send_post(room_id, Uuid::new_v4(), &body).await?));
    }
    let mut last = HashMap::new();
    for (room_id, request_id) in asked {
        last.insert(room_id, speaker.ack(&request_id).await?.seq);
    }
    Ok(last)
}

/// Posts over REST, each as often as it takes; the last seq of each room.
async fn post_all(
    author: Option<crate::client::Client>,
    rooms: Vec<u64>,
    messages: usize,
) -> Result<HashMap<u64, u64>, ScenarioError> {
    let mut last = HashMap::new();
    let Some(author) = author else { return Ok(last) };
    for (index, &room_id) in (0..messages).zip(rooms.iter().cycle()) {
        let id = Uuid::new_v4();
        let seq = loop {
            match author.post_message(room_id, id, &format!("meanwhile {index}")).await {
                Ok(posted) => break posted.seq,
                Err(ClientError::Refused(refusal)) if refusal.retryable => {
                    sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(200))).await;
                }
                Err(ClientError::Transport(_)) => sleep(Duration::from_millis(200)).await,
                Err(error) => return Err(error.into()),
            }
        };
        last.insert(room_id, seq);
        sleep(BETWEEN_POSTS).await;
    }
    Ok(last)
}

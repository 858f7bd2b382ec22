//! Readers that stall among those that don't: what they cost the others, and that they are let go with their own code.
//!
//! The phases with stalled readers stand between phases in which as many readers hear the same and do read, so that only the
//! stalling differs.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::crowd::{Crowd, during};
use super::registry::Scrape;
use super::{ScenarioError, Stage};
use crate::lean::{self, Door, Receiver, Scanner, client_text};
use crate::report::Report;
use crate::socket::Socket;
use crate::stats::{Latencies, float, millis};

/// A stalled reader has to be let go within.
const LET_GO_WITHIN: Duration = Duration::from_secs(60);
/// The last deliveries of a phase may take so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What fills a stalled reader's buffers: bodies of so many bytes, so many per second, in a room of their own.
const FLOOD_BYTES: usize = 16_000;
const FLOOD_RATE: u32 = 40;
/// The close code of those who read nothing.
const SLOW_CONSUMER: u16 = 4001;
/// Stalled readers of a phase.
const STALLED: [usize; 2] = [1, 10];

#[derive(Debug, Clone)]
pub struct Slow {
    pub crowd: Crowd,
    /// Messages of each phase.
    pub messages: usize,
    /// Messages per second.
    pub rate: u32,
    pub rounds: usize,
}

/// How late each message reached its receivers, by phase.
#[derive(Default)]
struct Board {
    /// When each message was due, and its phase.
    due: Vec<(Instant, usize)>,
    phases: Vec<Latencies>,
}

/// One phase: how many extra readers there were, and whether they read.
struct Phase {
    extras: usize,
    stalled: bool,
    p99: Duration,
}

impl Slow {
    /// The report, and whether every stalled reader was let go as it has to be. Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<(Report, bool), ScenarioError> {
        let rooms = stage.world.rooms(2).await?;
        let [room, flood] = *rooms.as_slice() else {
            return Err(ScenarioError::Refused("two rooms are needed".to_owned()));
        };
        let doors = self.crowd.doors(stage).await?;
        let server = doors.first().map(|door| door.server);
        let server = server.ok_or_else(|| ScenarioError::Refused("a receiver is needed".to_owned()))?;
        let extra = stage.world.users("stalled", STALLED.iter().sum()).await?;
        let extra: Vec<Door> =
            extra.iter().map(|user| Door { server, credentials: user.credentials() }).collect();
        let mut speakers = Vec::new();
        for user in stage.world.users("speaker", 2).await? {
            speakers.push(Socket::connect(&stage.world.url, &user.credentials()).await?);
        }
        let (Some(mut flooder), Some(mut speaker)) = (speakers.pop(), speakers.pop()) else {
            return Err(ScenarioError::Refused("two speakers are needed".to_owned()));
        };
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("connecting {} receivers", self.crowd.sockets));
        let board = Rc::new(RefCell::new(Board::default()));
        let mut hearing = JoinSet::new();
        for receiver in self.crowd.gather(&doors, &[room], &scratch).await? {
            hearing.spawn_local(hear(receiver, Rc::clone(&board)));
        }
        let before = Scrape::of(&stage.world.url).await?;
        let mut phases = Vec::new();
        let (mut made, mut codes) = (0, Vec::new());
        for round in 0..self.rounds.max(1) {
            for extras in STALLED {
                for stalled in [false, true] {
                    stage.progress.say(format_args!("round {round}: {extras} more, stalled: {stalled}"));
                    let mut deaf = Vec::new();
                    let mut readers: Vec<JoinHandle<_>> = Vec::new();
                    for index in 0..extras {
                        let Some(door) = extra.get(index % extra.len()) else { continue };
                        if stalled {
                            deaf.push(stall(door, &rooms).await?);
                        } else {
                            let mut reader = Receiver::new(
                                lean::connect(door, 0).await.map_err(during("connecting"))?,
                                &scratch,
                            );
                            reader.send(&subscribe(&rooms)).await.map_err(during("subscribing"))?;
                            readers.push(spawn_local(async move {
                                reader.receive(|_| ControlFlow::Continue(())).await
                            }));
                        }
                    }
                    made += deaf.len();
                    let p99 = self.phase(&mut speaker, &mut flooder, (room, flood), &board).await?;
                    phases.push(Phase { extras, stalled, p99 });
                    if stalled {
                        self.let_go(stage, &before, made).await?;
                        for stream in deaf {
                            codes.push(close_code(stream).await);
                        }
                    }
                    readers.iter().for_each(JoinHandle::abort);
                }
            }
        }
        let lost = std::iter::from_fn(|| hearing.try_join_next()).count();
        let after = Scrape::of(&stage.world.url).await?;
        let closed = "hearth_connections_closed_total";
        let counted = after.sum(closed, "slow_consumer") - before.sum(closed, "slow_consumer");
        let coded = codes.iter().filter(|code| **code == Some(SLOW_CONSUMER)).count();
        let mut report = Report::new("slow", stage.seed);
        report.row("receivers", self.crowd.sockets, "").row("receivers lost", lost, "");
        report.row("messages of a phase", self.messages, "").row("rate", self.rate, "1/s");
        for (extras, stalled, names) in [
            (1, false, ["p99, 1 more that reads", "min, 1 that reads", "max, 1 that reads"]),
            (1, true, ["p99, 1 stalled", "min, 1 stalled", "max, 1 stalled"]),
            (10, false, ["p99, 10 more that read", "min, 10 that read", "max, 10 that read"]),
            (10, true, ["p99, 10 stalled", "min, 10 stalled", "max, 10 stalled"]),
        ] {
            let of = phases.iter().filter(|phase| (phase.extras, phase.stalled) == (extras, stalled));
            let mut p99: Vec<Duration> = of.map(|phase| phase.p99).collect();
            p99.sort_unstable();
            let at = |index: usize| millis(p99.get(index).copied().unwrap_or_default());
            for (name, index) in names.into_iter().zip([p99.len() / 2, 0, p99.len().saturating_sub(1)]) {
                report.measured(name, at(index), "ms");
            }
        }
        report.row("stalled readers", made, "").row("closed with 4001, as they read it", coded, "");
        report.measured("counted as slow consumers", counted, "");
        let all = float(u64::try_from(made).unwrap_or(u64::MAX));
        Ok((report, coded == made && (counted - all).abs() < 0.5 && lost == 0))
    }

    /// Posts to both rooms and waits until every receiver has heard; the p99 of the deliveries.
    async fn phase(
        &self,
        speaker: &mut Socket,
        flooder: &mut Socket,
        (room, flood): (u64, u64),
        board: &Rc<RefCell<Board>>,
    ) -> Result<Duration, ScenarioError> {
        let start = Instant::now() + Duration::from_millis(200);
        let step = Duration::from_secs(1) / self.rate.max(1);
        let dues: Vec<Instant> = (0..self.messages)
            .map(|n| start + step.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX)))
            .collect();
        let end = dues.last().copied().unwrap_or(start);
        let phase = {
            let mut board = board.borrow_mut();
            board.phases.push(Latencies::default());
            let phase = board.phases.len() - 1;
            board.due.extend(dues.iter().map(|due| (*due, phase)));
            phase
        };
        let pouring = async {
            let body = "y".repeat(FLOOD_BYTES);
            let mut next = start;
            let mut asked = Vec::new();
            while next < end {
                sleep_until(next).await;
                asked.push(flooder.send_post(flood, Uuid::new_v4(), &body).await?);
                next += Duration::from_secs(1) / FLOOD_RATE;
            }
            for id in asked {
                flooder.ack(&id).await?;
            }
            Ok::<(), ScenarioError>(())
        };
        let speaking = async {
            let mut asked = Vec::new();
            for due in &dues {
                sleep_until(*due).await;
                asked.push(speaker.send_post(room, Uuid::new_v4(), "what everybody hears").await?);
            }
            for id in asked {
                speaker.ack(&id).await?;
            }
            Ok::<(), ScenarioError>(())
        };
        tokio::try_join!(pouring, speaking)?;
        let wanted = u64::try_from(self.messages.saturating_mul(self.crowd.sockets)).unwrap_or(u64::MAX);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (count, p99) = board
                .borrow()
                .phases
                .get(phase)
                .map(|latencies| (latencies.count(), latencies.percentile(99)))
                .unwrap_or_default();
            if count >= wanted {
                return Ok(p99);
            }
            if Instant::now() > deadline {
                return Err(ScenarioError::Late {
                    what: format!("{} of {wanted} deliveries", wanted - count),
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the server has given up `made` readers since `before`.
    async fn let_go(&self, stage: &Stage, before: &Scrape, made: usize) -> Result<(), ScenarioError> {
        let name = "hearth_slow_consumers_total";
        let wanted = before.sum(name, "") + float(u64::try_from(made).unwrap_or(u64::MAX));
        let deadline = Instant::now() + LET_GO_WITHIN;
        while Scrape::of(&stage.world.url).await?.sum(name, "") < wanted {
            if Instant::now() > deadline {
                return Err(ScenarioError::Late { what: "closing a stalled reader".to_owned() });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

fn subscribe(rooms: &[u64]) -> String {
    let places: Vec<_> = rooms.iter().map(|room| json!({"room_id": room})).collect();
    json!({"type": "room.subscribe", "request_id": "s", "data": {"rooms": places}}).to_string()
}

/// Subscribes and reads nothing from then on.
async fn stall(door: &Door, rooms: &[u64]) -> Result<TcpStream, ScenarioError> {
    let socket = TcpSocket::new_v4().map_err(during("a socket"))?;
    // Small, so that what isn't read is the server's to keep and not the kernel's.
    socket.set_recv_buffer_size(8 * 1024).map_err(during("a receive buffer"))?;
    let mut stream = socket.connect(door.server).await.map_err(during("connecting"))?;
    stream.write_all(lean::request(door).as_bytes()).await.map_err(during("the upgrade"))?;
    stream.write_all(&client_text(&subscribe(rooms))).await.map_err(during("subscribing"))?;
    Ok(stream)
}

/// Reads on to the end: the code it was closed with.
async fn close_code(mut stream: TcpStream) -> Option<u16> {
    let read = async {
        let (mut scanner, mut code, mut head) = (Scanner::default(), None, Vec::new());
        let mut upgraded = false;
        let mut buffer = vec![0; 64 * 1024];
        while code.is_none() {
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            let mut bytes = buffer.get(..read).unwrap_or_default().to_vec();
            if !upgraded {
                head.append(&mut bytes);
                let end = head.windows(4).position(|window| window == b"\r\n\r\n");
                let Some(end) = end else { continue };
                upgraded = true;
                bytes = head.split_off(end + 4);
            }
            scanner.scan(&bytes, |frame| {
                if let (true, [high, low, ..]) = (frame.is_close(), frame.prefix) {
                    code = Some(u16::from_be_bytes([*high, *low]));
                }
            });
        }
        code
    };
    timeout(PATIENCE, read).await.ok().flatten()
}

/// The nth message a receiver gets is the nth posted: rooms have one order.
async fn hear(mut receiver: Receiver, board: Rc<RefCell<Board>>) -> std::io::Result<()> {
    let mut message = 0;
    receiver
        .receive(|frame| {
            if frame.is_type("message.posted") {
                let board = &mut *board.borrow_mut();
                if let Some((due, phase)) = board.due.get(message)
                    && let Some(latencies) = board.phases.get_mut(*phase)
                {
                    latencies.record(due.elapsed());
                }
                message += 1;
            }
            ControlFlow::Continue(())
        })
        .await
}

//! One room, many receivers: deliveries per second of server CPU, and how late they are.

mod tally;

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::crowd::Crowd;
use super::{Meter, ScenarioError, Stage};
use crate::lean::Receiver;
use crate::report::Report;
use crate::socket::{Socket, SocketError};
use crate::stats::millis;
use tally::Tally;

/// The last deliveries may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Fanout {
    pub crowd: Crowd,
    pub messages: usize,
    /// Posts per second, on time whatever happens; 0 keeps one message in flight.
    pub rate: u32,
    /// Users who post in turn; the server's message limit is per user.
    pub posters: usize,
    /// Bytes of a body.
    pub size: usize,
}

impl Fanout {
    /// Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<Report, ScenarioError> {
        let rooms = stage.world.rooms(1).await?;
        let room_id = rooms.first().copied().unwrap_or_default();
        let doors = self.crowd.doors(stage).await?;
        let mut posters = Vec::new();
        for user in stage.world.users("speaker", self.posters.max(1)).await? {
            posters.push(Socket::connect(&stage.world.url, &user.credentials()).await?);
        }
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("connecting {} receivers", self.crowd.sockets));
        let receivers = self.crowd.gather(&doors, &rooms, &scratch).await?;
        let tally = Rc::new(Tally::new(self.messages));
        let mut work = JoinSet::new();
        for receiver in receivers {
            work.spawn_local(count(receiver, Rc::clone(&tally)));
        }

        stage.progress.say(format_args!("posting {} messages", self.messages));
        let meter = Meter::start(stage.pid);
        let body = "x".repeat(self.size.max(1));
        if self.rate == 0 {
            self.one_in_flight(&mut posters, room_id, &body, &tally).await?;
        } else {
            self.on_time(posters, room_id, &body, &tally).await?;
        }
        let spent = meter.stop();

        let mut lost = 0_u64;
        while work.try_join_next().is_some() {
            lost += 1;
        }
        let latencies = tally.latencies();
        let mut report = Report::new("fanout", stage.seed);
        report.row("receivers", self.crowd.sockets, "").row("messages", self.messages, "");
        report.row("body", self.size, "bytes").row("rate", self.rate, "1/s");
        report.row("deliveries", latencies.count(), "").row("receivers lost", lost, "");
        spent.rows(&mut report, latencies.count(), "deliveries per second", "deliveries per CPU second");
        report.measured("latency p50", millis(latencies.percentile(50)), "ms");
        report.measured("latency p99", millis(latencies.percentile(99)), "ms");
        report.measured("latency max", millis(latencies.max()), "ms");
        Ok(report)
    }

    async fn one_in_flight(
        &self,
        posters: &mut [Socket],
        room_id: u64,
        body: &str,
        tally: &Tally,
    ) -> Result<(), ScenarioError> {
        let speakers = posters.len().max(1);
        for message in 0..self.messages {
            let Some(socket) = posters.get_mut(message % speakers) else { return Ok(()) };
            let id = Uuid::new_v4();
            tally.due(message, Instant::now());
            while let Err(error) = socket.post(room_id, id, body).await {
                obey(error).await?;
                tally.due(message, Instant::now());
            }
            self.all_have(tally, message + 1).await?;
        }
        Ok(())
    }

    /// Posts at due times. The acks are waited for beside, so that a slow server does not slow the clock.
    async fn on_time(
        &self,
        posters: Vec<Socket>,
        room_id: u64,
        body: &str,
        tally: &Tally,
    ) -> Result<(), ScenarioError> {
        let step = Duration::from_secs(1) / self.rate.max(1);
        let start = Instant::now() + Duration::from_millis(100);
        let due = |message: usize| start + step.saturating_mul(u32::try_from(message).unwrap_or(u32::MAX));
        for message in 0..self.messages {
            tally.due(message, due(message));
        }
        let speakers = posters.len().max(1);
        let mut work = JoinSet::new();
        for (first, socket) in posters.into_iter().enumerate() {
            let times = (first..self.messages).step_by(speakers).map(due).collect();
            work.spawn_local(speak(socket, room_id, body.to_owned(), times));
        }
        while let Some(done) = work.join_next().await {
            done??;
        }
        self.all_have(tally, self.messages).await
    }

    async fn all_have(&self, tally: &Tally, messages: usize) -> Result<(), ScenarioError> {
        let wanted = messages.saturating_mul(self.crowd.sockets);
        match timeout(PATIENCE, tally.reaches(wanted)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ScenarioError::Late {
                what: format!("{} of {wanted} deliveries", wanted - tally.count()),
            }),
        }
    }
}

/// Sends at the given times, then hears all acks. A refusal ends the run: the rate would not be the rate.
async fn speak(
    mut socket: Socket,
    room_id: u64,
    body: String,
    times: Vec<Instant>,
) -> Result<(), ScenarioError> {
    let mut asked = Vec::with_capacity(times.len());
    for time in times {
        sleep_until(time).await;
        asked.push(socket.send_post(room_id, Uuid::new_v4(), &body).await?);
    }
    for request_id in asked {
        socket.ack(&request_id).await?;
    }
    Ok(())
}

/// Waits when that is what the server asks for.
async fn obey(error: SocketError) -> Result<(), ScenarioError> {
    match &error {
        SocketError::Refused(refusal) if refusal.retryable => {
            tokio::time::sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(100))).await;
            Ok(())
        }
        _ => Err(error.into()),
    }
}

/// The nth message a receiver gets is the nth posted: rooms have one order.
async fn count(mut receiver: Receiver, tally: Rc<Tally>) -> std::io::Result<()> {
    let mut message = 0;
    receiver
        .receive(|frame| {
            if frame.is_type("message.posted") {
                tally.delivered(message);
                message += 1;
            }
            ControlFlow::Continue(())
        })
        .await
}

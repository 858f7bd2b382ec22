//! Clients with one acked post in flight each: how many posts a second are durable, and how long an ack takes.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::meter::Names;
use super::{Meter, ScenarioError, Stage};
use crate::report::Report;
use crate::socket::{Socket, SocketError};
use crate::stats::{Latencies, millis};

#[derive(Debug, Clone)]
pub struct Posts {
    pub clients: usize,
    pub rooms: usize,
    pub seconds: u64,
    /// Bytes of a body.
    pub size: usize,
}

#[derive(Default)]
struct Tally {
    latencies: Latencies,
    refused: u64,
}

impl Posts {
    pub async fn run(&self, stage: &Stage) -> Result<Report, ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        stage.progress.say(format_args!("making {} users", self.clients));
        let users = stage.world.users("writer", self.clients).await?;
        let mut sockets = Vec::with_capacity(users.len());
        for user in &users {
            sockets.push(Socket::connect(&stage.world.url, &user.credentials()).await?);
        }
        stage.progress.say(format_args!("posting for {} s", self.seconds));
        let meter = Meter::start(stage.pid);
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let mut work = JoinSet::new();
        for (socket, &room_id) in sockets.into_iter().zip(rooms.iter().cycle()) {
            work.spawn(write(socket, room_id, "x".repeat(self.size.max(1)), until));
        }
        let mut total = Tally::default();
        while let Some(done) = work.join_next().await {
            let done = done??;
            total.latencies.merge(&done.latencies);
            total.refused += done.refused;
        }
        let spent = meter.stop();

        let mut report = Report::new("posts", stage.seed);
        let latencies = &total.latencies;
        report.row("clients", self.clients, "").row("rooms", self.rooms, "").row("body", self.size, "bytes");
        report.row("acked posts", latencies.count(), "").row("asked to wait", total.refused, "");
        let names =
            Names { whose: "", per_wall: "acked posts per second", per_cpu: "acked posts per CPU second" };
        spent.rows(&mut report, latencies.count(), names);
        report.measured("ack p50", millis(latencies.percentile(50)), "ms");
        report.measured("ack p99", millis(latencies.percentile(99)), "ms");
        report.measured("ack max", millis(latencies.max()), "ms");
        Ok(report)
    }
}

/// Posts one after the other. Being told to wait (the limit is per user) is counted and obeyed.
async fn write(
    mut socket: Socket,
    room_id: u64,
    body: String,
    until: Instant,
) -> Result<Tally, ScenarioError> {
    let mut tally = Tally::default();
    while Instant::now() < until {
        let sent = Instant::now();
        match socket.post(room_id, Uuid::new_v4(), &body).await {
            Ok(_) => tally.latencies.record(sent.elapsed()),
            Err(SocketError::Refused(refusal)) if refusal.retryable => {
                tally.refused += 1;
                let wait = sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(100)));
                // The end of the run may come first.
                drop(timeout_at(until, wait).await);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tally)
}

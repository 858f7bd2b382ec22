//! Connections that are there and do nothing: what each costs to open and to keep.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::crowd::Crowd;
use super::meter::Names;
use super::{Meter, ScenarioError, Stage};
use crate::lean::Receiver;
use crate::report::Report;
use crate::stats::float;

#[derive(Debug, Clone)]
pub struct Idle {
    pub crowd: Crowd,
    pub rooms: usize,
    /// How long everyone stays.
    pub seconds: u64,
}

impl Idle {
    /// Has to run inside a `LocalSet`.
    pub async fn run(&self, stage: &Stage) -> Result<Report, ScenarioError> {
        let rooms = stage.world.rooms(self.rooms.max(1)).await?;
        let doors = self.crowd.doors(stage).await?;
        let scratch = Receiver::scratch();
        stage.progress.say(format_args!("connecting {} sockets", self.crowd.sockets));
        let opening = Meter::start(stage.pid);
        let receivers = self.crowd.gather(&doors, &rooms, &scratch).await?;
        let opened = opening.stop();

        stage.progress.say(format_args!("staying for {} s", self.seconds));
        let sockets = self.crowd.sockets;
        let count = u64::try_from(sockets).unwrap_or(u64::MAX);
        let staying = Meter::start(stage.pid);
        let mut work = JoinSet::new();
        for mut receiver in receivers {
            work.spawn_local(async move { receiver.receive(|_| ControlFlow::Continue(())).await });
        }
        sleep(Duration::from_secs(self.seconds)).await;
        let stayed = staying.stop();
        let mut lost = 0_u64;
        while work.try_join_next().is_some() {
            lost += 1;
        }

        let mut report = Report::new("idle", stage.seed);
        report.row("connections", count, "").row("rooms each", self.rooms, "").row(
            "lost meanwhile",
            lost,
            "",
        );
        let names = Names { whose: "", per_wall: "connects per second", per_cpu: "connects per CPU second" };
        opened.rows(&mut report, count, names);
        if let Some(cpu) = opened.cpu {
            report.measured("server CPU per connect", cpu.as_secs_f64() * 1e6 / float(count.max(1)), "us");
        }
        if let (Some((before, _)), Some((_, after))) = (opened.rss, stayed.rss) {
            let grown = float(after.saturating_sub(before));
            report.measured("server memory before", float(before) / 1_048_576.0, "MiB");
            report.measured("server memory after", float(after) / 1_048_576.0, "MiB");
            report.measured("server memory per connection", grown / 1024.0 / float(count.max(1)), "KiB");
        }
        if let Some(cpu) = stayed.cpu {
            report.measured(
                "server CPU while staying",
                cpu.as_secs_f64() / stayed.wall.as_secs_f64() * 100.0,
                "%",
            );
        }
        Ok(report)
    }
}

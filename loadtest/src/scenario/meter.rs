//! Wall time, and the CPU time the server used in it.

use std::time::Duration;

use tokio::time::Instant;

use crate::report::Report;
use crate::server::Usage;
use crate::stats::per_second;

/// Started at the first measured moment.
pub struct Meter {
    pid: Option<u32>,
    started: Instant,
    before: Option<Usage>,
}

/// What was used between start and stop.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub wall: Duration,
    /// Unknown without a pid.
    pub cpu: Option<Duration>,
    /// Resident memory at start and stop, bytes.
    pub rss: Option<(u64, u64)>,
}

impl Meter {
    pub fn start(pid: Option<u32>) -> Meter {
        Meter { pid, started: Instant::now(), before: usage(pid) }
    }

    pub fn stop(&self) -> Spent {
        let wall = self.started.elapsed();
        let both = self.before.zip(usage(self.pid));
        Spent {
            wall,
            cpu: both.map(|(before, after)| after.cpu_since(&before)),
            rss: both.map(|(before, after)| (before.rss, after.rss)),
        }
    }
}

impl Spent {
    /// Rows for `count` things done: wall and CPU time, and how many in a second of each.
    pub fn rows(&self, report: &mut Report, count: u64, per_wall: &'static str, per_cpu: &'static str) {
        report.measured("wall", self.wall.as_secs_f64(), "s");
        report.measured(per_wall, per_second(count, self.wall), "");
        if let Some(cpu) = self.cpu {
            report.measured("server CPU", cpu.as_secs_f64(), "s");
            report.measured(per_cpu, per_second(count, cpu), "");
        }
    }
}

fn usage(pid: Option<u32>) -> Option<Usage> {
    pid.and_then(|pid| Usage::of(pid).ok())
}

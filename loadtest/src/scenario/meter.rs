//! Wall time, and the CPU time the server and the load generator used in it.

use std::time::Duration;

use tokio::time::Instant;

use crate::report::Report;
use crate::server::Usage;
use crate::stats::per_second;

/// A load generator that used more of its core than this was what got measured.
pub const BUSY: f64 = 0.9;

/// Started at the first measured moment.
pub struct Meter {
    pid: Option<u32>,
    started: Instant,
    before: Option<Usage>,
    own: Option<Usage>,
}

/// What was used between start and stop.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub wall: Duration,
    /// Unknown without a pid.
    pub cpu: Option<Duration>,
    /// Resident memory at start and stop, bytes.
    pub rss: Option<(u64, u64)>,
    /// Of this process.
    pub own: Duration,
}

/// The names of the rows that [`Spent::rows`] adds.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Stands before each; empty for the server.
    pub whose: &'static str,
    /// Things done per second.
    pub per_wall: &'static str,
    /// Things done per second of CPU.
    pub per_cpu: &'static str,
}

impl Meter {
    pub fn start(pid: Option<u32>) -> Meter {
        let own = usage(Some(std::process::id()));
        Meter { pid, started: Instant::now(), before: usage(pid), own }
    }

    pub fn stop(&self) -> Spent {
        let wall = self.started.elapsed();
        let both = self.before.zip(usage(self.pid));
        let own = self.own.zip(usage(Some(std::process::id())));
        Spent {
            wall,
            cpu: both.map(|(before, after)| after.cpu_since(&before)),
            rss: both.map(|(before, after)| (before.rss, after.rss)),
            own: own.map(|(before, after)| after.cpu_since(&before)).unwrap_or_default(),
        }
    }
}

impl Spent {
    /// How much of one core this process used.
    pub fn busy(&self) -> f64 {
        self.own.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }

    /// How many of `count` things were done in a second of the server's CPU.
    pub fn per_cpu(&self, count: u64) -> Option<f64> {
        self.cpu.filter(|cpu| !cpu.is_zero()).map(|cpu| per_second(count, cpu))
    }

    /// Rows for `count` things done: wall and CPU time, and how many in a second of each. They are marked when this
    /// process had no time left.
    pub fn rows(&self, report: &mut Report, count: u64, names: Names) {
        let Names { whose, per_wall, per_cpu } = names;
        let named = |name: &str| if whose.is_empty() { name.to_owned() } else { format!("{whose} {name}") };
        report.measured(named("wall"), self.wall.as_secs_f64(), "s");
        report.measured(named(per_wall), per_second(count, self.wall), "");
        if self.busy() > BUSY {
            report.mark();
        }
        if let Some(cpu) = self.cpu {
            let name = if whose.is_empty() { "server CPU".to_owned() } else { format!("{whose} CPU") };
            report.measured(name, cpu.as_secs_f64(), "s");
            report.measured(named(per_cpu), per_second(count, cpu), "");
        }
        report.measured(named("load generator CPU"), self.own.as_secs_f64(), "s");
    }
}

impl Spent {
    /// What both sides used, for what isn't about how much goes through.
    pub fn used(&self, report: &mut Report) {
        report.measured("wall", self.wall.as_secs_f64(), "s");
        if let Some(cpu) = self.cpu {
            report.measured("server CPU", cpu.as_secs_f64(), "s");
        }
        report.measured("load generator CPU", self.own.as_secs_f64(), "s");
        if self.busy() > BUSY {
            report.mark();
        }
    }
}

fn usage(pid: Option<u32>) -> Option<Usage> {
    pid.and_then(|pid| Usage::of(pid).ok())
}

//! How action requests went: totals since the start, and how long the last ones took (CORR-04).

use crate::telemetry::metrics;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Results whose time is remembered.
const RECENT: usize = 1_000;

/// How a request or a result ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// Nobody answered in time.
    Timeout,
    /// Nobody waited any more.
    Withdrawn,
    /// A result that came too late.
    Late,
    /// A result that was there already.
    Duplicate,
    /// A result for which there was no room.
    Overloaded,
}

impl Outcome {
    /// The label of the metric.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Withdrawn => "withdrawn",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Overloaded => "overloaded",
        }
    }
}

/// How long requests took that were answered lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// What is to be seen of action requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionStats {
    /// Requests that are waited for now.
    pub pending: usize,
    pub done: u64,
    pub failed: u64,
    /// Requests that nobody answered in time.
    pub timeouts: u64,
    /// Results that came too late.
    pub late: u64,
    /// Of the last thousand results; none before the first.
    pub latency: Option<Latency>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    stats: ActionStats,
    recent: VecDeque<Duration>,
}

impl Figures {
    /// A result or request ended like this.
    pub(super) fn count(&self, outcome: Outcome) {
        metrics::action_result(outcome.as_str());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Done => kept.stats.done += 1,
            Outcome::Failed => kept.stats.failed += 1,
            Outcome::Timeout => kept.stats.timeouts += 1,
            Outcome::Late => kept.stats.late += 1,
            Outcome::Withdrawn | Outcome::Duplicate | Outcome::Overloaded => {}
        }
    }

    /// From being asked to the result it took so long.
    pub(super) fn took(&self, took: Duration) {
        metrics::action_took(took);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.recent.truncate(RECENT - 1);
        kept.recent.push_front(took);
    }

    /// As it stands, with `pending` that are waited for.
    pub(super) fn stats(&self, pending: usize) -> ActionStats {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent: Vec<Duration> = kept.recent.iter().copied().collect();
        let stats = kept.stats;
        drop(kept);
        recent.sort_unstable();
        let at = |percent: usize| {
            let rank = (recent.len() * percent).div_ceil(100).max(1);
            recent.get(rank - 1).copied()
        };
        let latency = match (at(50), at(90), at(99), recent.last()) {
            (Some(p50), Some(p90), Some(p99), Some(max)) => Some(Latency { p50, p90, p99, max: *max }),
            _ => None,
        };
        ActionStats { pending, latency, ..stats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves CORR-04.
    #[test]
    fn percentiles_are_of_the_last_thousand() {
        let figures = Figures::default();
        assert_eq!(figures.stats(3), ActionStats { pending: 3, ..ActionStats::default() });
        for millis in 1..=2_000 {
            figures.took(Duration::from_millis(millis));
        }
        for outcome in [Outcome::Done, Outcome::Done, Outcome::Failed, Outcome::Timeout, Outcome::Late] {
            figures.count(outcome);
        }
        let stats = figures.stats(0);
        let latency = stats.latency.expect("there were some");
        let millis = [latency.p50, latency.p90, latency.p99, latency.max].map(|took| took.as_millis());
        assert_eq!(millis, [1_500, 1_900, 1_990, 2_000]);
        assert_eq!((stats.done, stats.failed, stats.timeouts, stats.late), (2, 1, 1, 1));
    }
}

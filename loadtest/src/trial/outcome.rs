//! How a trial went.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::check::Violation;

/// Violations beyond this many are counted, not shown.
const SHOWN: usize = 20;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Posts acked.
    pub acked: usize,
    /// Attempts to post, repeats included.
    pub attempts: usize,
    /// Acks that said `duplicate`: the post was stored and its first ack lost.
    pub duplicates: usize,
    /// Connections lost or refused, of posters and listeners.
    pub reconnects: usize,
    /// Connections the listeners dropped on purpose.
    pub drops: usize,
    /// Answers `rate_limited`, `overloaded` or `unavailable`.
    pub asked_to_wait: usize,
    /// Events heard over all listeners.
    pub heard: usize,
    /// Subscriptions answered with a gap.
    pub gaps: usize,
    pub kills: usize,
}

#[derive(Debug, Clone)]
pub struct Outcome {
    pub seed: u64,
    pub tally: Tally,
    pub elapsed: Duration,
    pub violations: Vec<Violation>,
}

impl Outcome {
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(
            f,
            "seed {}: {} posts acked in {} attempts ({} found stored already), {} kills, {} reconnects, {} drops, {} gaps, {} events heard, {:.1} s",
            self.seed,
            tally.acked,
            tally.attempts,
            tally.duplicates,
            tally.kills,
            tally.reconnects,
            tally.drops,
            tally.gaps,
            tally.heard,
            self.elapsed.as_secs_f64()
        )?;
        if self.is_ok() {
            return write!(f, "nothing lost, doubled or out of order");
        }
        write!(f, "{} violations:", self.violations.len())?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n- {violation}")?;
        }
        Ok(())
    }
}

//! How a trial went.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::fault::FaultKind;
use crate::check::Violation;

/// Violations beyond this many are counted, not shown.
const SHOWN: usize = 20;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Posts acked.
    pub acked: usize,
    /// Attempts to post, repeats included.
    pub attempts: usize,
    /// Acks that said `duplicate`: the post was stored and its first ack lost, or it was repeated on purpose.
    pub duplicates: usize,
    /// Other commands that were done.
    pub deeds: usize,
    /// Commands refused for good, as the plan's others made it happen.
    pub refused: usize,
    /// Connections lost or refused.
    pub reconnects: usize,
    /// Connections dropped on purpose.
    pub drops: usize,
    /// Answers `rate_limited`, `overloaded`, `read_only` or `unavailable`.
    pub asked_to_wait: usize,
    /// Events heard over all devices.
    pub heard: usize,
    /// Subscriptions answered with a gap.
    pub gaps: usize,
    /// Subscriptions ended with `room.resync`.
    pub resyncs: usize,
    /// Connections the server closed, by code.
    pub closes: BTreeMap<u16, usize>,
    pub kills: usize,
    /// All faults, kills included.
    pub faults: usize,
}

impl Tally {
    pub(super) fn closed(&mut self, code: u16) {
        *self.closes.entry(code).or_default() += 1;
    }

    pub(super) fn fault(&mut self, kind: FaultKind) {
        self.faults += 1;
        self.kills += usize::from(kind == FaultKind::Kill);
    }
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
        write!(
            f,
            "seed {}: {} posts acked in {} attempts ({} found stored already), {} other commands, {} refused, \
             {} faults ({} kills), {} reconnects, {} drops, {} gaps, {} resyncs, closes {:?}, {} events heard, {:.1} s: ",
            self.seed,
            tally.acked,
            tally.attempts,
            tally.duplicates,
            tally.deeds,
            tally.refused,
            tally.faults,
            tally.kills,
            tally.reconnects,
            tally.drops,
            tally.gaps,
            tally.resyncs,
            tally.closes,
            tally.heard,
            self.elapsed.as_secs_f64()
        )?;
        if self.is_ok() {
            return write!(f, "every promise kept");
        }
        write!(f, "{} violations:", self.violations.len())?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n- {violation}")?;
        }
        Ok(())
    }
}

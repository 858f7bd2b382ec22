//! How long the audit trail is kept, and how it leaves the house.

use super::units::{millis, seconds};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the database itself keeps, in days.
const LEAST_DAYS: u64 = 30;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// How long entries are kept (days); what is older is deleted, a few at a time.
    pub keep_days: u64,
    /// How often what is too old is looked for.
    #[serde(rename = "sweep_s", with = "seconds")]
    pub sweep: Duration,
    /// Entries deleted in one transaction (count); between two of them the commits that wait go first.
    pub sweep_batch: usize,
    /// Exports at a time (count); over it: `overloaded`.
    pub exports: usize,
    /// How long a receiver may take nothing of its export; over it: the export is broken off.
    #[serde(rename = "stall_ms", with = "millis")]
    pub stall: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            keep_days: 400,
            sweep: Duration::from_secs(3600),
            sweep_batch: 500,
            exports: 4,
            stall: Duration::from_secs(60),
        }
    }
}

impl Audit {
    /// How long entries are kept.
    pub fn keep(&self) -> Duration {
        DAY.saturating_mul(u32::try_from(self.keep_days).unwrap_or(u32::MAX))
    }

    /// The first contradiction, as a sentence for the operator.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.keep_days < LEAST_DAYS {
            return Err(format!(
                "audit.keep_days ({}) is less than the {LEAST_DAYS} days that the database keeps by itself: raise it",
                self.keep_days
            ));
        }
        let counts = [("sweep_batch", self.sweep_batch), ("exports", self.exports)];
        let spans = [("sweep_s", self.sweep), ("stall_ms", self.stall)];
        let zero = counts.into_iter().filter(|(_, count)| *count == 0).map(|(key, _)| key);
        let zero =
            zero.chain(spans.into_iter().filter(|(_, span)| *span == Duration::ZERO).map(|(key, _)| key));
        match { zero }.next() {
            Some(key) => Err(format!("audit.{key} is 0: give it at least 1")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_and_contradictions_are_named() {
        assert_eq!(Audit::default().check(), Ok(()));
        assert_eq!(Audit { keep_days: 30, ..Audit::default() }.check(), Ok(()));
        let short = Audit { keep_days: 29, ..Audit::default() };
        assert!(short.check().expect_err("refused").contains("audit.keep_days (29)"));
        let none = Audit { exports: 0, ..Audit::default() };
        assert!(none.check().expect_err("refused").contains("audit.exports"));
        let never = Audit { sweep: Duration::ZERO, ..Audit::default() };
        assert!(never.check().expect_err("refused").contains("audit.sweep_s"));
    }
}

//! How long the audit trail is kept, and how it leaves the house.

use super::units::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the database itself keeps, in days.
const LEAST_DAYS: u64 = 30;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// How long entries are kept (days); what is older goes with the next cleanup, a few at a time.
    pub keep_days: u64,
    /// Exports at a time (count); over it: `overloaded`.
    pub exports: usize,
    /// How long a receiver may take nothing of its export; over it: the export is broken off.
    #[serde(rename = "stall_ms", with = "millis")]
    pub stall: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep_days: 400, exports: 4, stall: Duration::from_secs(60) }
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
        if self.exports == 0 {
            return Err("audit.exports is 0: give it at least 1".to_owned());
        }
        if self.stall.is_zero() {
            return Err("audit.stall_ms is 0: give it at least 1".to_owned());
        }
        Ok(())
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
        let never = Audit { stall: Duration::ZERO, ..Audit::default() };
        assert!(never.check().expect_err("refused").contains("audit.stall_ms"));
    }
}

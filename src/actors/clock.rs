//! The wall clock of the actors. Time that is measured is `tokio::time::Instant`; this is for what is written down.

use crate::domain::Timestamp;
use chrono::Utc;

/// This moment.
pub fn now() -> Timestamp {
    #[cfg(test)]
    if let Some(now) = super::simulation::wall_clock() {
        return now;
    }
    Timestamp::from(Utc::now())
}

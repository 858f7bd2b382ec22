//! When what is over is cleared away.

use super::units::seconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Clearing away (AUTH-11). Nothing hangs on it but space: what is over is refused whether it is still there or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Cleanup {
    /// Between two rounds; 0 is never. The first comes after a random part of it.
    #[serde(rename = "every_s", with = "seconds")]
    pub every: Duration,
    /// How long sessions, refresh tokens, bot keys and invitations are kept after their end, so that whoever still shows one is told what
    /// became of it; afterwards it is as if they had never been.
    #[serde(rename = "keep_s", with = "seconds")]
    pub keep: Duration,
    /// Rows cleared away in one transaction (count); the rest waits for the next, behind the writes that came meanwhile.
    pub batch: usize,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self { every: Duration::from_secs(10 * 60), keep: Duration::from_secs(30 * 24 * 60 * 60), batch: 100 }
    }
}

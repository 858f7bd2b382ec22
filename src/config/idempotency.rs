//! How long a caller's idempotency keys are remembered, and how they are forgotten.

use super::units::seconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Keys of requests that make something (OPT-09). Those of messages are not meant: they are kept as long as the message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Idempotency {
    /// For this long a repeated request gets the original answer.
    #[serde(rename = "keep_s", with = "seconds")]
    pub keep: Duration,
    /// For this long after that it is refused with `idempotency_expired`; then the key is as good as new.
    #[serde(rename = "remember_s", with = "seconds")]
    pub remember: Duration,
    /// How often what is over is cleared away.
    #[serde(rename = "sweep_s", with = "seconds")]
    pub sweep: Duration,
    /// Keys cleared away in one transaction (count); the rest waits for the next, behind the writes that came meanwhile.
    pub sweep_batch: usize,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(24 * 60 * 60),
            remember: Duration::from_secs(7 * 24 * 60 * 60),
            sweep: Duration::from_secs(60),
            sweep_batch: 100,
        }
    }
}

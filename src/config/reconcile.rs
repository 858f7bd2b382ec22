//! How often what is derived is compared with what it is derived from.

use super::units::seconds;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Reconciliation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Reconcile {
    /// Between two checks; 0 is never. The first comes after a random part of it.
    #[serde(rename = "every_s", with = "seconds")]
    pub every: Duration,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { every: Duration::from_secs(3600) }
    }
}

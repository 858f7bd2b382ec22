//! What operators see: log lines and metrics.

pub mod ai;
pub mod catalog;
pub mod errors;
pub mod log;
pub mod metrics;
pub mod process;

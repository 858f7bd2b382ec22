//! The trial: devices of several users on one server, which is mistreated under them, then the checker.

mod acts;
mod belief;
mod command;
mod device;
mod draw;
mod error;
mod fault;
mod feed;
mod identity;
mod options;
mod outcome;
mod plan;
mod run;
mod shared;
mod shrink;
mod stagehand;
mod stay;

pub use error::TrialError;
pub use fault::{Fault, FaultKind};
pub use options::Options;
pub use outcome::{Outcome, Tally};
pub use plan::{Action, Door, Plan, PlannedDevice, PlannedFault, PlannedPost, PlannedRoom, Step};
pub use run::run;
pub use shrink::{Budget, shrink};
pub use stagehand::{DatabaseFaults, Stagehand};

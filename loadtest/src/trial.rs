//! The trial: posters, listeners and a feed reader on one server, which may be killed under them, then the checker.

mod error;
mod feed;
mod identity;
mod listener;
mod outcome;
mod plan;
mod poster;
mod run;
mod shared;

pub use error::TrialError;
pub use outcome::Outcome;
pub use plan::{Burst, Door, Options, Plan, PlannedPost};
pub use run::run;

//! What the `loadtest` binary runs: each scenario takes a world and answers with a report.

pub mod crowd;
pub mod cycles;
pub mod error;
pub mod fanout;
pub mod history;
pub mod idle;
pub mod lookups;
pub mod meter;
pub mod mixed;
pub mod poster;
pub mod posts;
pub mod registry;
pub mod replay;
pub mod rooms;
pub mod search;
pub mod seed;
pub mod slow;
pub mod storm;
pub mod stream;
pub mod trial;

use crate::baseline::Launcher;
use crate::progress::Progress;
use crate::world::World;

pub use error::ScenarioError;
pub use meter::Meter;

/// What every scenario needs.
pub struct Stage {
    pub world: World,
    /// The server process, when its CPU and memory can be read.
    pub pid: Option<u32>,
    pub progress: Progress,
    pub seed: u64,
    /// What the server is compared with.
    pub baseline: Launcher,
}

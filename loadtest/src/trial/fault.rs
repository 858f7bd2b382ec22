//! What is done to the server while the clients are at work.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// `kill -9`, and the same again on the same data.
    Kill,
    /// SIGTERM, the drain, and the same again.
    Restart,
    /// SIGSTOP, and SIGCONT after a while.
    Freeze { ms: u64 },
    /// The wall clock jumps.
    ClockJump { seconds: i64 },
    /// Nothing can be written for a while.
    DiskFull { ms: u64 },
    /// Every fsync takes so long, for a while.
    SlowSync { each_ms: u64, ms: u64 },
    /// The database server crashes and recovers.
    DatabaseRestart,
    /// Every connection to the database is cut.
    DatabaseCut,
}

/// What a fault is, without its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    Kill,
    Restart,
    Freeze,
    ClockJump,
    DiskFull,
    SlowSync,
    DatabaseRestart,
    DatabaseCut,
}

impl Fault {
    pub fn kind(self) -> FaultKind {
        match self {
            Fault::Kill => FaultKind::Kill,
            Fault::Restart => FaultKind::Restart,
            Fault::Freeze { .. } => FaultKind::Freeze,
            Fault::ClockJump { .. } => FaultKind::ClockJump,
            Fault::DiskFull { .. } => FaultKind::DiskFull,
            Fault::SlowSync { .. } => FaultKind::SlowSync,
            Fault::DatabaseRestart => FaultKind::DatabaseRestart,
            Fault::DatabaseCut => FaultKind::DatabaseCut,
        }
    }
}

impl FaultKind {
    /// What can be done to any server of one's own.
    pub const PROCESS: [FaultKind; 3] = [FaultKind::Kill, FaultKind::Restart, FaultKind::Freeze];
    /// What needs the shim below the server.
    pub const SHIM: [FaultKind; 3] = [FaultKind::ClockJump, FaultKind::DiskFull, FaultKind::SlowSync];
    /// What needs the database server's owner.
    pub const DATABASE: [FaultKind; 2] = [FaultKind::DatabaseRestart, FaultKind::DatabaseCut];
}

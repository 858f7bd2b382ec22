//! Whoever does to the server what the plan says, while the clients are at work.

use std::io;
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::TrialError;
use super::fault::{Fault, FaultKind};
use super::plan::PlannedFault;
use super::shared::Shared;
use crate::faults::Faults;
use crate::progress::Progress;
use crate::server::Server;

/// A drain lets requests end; more than this is no drain.
const DRAIN_WITHIN: Duration = Duration::from_secs(40);

/// Restarts the database server, or cuts its connections; returns when it is back.
pub type DatabaseFaults = Box<dyn Fn(FaultKind) -> io::Result<()> + Send + Sync>;

/// A server of one's own, and what can be done to it.
pub struct Stagehand<'a> {
    pub server: &'a mut Server,
    /// The shim the server was started with.
    pub below: Option<&'a Faults>,
    pub database: Option<&'a DatabaseFaults>,
}

impl Stagehand<'_> {
    /// Does each when its moment comes; those that come never are left out.
    pub(super) async fn work(
        &mut self,
        shared: &Shared,
        faults: &[PlannedFault],
        progress: Progress,
    ) -> Result<(), TrialError> {
        let mut done = shared.progress.subscribe();
        for PlannedFault { at, fault } in faults {
            // The sender lives as long as `shared`.
            if done.wait_for(|done| done >= at).await.is_err() {
                return Ok(());
            }
            progress.say(format_args!("{fault:?} at {} steps", *shared.progress.borrow()));
            shared.count(|tally| tally.fault(fault.kind()));
            self.stage(*fault).await?;
        }
        Ok(())
    }

    async fn stage(&mut self, fault: Fault) -> Result<(), TrialError> {
        let cannot = || TrialError::CannotStage(fault);
        match fault {
            Fault::Kill => {
                self.server.kill()?;
                self.server.restart().await?;
            }
            Fault::Restart => {
                self.server.terminate(DRAIN_WITHIN).await?;
                self.server.restart().await?;
            }
            Fault::Freeze { ms } => {
                self.signal("-STOP")?;
                sleep(Duration::from_millis(ms)).await;
                self.signal("-CONT")?;
            }
            Fault::ClockJump { seconds } => {
                let below = self.below.ok_or_else(cannot)?;
                below.clock_offset(seconds.saturating_mul(1_000)).map_err(TrialError::Staging)?;
            }
            Fault::DiskFull { ms } => {
                let below = self.below.ok_or_else(cannot)?;
                below.disk_full(true).map_err(TrialError::Staging)?;
                sleep(Duration::from_millis(ms)).await;
                below.disk_full(false).map_err(TrialError::Staging)?;
            }
            Fault::SlowSync { each_ms, ms } => {
                let below = self.below.ok_or_else(cannot)?;
                below.slow_fsync(Duration::from_millis(each_ms)).map_err(TrialError::Staging)?;
                sleep(Duration::from_millis(ms)).await;
                below.slow_fsync(Duration::ZERO).map_err(TrialError::Staging)?;
            }
            Fault::DatabaseRestart | Fault::DatabaseCut => {
                let database = self.database.ok_or_else(cannot)?;
                // A second of nobody listening on this thread is what a stalled machine does, too.
                database(fault.kind()).map_err(TrialError::Staging)?;
            }
        }
        Ok(())
    }

    fn signal(&self, name: &str) -> Result<(), TrialError> {
        let Some(pid) = self.server.pid() else { return Ok(()) };
        Command::new("kill").args([name, &pid.to_string()]).status().map(drop).map_err(TrialError::Staging)
    }
}

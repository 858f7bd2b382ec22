//! `hearth migrate`: the schema, forward, backward, and compared.

use crate::config::Config;
use crate::storage::migrate;
use clap::Subcommand;
use std::process::ExitCode;

/// What to do with the schema.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Step {
    /// Apply what is missing.
    Run,
    /// Take the last migration back.
    Revert,
    /// Compare database and program; fails when they differ.
    Status,
}

pub(super) fn run(step: Step, config: &Config) -> Result<ExitCode, String> {
    let options = config.storage.options();
    match step {
        Step::Run => {
            let applied = migrate::run(&options).map_err(|error| error.to_string())?;
            if applied.is_empty() {
                println!("nothing to do");
            }
            applied.iter().for_each(|version| println!("applied {version}"));
            Ok(ExitCode::SUCCESS)
        }
        Step::Revert => {
            let version = migrate::revert(&options).map_err(|error| error.to_string())?;
            println!("reverted {version}");
            Ok(ExitCode::SUCCESS)
        }
        Step::Status => {
            let status = migrate::status(&options).map_err(|error| error.to_string())?;
            status.applied.iter().for_each(|version| println!("applied {version}"));
            status.pending.iter().for_each(|version| println!("pending {version}"));
            status.differences.iter().for_each(|difference| println!("differs {difference}"));
            let is_current = status.pending.is_empty() && status.differences.is_empty();
            Ok(if is_current { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

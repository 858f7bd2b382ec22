//! `hearth verify`: whether what is derived is what it is derived from, while the server is down on SQLite.

use crate::config::Config;
use crate::protocol::payload;
use crate::storage::{Finding, Store, migrate};
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct VerifyFlags {
    /// Derive anew what has drifted; what can't be derived is only told.
    #[arg(long)]
    repair: bool,
}

pub(super) fn run(verify: VerifyFlags, config: &Config) -> Result<ExitCode, String> {
    let said = |error: crate::storage::StoreError| error.to_string();
    let options = config.storage.options();
    // Opening the store would bring it up to date; checking changes nothing unless asked to.
    if !migrate::status(&options).map_err(said)?.pending.is_empty() {
        return Err("the schema is not up to date: `hearth migrate run` first".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let store = Store::open(options, payload::encode).map_err(said)?;
    let findings = runtime.block_on(store.reconcile(verify.repair));
    runtime.block_on(store.close());
    let findings = findings.map_err(said)?;
    println!("{:<10} {:>8} {:>8}  examples", "kind", "found", "repaired");
    for Finding { kind, found, repaired, examples } in &findings {
        let examples = examples.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
        println!("{:<10} {found:>8} {repaired:>8}  {examples}", kind.as_str());
    }
    let is_sound = findings.iter().all(|finding| finding.found == finding.repaired);
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

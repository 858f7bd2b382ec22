//! The trial as a scenario: `verify` without kills on any server, `crash` with kills on one of our own.

use serde_json::to_value;

use super::{ScenarioError, Stage};
use crate::report::Report;
use crate::server::Server;
use crate::trial::{self, Options, Outcome};

/// Runs the trial; whether the promises were kept is in the outcome.
pub async fn run(
    stage: &Stage,
    options: &Options,
    server: Option<&mut Server>,
) -> Result<(Report, Outcome), ScenarioError> {
    let name = if options.kills > 0 { "crash" } else { "verify" };
    let outcome = trial::run(&stage.world, options, server, stage.progress).await?;
    let mut report = Report::new(name, options.seed);
    if let Ok(serde_json::Value::Object(tally)) = to_value(&outcome.tally) {
        for (row, field) in ROWS {
            report.row(row, tally.get(field).cloned().unwrap_or_default(), "");
        }
    }
    report.measured("wall", outcome.elapsed.as_secs_f64(), "s");
    report.row("violations", outcome.violations.len(), "");
    Ok((report, outcome))
}

const ROWS: [(&str, &str); 9] = [
    ("acked posts", "acked"),
    ("attempts", "attempts"),
    ("found stored already", "duplicates"),
    ("kills", "kills"),
    ("reconnects", "reconnects"),
    ("connections dropped on purpose", "drops"),
    ("asked to wait", "asked_to_wait"),
    ("events heard", "heard"),
    ("gaps", "gaps"),
];

//! `loadtest crash`: random plans by seed, a saved plan again, a failing plan made smaller.

use std::io::{self, Write};
use std::path::Path;

use loadtest::progress::Progress;
use loadtest::scenario::ScenarioError;
use loadtest::scenario::trial::{self as scenario, Ground};
use loadtest::trial::{self, Budget, Plan};

use crate::args::{Crash, Target};

/// True when no plan broke a promise. (While shrinking: when nothing failed any more.)
pub(crate) async fn play(
    crash: &Crash,
    target: &Target,
    binary: &Path,
    progress: Progress,
) -> Result<bool, ScenarioError> {
    let mut ground = Ground::sqlite(binary);
    ground.args.clone_from(&target.server_args);
    ground.shim = !crash.no_shim;
    ground.database = target.database.clone().map(scenario::fresh_databases);
    if let (Some(pg_ctl), Some(data)) = (&crash.pg_ctl, &crash.pg_data) {
        ground.database_faults = Some(scenario::database_faults(pg_ctl.clone(), data.clone()));
    }
    if let Some(path) = &crash.shrink {
        return shrink(crash, &ground, path, progress).await;
    }
    if let Some(path) = &crash.plan {
        let plan = scenario::load(path)?;
        return one(&ground, &plan, None, target.json, progress).await;
    }
    let options = crash.options(target);
    let seeds = crash.seeds.clone().unwrap_or(target.seed..=target.seed);
    let (mut kept, mut broken) = (0_u64, Vec::new());
    for seed in seeds {
        let plan = ground.plan(&trial::Options { seed, ..options.clone() });
        let path = crash.save.join(format!("seed-{seed}.json"));
        match one(&ground, &plan, Some(&path), target.json, progress).await? {
            true => kept += 1,
            false => broken.push(seed),
        }
    }
    say(format_args!("{kept} of {} plans kept every promise; broken: {broken:?}", kept + count(&broken)));
    Ok(broken.is_empty())
}

/// Runs one plan and says in a line what came of it. A plan that fails is saved.
async fn one(
    ground: &Ground,
    plan: &Plan,
    path: Option<&Path>,
    json: bool,
    progress: Progress,
) -> Result<bool, ScenarioError> {
    let kept = match ground.run(plan, progress).await {
        Ok(outcome) if json => {
            let mut line = Vec::new();
            // A report is made of plain values; writing to memory can't fail.
            drop(scenario::report("crash", &outcome).write_json(&mut line));
            say(format_args!("{}", String::from_utf8_lossy(&line).trim_end()));
            outcome.is_ok()
        }
        Ok(outcome) => {
            say(format_args!("{outcome}"));
            outcome.is_ok()
        }
        Err(error) if error.is_ours() => return Err(error),
        Err(error) => {
            say(format_args!("seed {}: {error}", plan.options.seed));
            false
        }
    };
    if let (Some(path), false) = (path, kept) {
        scenario::save(plan, path)?;
        say(format_args!("saved as {}", path.display()));
    }
    Ok(kept)
}

async fn shrink(
    crash: &Crash,
    ground: &Ground,
    path: &Path,
    progress: Progress,
) -> Result<bool, ScenarioError> {
    let plan = scenario::load(path)?;
    let budget = Budget { runs: crash.runs, each: crash.each };
    let mut failed = 0;
    let mut cannot = None;
    let fails = async |plan: &Plan| {
        // What can't be staged fails for no fault of the server's: nothing is learnt from it.
        let good = cannot.is_some()
            || match ground.run(plan, Progress::silent()).await {
                Ok(outcome) => outcome.is_ok(),
                Err(error) if error.is_ours() => {
                    cannot = Some(error);
                    true
                }
                Err(_) => false,
            };
        failed += usize::from(!good);
        progress.say(format_args!(
            "{} steps and {} faults: {}",
            plan.weight(),
            plan.faults.len(),
            if good { "good" } else { "fails" }
        ));
        !good
    };
    let (smallest, runs) = trial::shrink(&plan, budget, fails).await;
    if let Some(error) = cannot {
        return Err(error);
    }
    let to = path.with_extension("small.json");
    scenario::save(&smallest, &to)?;
    say(format_args!(
        "from {} steps and {} faults to {} and {} in {runs} runs, {failed} of which failed: {}",
        plan.weight(),
        plan.faults.len(),
        smallest.weight(),
        smallest.faults.len(),
        to.display()
    ));
    Ok(failed == 0)
}

fn say(what: std::fmt::Arguments<'_>) {
    // The exit code says it too.
    drop(writeln!(io::stdout(), "{what}"));
}

fn count(seeds: &[u64]) -> u64 {
    u64::try_from(seeds.len()).unwrap_or(u64::MAX)
}

//! Mistreated in the middle of everything: what was acked is there, once, in order, for everybody.

use crate::harness::{Ground, binary, on_both};
use crate::postgres;
use loadtest::progress::Progress;
use loadtest::scenario::trial as scenario;
use loadtest::trial::{FaultKind, Options, Plan};
use std::ops::RangeInclusive;

/// Where the trials' servers stand.
fn stage(ground: Ground) -> scenario::Ground {
    let mut stage = scenario::Ground::sqlite(binary());
    if ground == Ground::Postgres {
        stage.database = Some(Box::new(|| Ok(postgres::database())));
    }
    stage
}

on_both!(
    /// The seed comes from `SEED`; a failure prints it.
    ///
    /// Proves CONN-09, OPT-04, OPT-11, OPT-13, DB-10.
    five_kills_lose_nothing_double_nothing_reorder_nothing,
    async |ground| {
        let seed = seeds(7..=7);
        let options = Options { seed: *seed.start(), ..Options::kills() };
        let stage = stage(ground);
        let plan = stage.fit(Plan::new(&options));
        assert_eq!((plan.posts(), plan.faults.len()), (5_000, 5));
        let outcome = stage.run(&plan, Progress::silent()).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("SEED={}: {error}", options.seed));
        assert_eq!(outcome.tally.kills, 5);
        assert!(outcome.is_ok(), "{outcome}");
    }
);

/// A bounded share of the random plans: `SEED=n` replays one, `SEEDS=a..b` runs a range.
///
/// Proves TEST-05.
#[tokio::test]
async fn random_plans_break_no_promise_on_sqlite() {
    let stage = stage(Ground::Sqlite);
    assert!(FaultKind::SHIM.iter().all(|kind| stage.kinds().contains(kind)));
    all(&stage, seeds(1..=6)).await;
}

/// The same, with the database server crashing, too: it is this test's own.
///
/// Proves TEST-05.
#[tokio::test]
async fn random_plans_break_no_promise_on_postgres() {
    let cluster = postgres::Cluster::of_its_own();
    let database = std::sync::Arc::new(cluster);
    let faulty = std::sync::Arc::clone(&database);
    let mut stage = stage(Ground::Postgres);
    stage.database = Some(Box::new(move || Ok(database.database())));
    stage.database_faults = Some(Box::new(move |kind| {
        match kind {
            FaultKind::DatabaseRestart => faulty.crash(),
            _ => faulty.cut(),
        }
        Ok(())
    }));
    all(&stage, seeds(1..=3)).await;
}

/// Runs each seed; a plan that fails is saved beside the other temporary files.
async fn all(stage: &scenario::Ground, seeds: RangeInclusive<u64>) {
    for seed in seeds {
        let plan = stage.plan(&Options { seed, ..Options::default() });
        let saved = || {
            let path = std::env::temp_dir().join(format!("hearth-plan-{seed}.json"));
            scenario::save(&plan, &path)
                .map_or_else(|error| error.to_string(), |()| path.display().to_string())
        };
        match stage.run(&plan, Progress::silent()).await {
            Ok(outcome) if outcome.is_ok() => println!("{outcome}"),
            Ok(outcome) => panic!("{outcome}\nthe plan: {}", saved()),
            Err(error) => panic!("SEED={seed}: {error}\nthe plan: {}", saved()),
        }
    }
}

/// What `SEED` or `SEEDS` says, or the usual ones.
fn seeds(usual: RangeInclusive<u64>) -> RangeInclusive<u64> {
    let variable = |name| std::env::var(name).ok();
    let one = variable("SEED").and_then(|seed| seed.parse().ok());
    let range = variable("SEEDS").and_then(|range| {
        let (first, last) = range.split_once("..")?;
        Some(first.parse().ok()?..=last.trim_start_matches('=').parse().ok()?)
    });
    one.map(|seed| seed..=seed).or(range).unwrap_or(usual)
}

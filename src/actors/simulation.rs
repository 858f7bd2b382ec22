//! The whole core in one thread: connections, hub, rooms, sequencer and presence as they are, on a paused clock and a store that
//! fails when the seed wants it. A seed draws everything that happens; afterwards every client holds what the store has, and
//! nothing is left behind. `SEED=7` runs one, `SEEDS=1..5000` a range.

mod device;
mod house;
mod plan;
mod verdict;

pub(crate) use house::{Ground, House};

use crate::domain::Timestamp;
use std::cell::Cell;
use tokio::time::Instant;

thread_local! {
    /// When the simulation of this thread began.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Who fails, after how many more pieces of work.
    static FAILING: Cell<Option<(&'static str, u32)>> = const { Cell::new(None) };
}

/// The wall clock of a simulation; none outside of one.
pub(super) fn wall_clock() -> Option<Timestamp> {
    const EPOCH: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    BEGAN.get().map(|began| EPOCH.after(began.elapsed()))
}

/// A place where an actor may fail: it does when the seed says so.
pub(super) fn may_fail(actor: &'static str) {
    match FAILING.get() {
        Some((failing, 0)) if failing == actor => {
            FAILING.set(None);
            // Without the panic hook: it is meant.
            std::panic::resume_unwind(Box::new("simulated"));
        }
        Some((failing, left)) if failing == actor => FAILING.set(Some((failing, left - 1))),
        _ => {}
    }
}

/// With `TRACE` set, what happens is told.
fn trace(what: impl FnOnce() -> String) {
    if std::env::var_os("TRACE").is_some() {
        eprintln!("{}", what());
    }
}

/// The seeds to run.
fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    if let Ok(seed) = std::env::var("SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match std::env::var("SEEDS") {
        Ok(range) => {
            let (first, last) = range.split_once("..").expect("SEEDS=first..last");
            number(first)..number(last) + 1
        }
        Err(_) => usual,
    }
}

/// Proves CONN-01, CONN-09, OPT-02, DB-10, TYPE-05.
#[test]
fn every_seed_ends_in_one_history_and_leaves_nothing() {
    let ground = house::Ground::new();
    for seed in seeds(0..400) {
        let lived = ground.run(seed, |house| async move {
            let (mut house, plan) = (house, plan::Plan::new(seed));
            house.carry_out(&plan).await;
            house.come_to_rest().await;
            verdict::judge(&house).await;
            house.leave().await;
            verdict::nothing_is_left(&house);
        });
        assert!(lived.is_ok(), "SEED={seed}");
    }
}

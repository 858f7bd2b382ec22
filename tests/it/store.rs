//! The contract of the store: every test runs on SQLite and on PostgreSQL (DB-06).
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod actions;
mod asking;
mod audit;
mod bench;
mod drift;
mod expand;
mod interleaving;
mod keys;
mod log;
mod messages;
mod million;
mod model;
mod outage;
mod outbox;
mod people;
mod plans;
mod posting;
mod remains;
mod rooms;
mod run_model;
mod runs;
mod schema;
mod search;
mod sessions;
mod settings;
mod spending;
mod standing;
mod summaries;
mod tokens;
mod transfers;
mod units;

use bench::Bench;

/// Two tests of each contract, an `async fn(Bench)`: one per database.
macro_rules! contracts {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                crate::store::run(crate::store::Bench::on_sqlite(), super::$name);
            }

            #[test]
            fn postgres() {
                crate::store::run(crate::store::Bench::on_postgres(), super::$name);
            }
        }
    )+};
}
use contracts;

/// Few enough for a test to occupy them all.
const BLOCKING_THREADS: usize = 4;

fn run<F: Future<Output = ()>>(bench: Bench, contract: impl FnOnce(Bench) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build().expect("a runtime");
    runtime.block_on(contract(bench));
}

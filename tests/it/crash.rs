//! Killed again and again in the middle of everything: what was acked is there, once, in order, for everybody.

use crate::harness::{Ground, binary, on_both};
use crate::postgres;
use loadtest::progress::Progress;
use loadtest::server::Server;
use loadtest::world::{Admin, World};
use loadtest::{server, trial};
use tempfile::TempDir;

on_both!(
    /// The seed comes from `SEED`; a failure prints it.
    ///
    /// Proves CONN-09, OPT-04, OPT-11, OPT-13, DB-10.
    five_kills_lose_nothing_double_nothing_reorder_nothing,
    async |ground| {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        let dir = TempDir::new().expect("a temporary directory");
        let mut options = server::Options::new(binary(), dir.path().join("data"));
        if ground == Ground::Postgres {
            options.database_url = Some(postgres::database());
        }
        let mut server = Server::start(options).await.expect("starts");
        let options = trial::Options { seed, ..trial::Options::default() };
        assert_eq!((options.clients, options.rooms, options.messages, options.kills), (20, 10, 5_000, 5));
        let world = World::open(&server.url(), &Admin::default()).await.expect("the account is set up");
        let outcome = trial::run(&world, &options, Some(&mut server), Progress::silent()).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("SEED={seed}: {error}\n{}", server.log_tail()));
        assert_eq!(outcome.tally.kills, 5);
        assert!(outcome.is_ok(), "SEED={seed}: {outcome}");
    }
);

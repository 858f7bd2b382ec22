//! What fails below and beside the server: disk, lock, database server, receivers of webhooks. Each ends in a defined
//! answer, nothing acked is lost, and the server goes on by itself once it can.

mod courier;
mod disk;
mod drift;
mod outage;
mod receiver;
mod replies;

use crate::harness::{House, binary};
use loadtest::faults::Faults;
use loadtest::server::{Options, Server};
use std::path::PathBuf;
use tempfile::TempDir;

/// A house on SQLite whose disk and clock can fail.
struct Frail {
    house: House,
    faults: Faults,
    /// The database file.
    file: PathBuf,
}

impl Frail {
    async fn open(args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let data = dir.path().join("data");
        let faults = Faults::new(&data).expect("the shim compiles");
        let mut options = Options::new(binary(), &data);
        options.args = args.iter().map(|&arg| arg.to_owned()).collect();
        options.env = faults.env();
        let server = Server::start(options).await.expect("the server starts");
        Self { house: House::furnished(server, dir).await, faults, file: data.join("hearth.db") }
    }
}

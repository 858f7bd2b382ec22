//! Too much of everything: limits, levels of load, closing, leaving. `cargo test --test it overload` runs it alone.

mod closing;
mod draining;
mod levels;
mod rates;
mod sizes;
mod sockets;

use crate::harness::{House, PATIENCE};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use std::time::{Duration, Instant};

/// Somebody else's connection that keeps the store from writing, until it is dropped. Reading goes on.
pub(crate) enum Hand {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Hand {
    /// Takes what every commit needs.
    pub(crate) fn on_the_log(house: &House) -> Self {
        let mut hand = Self::beside(house);
        match &mut hand {
            Self::Postgres(conn) => conn.batch_execute("BEGIN; SELECT * FROM log_head FOR UPDATE"),
            Self::Sqlite(conn) => conn.batch_execute("BEGIN IMMEDIATE"),
        }
        .expect("takes the lock");
        hand
    }

    /// A connection of our own to the house's database.
    pub(crate) fn beside(house: &House) -> Self {
        let options = house.server.options();
        match &options.database_url {
            Some(url) => Self::Postgres(PgConnection::establish(url).expect("connects")),
            None => {
                let path = options.data_dir.join("hearth.db");
                let mut conn = SqliteConnection::establish(&path.display().to_string()).expect("opens");
                conn.batch_execute("PRAGMA busy_timeout = 20000").expect("patient");
                Self::Sqlite(conn)
            }
        }
    }

    /// Runs statements.
    pub(crate) fn run(&mut self, sql: &str) {
        match self {
            Self::Postgres(conn) => conn.batch_execute(sql),
            Self::Sqlite(conn) => conn.batch_execute(sql),
        }
        .expect("runs");
    }
}

/// Waits for something that has to become true.
pub(crate) async fn becomes(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} does not become true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

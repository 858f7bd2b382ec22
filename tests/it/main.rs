//! The integration tests, one binary: the real server over real sockets, on SQLite and on PostgreSQL.

mod harness;
mod postgres;
mod raw;
mod store;
mod tidy;

mod coordination;
mod crash;
mod hostile;

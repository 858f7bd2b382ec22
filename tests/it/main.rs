//! The integration tests, one binary: the real server over real sockets, on SQLite and on PostgreSQL.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "an expectation that fails is a failed test"
)]

mod harness;
mod postgres;
mod raw;
mod store;
mod tidy;
mod traceability;

mod ai;
mod browser;
mod coordination;
mod crash;
mod engine;
mod faults;
mod hostile;
mod loads;
mod overload;
mod people;
mod policy;
mod rest;

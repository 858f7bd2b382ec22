//! The REST door, the command line, and what operators see: the real binary from outside.

mod assets;
mod audit;
mod audited;
mod bot_keys;
mod bots;
pub(crate) mod caller;
mod cli;
mod committed;
mod contract;
mod counted;
mod doors;
mod entering;
mod fuzzed;
mod gone;
mod guarded;
mod hardened;
mod history;
mod keys;
mod metrics;
mod named_secrets;
mod ops_view;
mod origins;
pub(crate) mod place;
mod polling;
mod problems;
mod proxies;
mod rooms;
mod searching;
mod secrets;
mod sessions;
mod signing_keys;
mod tokens;
mod transfers;
mod watching;

pub(crate) use caller::Caller;

//! The two pure parts of the server, linked here to be compiled by themselves: so the instrumented build takes seconds.

pub mod domain;
pub mod protocol;

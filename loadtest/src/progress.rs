//! What a long run says meanwhile, on standard error or not at all.

use std::fmt;
use std::io::Write;
use std::time::Instant;

#[derive(Debug, Clone, Copy)]
pub struct Progress {
    since: Option<Instant>,
}

impl Progress {
    /// Lines on standard error, with the seconds since now.
    pub fn stderr() -> Progress {
        Progress { since: Some(Instant::now()) }
    }

    pub fn silent() -> Progress {
        Progress { since: None }
    }

    pub fn say(&self, what: impl fmt::Display) {
        if let Some(since) = self.since {
            // A closed standard error must not end a run.
            drop(writeln!(std::io::stderr(), "{:8.2} s  {what}", since.elapsed().as_secs_f64()));
        }
    }
}

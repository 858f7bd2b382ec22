//! Requests one after the other, each timed to the end of its answer and then looked at.

use std::time::Duration;

use tokio::time::Instant;

use super::ScenarioError;
use crate::client::{Client, MessagePage};
use crate::report::Report;
use crate::stats::{Latencies, millis};

/// Requests before the measuring begins.
const WARM: usize = 5;

/// One kind of request.
pub struct Kind {
    pub name: String,
    latencies: Latencies,
    /// Answers that weren't what they have to be.
    wrong: u64,
}

impl Kind {
    pub fn new(name: &str) -> Kind {
        Kind { name: name.to_owned(), latencies: Latencies::default(), wrong: 0 }
    }

    pub fn record(&mut self, took: Duration, right: bool) {
        self.latencies.record(took);
        self.wrong += u64::from(!right);
    }

    pub fn wrong(&self) -> u64 {
        self.wrong
    }

    /// Makes `samples` requests, the nth with what `query` says, and looks at each answer.
    pub async fn ask(
        &mut self,
        reader: &Client,
        samples: usize,
        mut query: impl FnMut() -> (String, Vec<(&'static str, String)>),
        right: impl Fn(&MessagePage) -> bool,
    ) -> Result<(), ScenarioError> {
        for sample in 0..samples + WARM {
            let (path, query) = query();
            let since = Instant::now();
            let bytes = reader.bytes(&path, &query).await?;
            let took = since.elapsed();
            let page = serde_json::from_slice(&bytes).is_ok_and(|page| right(&page));
            if sample >= WARM {
                self.record(took, page);
            }
        }
        Ok(())
    }

    pub fn rows(&self, report: &mut Report) {
        for (percent, name) in [(50, "p50"), (99, "p99"), (100, "max")] {
            report.measured(
                format!("{} {name}", self.name),
                millis(self.latencies.percentile(percent)),
                "ms",
            );
        }
        if self.wrong > 0 {
            report.row(format!("{} wrong", self.name), self.wrong, "");
        }
    }
}

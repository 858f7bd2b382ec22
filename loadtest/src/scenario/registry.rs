//! The server's own counts, read from its metrics as an operator would.

use std::time::Duration;

use super::ScenarioError;
use crate::report::Report;
use crate::stats::millis;

/// The samples of one scrape, as text.
pub struct Scrape(String);

impl Scrape {
    /// Reads `/metrics` of the server at `url`.
    pub async fn of(url: &str) -> Result<Scrape, ScenarioError> {
        let failed = |error: reqwest::Error| ScenarioError::Refused(format!("/metrics: {error}"));
        let response =
            reqwest::get(format!("{}/metrics", url.trim_end_matches('/'))).await.map_err(failed)?;
        let response = response.error_for_status().map_err(failed)?;
        Ok(Scrape(response.text().await.map_err(failed)?))
    }

    /// The sum of a metric's samples whose labels contain `labels`.
    pub fn sum(&self, name: &str, labels: &str) -> f64 {
        self.samples(name).filter(|(line, _)| line.contains(labels)).map(|(_, value)| value).sum()
    }

    /// The registries that aren't empty, with their entries.
    pub fn occupied(&self) -> Vec<String> {
        let registries = self.samples("hearth_registry_entries");
        registries.filter(|(_, value)| *value > 0.0).map(|(line, _)| line.to_owned()).collect()
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let lines = self.0.lines().filter(move |line| line.split(['{', ' ']).next() == Some(name));
        lines.filter_map(|line| Some((line, line.rsplit(' ').next()?.parse().ok()?)))
    }
}

/// The transactions of a span of time.
pub struct Commits {
    /// The upper end of each bucket in seconds, and how many took at most so long.
    buckets: Vec<(f64, f64)>,
    count: f64,
    seconds: f64,
    commands: f64,
}

impl Commits {
    pub fn between(before: &Scrape, after: &Scrape) -> Commits {
        let grown = |name| after.sum(name, "") - before.sum(name, "");
        let name = "hearth_commit_seconds_bucket";
        let buckets = after.samples(name).filter_map(|(line, value)| {
            let mut earlier = before.samples(name);
            let earlier = earlier.find(|(earlier, _)| bound(earlier) == bound(line));
            Some((bound(line)?, value - earlier.map_or(0.0, |(_, value)| value)))
        });
        Commits {
            buckets: buckets.collect(),
            count: grown("hearth_commit_seconds_count"),
            seconds: grown("hearth_commit_seconds_sum"),
            commands: grown("hearth_commit_commands_sum"),
        }
    }

    /// In seconds, in even steps within its bucket; none when there was no commit.
    fn percentile(&self, percent: f64) -> Option<f64> {
        let rank = self.count * percent / 100.0;
        let (mut below, mut from) = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank && count > below {
                let share = (rank - below) / (count - below);
                return Some(if bound.is_finite() { from + (bound - from) * share } else { from });
            }
            (below, from) = (count, bound);
        }
        None
    }

    /// None when there was no commit.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0.0).then(|| Duration::from_secs_f64((self.seconds / self.count).max(0.0)))
    }

    /// How long transactions took and how much each held.
    pub fn rows(&self, report: &mut Report) {
        if let Some(mean) = self.mean() {
            report.measured("commit mean", millis(mean), "ms");
            report.measured("commands per commit", self.commands / self.count, "");
        }
        for (percent, name) in [(50.0, "commit p50"), (99.0, "commit p99")] {
            if let Some(seconds) = self.percentile(percent) {
                report.measured(name, seconds * 1000.0, "ms");
            }
        }
    }
}

/// The `le` of a bucket's line.
fn bound(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("le=\"")?;
    match rest.split_once('"')?.0 {
        "+Inf" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_those_between_two_looks() {
        let scrape = |one: u32, two: u32, all: u32, seconds: f64| {
            Scrape(format!(
                "hearth_commit_seconds_bucket{{le=\"0.001\"}} {one}\nhearth_commit_seconds_bucket{{le=\"0.002\"}} {two}\n\
                 hearth_commit_seconds_bucket{{le=\"+Inf\"}} {all}\nhearth_commit_seconds_sum {seconds}\n\
                 hearth_commit_seconds_count {all}\nhearth_commit_commands_sum {}\n",
                all * 3
            ))
        };
        let commits = Commits::between(&scrape(10, 10, 10, 1.0), &scrape(10, 110, 110, 1.2));
        let at = |percent| commits.percentile(percent).unwrap();
        assert!((at(50.0) - 0.0015).abs() < 1e-9 && (at(100.0) - 0.002).abs() < 1e-9);
        assert!((commits.commands / commits.count - 3.0).abs() < 1e-9);
        let slow = Commits::between(&scrape(0, 0, 0, 0.0), &scrape(0, 0, 4, 9.0));
        assert!((slow.percentile(99.0).unwrap() - 0.002).abs() < 1e-9);
        assert_eq!(Commits::between(&scrape(1, 1, 1, 1.0), &scrape(1, 1, 1, 1.0)).percentile(50.0), None);
    }

    #[test]
    fn samples_are_summed_and_full_registries_named() {
        let text = "a_total{code=\"x\"} 2\na_total{code=\"y\"} 3\nab_total 9\n\
                    hearth_registry_entries{registry=\"peers\"} 0\nhearth_registry_entries{registry=\"typing\"} 1\n";
        let scrape = Scrape(text.to_owned());
        assert!((scrape.sum("a_total", "") - 5.0).abs() < 0.1);
        assert!((scrape.sum("a_total", "\"y\"") - 3.0).abs() < 0.1);
        assert_eq!(scrape.occupied(), ["hearth_registry_entries{registry=\"typing\"} 1"]);
    }
}

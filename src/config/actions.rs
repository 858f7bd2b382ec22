//! How long action requests are waited for, and how many there may be.

use super::units::{millis, seconds};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Action requests: what programs ask people's clients to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Actions {
    /// How long one is waited for that says nothing of it; then it is `expired`, and whoever waits gets `request_timeout`.
    #[serde(rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
    /// The shortest that may be asked for; less is refused: nobody answers so fast, and none of it would count as open.
    #[serde(rename = "timeout_min_ms", with = "millis")]
    pub timeout_min: Duration,
    /// The longest that may be asked for; more is refused.
    #[serde(rename = "timeout_max_ms", with = "millis")]
    pub timeout_max: Duration,
    /// The longest that `POST /actions?wait=` holds its answer back.
    #[serde(rename = "wait_s", with = "seconds")]
    pub wait: Duration,
    /// Requests of one user that may be open (count); one more is `overloaded`. A fifth of them is for what assistants ask.
    pub per_user: usize,
    /// Open requests of all users together (count); one more is `overloaded`. A fifth of them is for what assistants ask.
    pub pending_max: usize,
    /// Open requests that one requester made (count); one more is `overloaded`.
    pub per_requester: usize,
    /// Open requests that one requester made of one user (count); one more is `overloaded`.
    pub per_pair: usize,
    /// Results that may wait to be stored (count), over all users; one more is `overloaded`.
    pub results: usize,
    /// How often it is looked whether another process made or ended requests, where several may work on one database.
    #[serde(rename = "poll_ms", with = "millis")]
    pub poll: Duration,
    /// How long a request can be asked after once it has ended; then `cleanup` takes it away.
    #[serde(rename = "keep_s", with = "seconds")]
    pub keep: Duration,
}

impl Default for Actions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            timeout_min: Duration::from_secs(1),
            timeout_max: Duration::from_secs(5 * 60),
            wait: Duration::from_secs(60),
            per_user: 100,
            pending_max: 1_000,
            per_requester: 100,
            per_pair: 20,
            results: 64,
            poll: Duration::from_secs(1),
            keep: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Actions {
    /// The first contradiction, as a sentence for the operator.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            ("per_user", self.per_user),
            ("pending_max", self.pending_max),
            ("per_requester", self.per_requester),
            ("per_pair", self.per_pair),
            ("results", self.results),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(format!("actions.{key} is 0: give it at least 1"));
        }
        if self.poll.is_zero() {
            return Err("actions.poll_ms is 0: give it at least 1".into());
        }
        if self.timeout.is_zero() || self.timeout > self.timeout_max {
            return Err(format!(
                "actions.timeout_ms ({}) has to be between 1 and actions.timeout_max_ms ({}): change one of them",
                self.timeout.as_millis(),
                self.timeout_max.as_millis()
            ));
        }
        if self.timeout_min.is_zero() || self.timeout_min > self.timeout_max {
            return Err(format!(
                "actions.timeout_min_ms ({}) has to be between 1 and actions.timeout_max_ms ({}): change one of them",
                self.timeout_min.as_millis(),
                self.timeout_max.as_millis()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_and_contradictions_are_named() {
        assert_eq!(Actions::default().check(), Ok(()));
        let none = Actions { results: 0, ..Actions::default() };
        assert!(none.check().expect_err("refused").contains("actions.results"));
        let ceaseless = Actions { poll: Duration::ZERO, ..Actions::default() };
        assert!(ceaseless.check().expect_err("refused").contains("actions.poll_ms"));
        let long = Actions { timeout: Duration::from_secs(600), ..Actions::default() };
        assert!(long.check().expect_err("refused").contains("actions.timeout_ms"));
        let least = Actions { timeout_min: Duration::from_secs(600), ..Actions::default() };
        assert!(least.check().expect_err("refused").contains("actions.timeout_min_ms"));
    }
}

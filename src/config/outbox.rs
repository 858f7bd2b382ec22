//! What is delivered outside: how hard the courier tries, and when it gives up.

use super::units::{millis, seconds};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Deliveries of webhooks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Outbox {
    /// Deliveries at a time (count); the rest waits.
    pub workers: usize,
    /// Deliveries that wait (count); over it: new ones become dead letters at once, no message is refused.
    pub rows_max: usize,
    /// Dead letters that are kept (count); over it: the oldest go.
    pub dead_max: usize,
    /// Attempts per delivery (count); after the last: a dead letter.
    pub attempts: u32,
    /// How old a delivery may grow; over it: a dead letter.
    #[serde(rename = "age_s", with = "seconds")]
    pub age: Duration,
    /// The most that is waited before the second attempt, at random; each further one doubles it.
    #[serde(rename = "backoff_ms", with = "millis")]
    pub backoff: Duration,
    /// The most that is waited before any attempt, also when the receiver asks for more.
    #[serde(rename = "backoff_max_s", with = "seconds")]
    pub backoff_max: Duration,
    /// For the connection; over it: tried again.
    #[serde(rename = "connect_timeout_ms", with = "millis")]
    pub connect_timeout: Duration,
    /// For the whole exchange; over it: tried again.
    #[serde(rename = "timeout_ms", with = "millis")]
    pub timeout: Duration,
    /// Bytes of an answer that are read; the rest is not.
    pub reply_bytes: usize,
    /// How long a delivery belongs to the process that took it; over it (the process died): anybody's.
    #[serde(rename = "lease_s", with = "seconds")]
    pub lease: Duration,
    /// How often to look for what other nodes left or was put off, when nothing wakes the courier.
    #[serde(rename = "poll_ms", with = "millis")]
    pub poll: Duration,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            workers: 8,
            rows_max: 10_000,
            dead_max: 10_000,
            attempts: 10,
            age: Duration::from_secs(24 * 3600),
            backoff: Duration::from_secs(2),
            backoff_max: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(7),
            reply_bytes: 64 * 1024,
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(1),
        }
    }
}

impl Outbox {
    /// The first contradiction, as a sentence for the operator.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            ("workers", self.workers),
            ("attempts", usize::try_from(self.attempts).unwrap_or(usize::MAX)),
            ("rows_max", self.rows_max),
        ];
        let spans = [
            ("age_s", self.age),
            ("timeout_ms", self.timeout),
            ("connect_timeout_ms", self.connect_timeout),
            ("poll_ms", self.poll),
        ];
        let zero = counts.into_iter().filter(|(_, count)| *count == 0).map(|(key, _)| key);
        let zero =
            zero.chain(spans.into_iter().filter(|(_, span)| *span == Duration::ZERO).map(|(key, _)| key));
        if let Some(key) = { zero }.next() {
            return Err(format!("outbox.{key} is 0: give it at least 1"));
        }
        if self.lease < self.timeout * 2 {
            return Err(
                "outbox.lease_s has to be at least twice outbox.timeout_ms: a delivery that is still under \
                        way would be taken for abandoned"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_and_contradictions_are_named() {
        assert_eq!(Outbox::default().check(), Ok(()));
        let short = Outbox { lease: Duration::from_secs(10), ..Outbox::default() };
        assert!(short.check().expect_err("refused").contains("outbox.lease_s"));
        let none = Outbox { workers: 0, ..Outbox::default() };
        assert!(none.check().expect_err("refused").contains("outbox.workers"));
    }
}

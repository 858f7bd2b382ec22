//! Whether a request that failed is made again, and when (AI-11).

use super::failure::Failure;
use crate::config::Ai;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// How long to wait before the next attempt; none: it has been enough. `made` is how many attempts there were, `has_output` whether
/// the model has said anything: then somebody may have read it, and another attempt would say something else. `chance` is between
/// 0 and 1: full jitter, so that those who wait for one endpoint don't come back all at once.
///
/// What the endpoint asks to be waited is waited. If that is more than `ai.backoff_max_ms`, it isn't asked again: somebody is looking
/// at the screen, and can be told when to come back.
pub fn after(limits: &Ai, failure: &Failure, made: u32, has_output: bool, chance: f64) -> Option<Duration> {
    if has_output || made > limits.retries || !failure.is_retryable() {
        return None;
    }
    let doublings = made.saturating_sub(1).min(30);
    let most = limits.backoff.saturating_mul(1 << doublings).min(limits.backoff_max);
    let wait = most.mul_f64(chance.clamp(0.0, 1.0));
    match failure.retry_after() {
        Some(asked) if asked > limits.backoff_max => None,
        // Jitter on top: all who were refused together were told the same.
        Some(asked) => Some(asked.saturating_add(wait).min(limits.backoff_max)),
        None => Some(wait),
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date, one that is over being none.
pub(super) fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?;
    (at.to_utc() - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUSY: Failure = Failure::Overloaded { retry_after: None };

    fn busy_for(seconds: u64) -> Failure {
        Failure::RateLimited { retry_after: Some(Duration::from_secs(seconds)) }
    }

    /// Proves AI-11.
    #[test]
    fn there_are_so_many_attempts_and_no_more() {
        let limits = Ai::default();
        let made = |made| after(&limits, &BUSY, made, false, 1.0);
        assert_eq!(made(1), Some(Duration::from_millis(500)));
        assert_eq!(made(2), Some(Duration::from_secs(1)));
        assert_eq!(made(3), None);
        let never = Ai { retries: 0, ..limits };
        assert_eq!(after(&never, &BUSY, 1, false, 1.0), None);
    }

    /// Proves AI-11.
    #[test]
    fn only_before_the_first_token_and_only_what_may_pass() {
        let limits = Ai::default();
        for failure in Failure::ALL {
            assert_eq!(after(&limits, &failure, 1, true, 0.5), None, "{failure}");
            assert_eq!(
                after(&limits, &failure, 1, false, 0.5).is_some(),
                failure.is_retryable(),
                "{failure}"
            );
        }
    }

    #[test]
    fn what_is_asked_is_waited_or_it_is_enough() {
        let limits = Ai::default();
        assert_eq!(after(&limits, &busy_for(7), 1, false, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(after(&limits, &busy_for(20), 1, false, 1.0), Some(Duration::from_secs(20)));
        assert_eq!(after(&limits, &busy_for(21), 1, false, 0.0), None);
    }

    #[test]
    fn the_header_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc2822("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date").to_utc();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    proptest! {
        #[test]
        fn waiting_is_bounded(made in 0u32..100, retries in 0u32..100, asked in proptest::option::of(0u64..100), chance in 0f64..1.0) {
            let limits = Ai { retries, ..Ai::default() };
            let asked = asked.map(Duration::from_secs);
            let failure = Failure::Overloaded { retry_after: asked };
            if let Some(wait) = after(&limits, &failure, made, false, chance) {
                prop_assert!(made <= retries);
                prop_assert!(wait <= limits.backoff_max);
                prop_assert!(wait >= asked.unwrap_or_default());
                prop_assert!(wait <= limits.backoff * 2u32.pow(made.saturating_sub(1).min(20)) + asked.unwrap_or_default());
            }
        }
    }
}

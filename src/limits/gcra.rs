//! A token bucket in one number (the generic cell rate algorithm, ITU-T I.371): the time at which the bucket is full again.

use super::Idle;
use std::time::Duration;

/// So many at once, then one per step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Nanoseconds until one more is allowed.
    step: u64,
    burst: u32,
}

impl Rate {
    /// `count` at once, and `count` again per `window`, evenly. None when there is no limit.
    pub(super) fn new(count: u32, window: Duration) -> Option<Self> {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: never more than the rate.
        (count > 0).then(|| Self { step: window.div_ceil(u64::from(count)).max(1), burst: count })
    }

    /// The same rate, with another number at once.
    pub(super) fn with_burst(self, burst: u32) -> Self {
        Self { burst: burst.max(1), ..self }
    }
}

/// When the bucket is full again, in nanoseconds since the limits began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket(u64);

impl Bucket {
    /// Takes `cost` at `now`, or says how long to wait. What costs more than the bucket holds costs all of it.
    pub(super) fn take(&mut self, rate: Rate, cost: u32, now: u64) -> Result<(), Duration> {
        let depth = rate.step.saturating_mul(u64::from(rate.burst));
        let cost = rate.step.saturating_mul(u64::from(cost.min(rate.burst)));
        let full_at = self.0.max(now).saturating_add(cost);
        let allowed = now.saturating_add(depth);
        if full_at > allowed {
            return Err(Duration::from_nanos(full_at - allowed));
        }
        self.0 = full_at;
        Ok(())
    }

    /// Puts `cost` back that was taken.
    pub(super) fn give_back(&mut self, rate: Rate, cost: u32) {
        self.0 = self.0.saturating_sub(rate.step.saturating_mul(u64::from(cost.min(rate.burst))));
    }
}

impl Idle for Bucket {
    fn is_idle(&self, now: u64) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates() -> impl Strategy<Value = Rate> {
        (1_u32..50, 1_u64..20_000_000_000)
            .prop_map(|(count, window)| Rate::new(count, Duration::from_nanos(window)).expect("a rate"))
    }

    proptest! {
        /// In any window of any length: at most the burst, and what the rate gives in that time.
        #[test]
        fn never_more_than_burst_and_rate(
            rate in rates(),
            gaps in prop::collection::vec((0_u64..3_000_000_000, 1_u32..5), 1..150),
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), 0_u64, Vec::new());
            for (gap, cost) in gaps {
                now += gap;
                if bucket.take(rate, cost, now).is_ok() {
                    taken.push((now, u64::from(cost.min(rate.burst))));
                }
            }
            for (first, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (at, cost) in &taken[first..] {
                    sum += cost;
                    let most = u64::from(rate.burst) + (at - from) / rate.step;
                    prop_assert!(sum <= most, "{sum} in {} ns, not {most}", at - from);
                }
            }
        }

        #[test]
        fn who_stays_under_the_rate_is_never_refused(
            rate in rates(),
            extra in prop::collection::vec(0_u64..1_000_000, 1..100),
        ) {
            let (mut bucket, mut now) = (Bucket::default(), 7);
            for extra in extra {
                prop_assert_eq!(bucket.take(rate, 1, now), Ok(()));
                now += rate.step + extra;
            }
        }

        /// Waiting as long as one is told is enough, and anything less is not.
        #[test]
        fn the_wait_is_exact(rate in rates(), tries in 1_usize..120) {
            let (mut bucket, mut now) = (Bucket::default(), 0);
            for _ in 0..tries {
                if let Err(wait) = bucket.take(rate, 1, now) {
                    let wait = u64::try_from(wait.as_nanos()).expect("a wait");
                    prop_assert!(wait > 0);
                    prop_assert!(bucket.take(rate, 1, now + wait - 1).is_err());
                    now += wait;
                    prop_assert_eq!(bucket.take(rate, 1, now), Ok(()));
                }
            }
        }

        /// A bucket that is called idle behaves like a new one: forgetting it changes nothing.
        #[test]
        fn forgetting_the_idle_changes_nothing(
            rate in rates(),
            gaps in prop::collection::vec(0_u64..3_000_000_000, 1..100),
        ) {
            let (mut kept, mut swept, mut now) = (Bucket::default(), Bucket::default(), 0);
            for gap in gaps {
                now += gap;
                if swept.is_idle(now) {
                    swept = Bucket::default();
                }
                prop_assert_eq!(kept.take(rate, 1, now), swept.take(rate, 1, now));
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        let rate = Rate::new(1, Duration::MAX).expect("a rate").with_burst(u32::MAX);
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, u32::MAX, u64::MAX - 1).is_ok());
        assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
    }
}

//! Buckets by key: bounded, in shards, forgotten when idle.

use super::gcra::{Bucket, Rate};
use super::{Idle, Report};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So that threads seldom wait for each other.
const SHARDS: usize = 16;
/// A full shard is looked through for idle entries this often at most.
const SWEEP: Duration = Duration::from_secs(1);

/// Values by key.
pub(super) struct Keyed<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    hasher: RandomState,
    most: usize,
}

struct Shard<K, V> {
    map: HashMap<K, V>,
    swept: u64,
}

impl<K: Copy + Eq + Hash, V: Idle> Keyed<K, V> {
    /// Room for `capacity` keys, and a few more for the rounding.
    pub(super) fn new(capacity: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard { map: HashMap::new(), swept: 0 }));
        Self { shards, hasher: RandomState::new(), most: capacity.div_ceil(SHARDS) }
    }

    /// Lets `act` change the value of `key`. None when there is no room for it.
    pub(super) fn with<T>(&self, key: K, now: u64, act: impl FnOnce(&mut V) -> T) -> Option<T> {
        let index = usize::try_from(self.hasher.hash_one(key) % 16).unwrap_or_default();
        let mut shard = self.shards.get(index)?.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.map.len() >= self.most && !shard.map.contains_key(&key) {
            let due = shard.swept.saturating_add(u64::try_from(SWEEP.as_nanos()).unwrap_or(u64::MAX));
            if shard.swept == 0 || now >= due {
                shard.sweep(now);
            }
            if shard.map.len() >= self.most {
                return None;
            }
        }
        Some(act(shard.map.entry(key).or_default()))
    }

    /// Forgets the idle.
    pub(super) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
        }
    }

    /// Keys there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).map.len()).sum()
    }
}

impl<K: Eq + Hash, V: Idle> Shard<K, V> {
    fn sweep(&mut self, now: u64) {
        self.swept = now;
        self.map.retain(|_, value| !value.is_idle(now));
        if self.map.len() < self.map.capacity() / 8 {
            self.map.shrink_to_fit();
        }
    }
}

/// A limit by key, with its name and how often it refused. A key for which there is no room is not counted: refusing it
/// would let those who fill the map lock others out, and what lies behind has bounds of its own.
pub(super) struct Limit<K, V = Bucket> {
    name: &'static str,
    rate: Option<Rate>,
    keyed: Keyed<K, V>,
    refused: AtomicU64,
}

impl<K: Copy + Eq + Hash, V: Idle> Limit<K, V> {
    pub(super) fn new(name: &'static str, rate: Option<Rate>, keys: usize) -> Self {
        Self { name, rate, keyed: Keyed::new(keys), refused: AtomicU64::new(0) }
    }

    /// Whether `fits` says so for the key's value.
    pub(super) fn judge(&self, key: K, now: u64, fits: impl FnOnce(&mut V) -> bool) -> bool {
        let fits = self.keyed.with(key, now, fits).unwrap_or(true);
        if !fits {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    pub(super) fn keyed(&self) -> &Keyed<K, V> {
        &self.keyed
    }

    pub(super) fn report(&self) -> Report {
        Report { limit: self.name, keys: self.keyed.len(), refused: self.refused.load(Ordering::Relaxed) }
    }
}

impl<K: Copy + Eq + Hash> Limit<K> {
    /// Takes `cost` from the key's bucket, or says how long to wait.
    pub(super) fn take(&self, key: K, cost: u32, now: u64) -> Result<(), Duration> {
        self.take_at(self.rate, key, cost, now)
    }

    /// Gives back what was taken, as if it hadn't been.
    pub(super) fn give_back(&self, key: K, cost: u32, now: u64) {
        if let Some(rate) = self.rate {
            self.keyed.with(key, now, |bucket| bucket.give_back(rate, cost));
        }
    }

    /// The same, at another rate.
    pub(super) fn take_at(&self, rate: Option<Rate>, key: K, cost: u32, now: u64) -> Result<(), Duration> {
        let Some(rate) = rate else { return Ok(()) };
        let taken = self.keyed.with(key, now, |bucket| bucket.take(rate, cost, now)).unwrap_or(Ok(()));
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves LIM-04.
    #[test]
    fn a_full_map_forgets_the_idle_and_locks_nobody_out() {
        let rate = Rate::new(1, Duration::from_secs(10));
        let limit: Limit<u64> = Limit::new("test", rate, 64);
        for key in 0..1_000 {
            assert_eq!(limit.take(key, 1, 1), Ok(()), "a newcomer is never refused");
        }
        let kept = limit.keyed.len();
        assert!(kept <= 64, "{kept}");
        let known = (0..1_000).filter(|key| limit.take(*key, 1, 2).is_err()).count();
        assert_eq!(known, kept, "who is known is still limited");
        let later = 20_000_000_000;
        assert_eq!(limit.take(5_000, 1, later), Ok(()));
        limit.keyed.sweep(later);
        assert_eq!(limit.keyed.len(), 1);
        assert_eq!(limit.report().refused, u64::try_from(known).expect("a count"));
    }
}

//! The same text again and again, by one user in one room (LIM-06).

use super::Idle;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use uuid::Uuid;

/// Posts that are told from retries.
const MOST: usize = 8;

/// The text said last, how often, and by which posts: a retry of one of them isn't counted again.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    text: u64,
    until: u64,
    ids: [u64; MOST],
    count: usize,
}

impl Repeats {
    /// Whether `text` may be posted at `now`: `most` times within `window`, at most [`MOST`].
    pub(super) fn admit(&mut self, text: &str, id: Uuid, now: u64, most: u32, window: Duration) -> bool {
        let (text, id) = (digest(text), digest(id));
        if self.text != text || now >= self.until {
            let until = now.saturating_add(u64::try_from(window.as_nanos()).unwrap_or(u64::MAX));
            *self = Self { text, until, ..Self::default() };
        }
        if self.ids.iter().take(self.count).any(|known| *known == id) {
            return true;
        }
        if self.count >= usize::try_from(most).unwrap_or(MOST) {
            return false;
        }
        match self.ids.get_mut(self.count) {
            Some(free) => *free = id,
            None => return false,
        }
        self.count += 1;
        true
    }
}

impl Idle for Repeats {
    fn is_idle(&self, now: u64) -> bool {
        now >= self.until
    }
}

fn digest(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_does_not_count() {
        let (mut repeats, window) = (Repeats::default(), Duration::from_secs(60));
        let id = Uuid::new_v4();
        for _ in 0..50 {
            assert!(repeats.admit("hi", id, 5, 2, window));
        }
        assert!(repeats.admit("hi", Uuid::new_v4(), 5, 2, window));
        assert!(!repeats.admit("hi", Uuid::new_v4(), 5, 2, window));
        assert!(repeats.admit("hi", id, 5, 2, window), "still a retry");
        assert!(repeats.admit("ho", Uuid::new_v4(), 5, 2, window), "another text");
        assert!(repeats.is_idle(60_000_000_005));
    }
}

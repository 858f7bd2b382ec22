//! When each user was last seen: what is due to be written, at most once per span and user, and when they go (DB-20). Pure;
//! time is an argument.

use crate::domain::{Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// What is written together: users by the time they were seen, which is exact to the second.
pub(super) type Seen = BTreeMap<Timestamp, Vec<UserId>>;

/// See the module.
#[derive(Debug)]
pub(super) struct LastSeen {
    span: Duration,
    users: HashMap<UserId, User>,
    due: BTreeSet<(Instant, UserId)>,
}

#[derive(Debug)]
struct User {
    /// Connected, and so seen all the time.
    here: bool,
    /// Something that isn't written yet.
    news: bool,
    seen: Timestamp,
    written: Option<Instant>,
    due: Instant,
}

impl LastSeen {
    /// Writes at most once per `span` and user, but for the last time when they go.
    pub(super) fn new(span: Duration) -> Self {
        Self { span, users: HashMap::new(), due: BTreeSet::new() }
    }

    /// The user is connected from now on.
    pub(super) fn arrived(&mut self, user: UserId, now: Instant, clock: Timestamp) {
        self.note(user, now, clock, Some(true));
    }

    /// The user did something.
    pub(super) fn seen(&mut self, user: UserId, now: Instant, clock: Timestamp) {
        self.note(user, now, clock, None);
    }

    /// The user isn't connected any more, and was until `clock`: the final value.
    pub(super) fn gone(&mut self, user: UserId, now: Instant, clock: Timestamp) {
        self.note(user, now, clock, Some(false));
        self.schedule(user, now);
    }

    fn note(&mut self, user: UserId, now: Instant, clock: Timestamp, here: Option<bool>) {
        let span = self.span;
        let entry = self.users.entry(user).or_insert(User {
            here: false,
            news: false,
            seen: clock,
            written: None,
            due: now,
        });
        entry.here = here.unwrap_or(entry.here);
        entry.news = true;
        entry.seen = clock;
        let due = entry.written.map_or(now, |written| now.max(written + span));
        self.schedule(user, due);
    }

    fn schedule(&mut self, user: UserId, due: Instant) {
        if let Some(entry) = self.users.get_mut(&user) {
            self.due.remove(&(entry.due, user));
            entry.due = due;
            self.due.insert((due, user));
        }
    }

    /// What is to be written now. It counts as written unless [`LastSeen::failed`] says otherwise.
    pub(super) fn take(&mut self, now: Instant, clock: Timestamp) -> Seen {
        let mut seen = Seen::new();
        while let Some((due, user)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, user));
            let Some(entry) = self.users.get_mut(&user) else { continue };
            if entry.here {
                entry.seen = clock;
            } else if !entry.news {
                // Written a span ago, and nothing since.
                self.users.remove(&user);
                continue;
            }
            entry.news = false;
            entry.written = Some(now);
            seen.entry(to_the_second(entry.seen)).or_default().push(user);
            let next = now + self.span.max(Duration::from_millis(1));
            self.schedule(user, next);
        }
        seen
    }

    /// Nothing of it was written: once more after a span.
    pub(super) fn failed(&mut self, seen: &Seen) {
        for user in seen.values().flatten() {
            if let Some(entry) = self.users.get_mut(user) {
                entry.news = true;
            }
        }
    }
}

fn to_the_second(clock: Timestamp) -> Timestamp {
    Timestamp::from_millis(clock.as_millis() - clock.as_millis().rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    /// Proves DB-20.
    #[test]
    fn one_write_per_span_and_a_last_one() {
        let (mut last, t0, ann) = (LastSeen::new(SPAN), Instant::now(), UserId::new(1));
        let mut writes = Vec::new();
        for second in 0..150 {
            let now = t0 + Duration::from_secs(second);
            let clock = at(i64::try_from(second).expect("small"));
            match second {
                0 => last.arrived(ann, now, clock),
                140 => last.gone(ann, now, at(135)),
                _ => last.seen(ann, now, clock),
            }
            for (seen, users) in last.take(now, clock) {
                assert_eq!(users, [ann]);
                writes.push((second, seen));
            }
            if second == 140 {
                break;
            }
        }
        assert_eq!(writes, [(0, at(0)), (60, at(60)), (120, at(120)), (140, at(135))]);
        assert!(last.take(t0 + Duration::from_secs(300), at(300)).is_empty());
        assert!(last.users.is_empty() && last.due.is_empty(), "nothing is kept");
    }

    #[test]
    fn coming_and_going_writes_no_more_than_the_goings() {
        let (mut last, t0, ann) = (LastSeen::new(SPAN), Instant::now(), UserId::new(1));
        let mut writes = 0;
        for second in 0..60 {
            let now = t0 + Duration::from_secs(second);
            last.seen(ann, now, at(0));
            last.arrived(ann, now, at(0));
            writes += last.take(now, at(0)).len();
        }
        assert_eq!(writes, 1);
    }

    #[test]
    fn what_failed_is_written_later() {
        let (mut last, t0, ann) = (LastSeen::new(SPAN), Instant::now(), UserId::new(1));
        last.gone(ann, t0, at(7));
        let batch = last.take(t0, at(9));
        last.failed(&batch);
        assert!(last.take(t0 + Duration::from_secs(59), at(66)).is_empty());
        assert_eq!(last.take(t0 + SPAN, at(67)), batch, "the time they were seen, not the time of writing");
    }
}

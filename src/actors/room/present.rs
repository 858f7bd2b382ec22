//! Who has the room open: one joined and one left per user however many sockets come and go within the grace (CONN-04), told
//! in batches. Pure; time is an argument.

use crate::domain::{Attendance, Seq, UserId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Present {
    grace: Duration,
    tick: Duration,
    names_up_to: usize,
    people: HashMap<UserId, Here>,
    /// Came since the last time something was told, in that order.
    fresh: Vec<UserId>,
    /// Those without sockets, by when they are gone.
    leaving: BTreeSet<(Instant, UserId)>,
    /// How many were told as present.
    told: usize,
    /// Whether they are told by name.
    named: bool,
    /// When the first of `fresh` came.
    since: Option<Instant>,
    last: Option<Instant>,
}

/// People by id and name.
pub(super) type Names = Vec<(UserId, Arc<str>)>;

#[derive(Debug)]
struct Here {
    name: Arc<str>,
    sockets: usize,
    /// Of those without sockets.
    until: Instant,
    told: bool,
    /// Their last message here.
    spoke_at: Seq,
}

impl Present {
    /// Users stay for `grace`, changes are told every `tick`, and by name up to `names_up_to`.
    pub(super) fn new(grace: Duration, tick: Duration, names_up_to: usize) -> Self {
        Self {
            grace,
            tick,
            names_up_to,
            people: HashMap::new(),
            fresh: Vec::new(),
            leaving: BTreeSet::new(),
            told: 0,
            named: true,
            since: None,
            last: None,
        }
    }

    /// A socket of the user joined.
    pub(super) fn joined(&mut self, user: UserId, name: &Arc<str>, now: Instant) {
        let here = self.enter(user, name, now);
        here.sockets += 1;
        let until = here.until;
        self.leaving.remove(&(until, user));
    }

    /// A socket of the user left.
    pub(super) fn left(&mut self, user: UserId, now: Instant) {
        let Some(here) = self.people.get_mut(&user) else { return };
        here.sockets = here.sockets.saturating_sub(1);
        if here.sockets == 0 {
            let until = now + self.grace;
            self.stay(user, until);
        }
    }

    /// The user may not be here any more: gone without a grace.
    pub(super) fn removed(&mut self, user: UserId, now: Instant) {
        let Some(here) = self.people.get_mut(&user) else { return };
        here.sockets = 0;
        self.stay(user, now);
    }

    /// The user's message `seq` is about to be told: they are present for the grace, sockets or not (CONN-08). True when that
    /// has to be told before.
    pub(super) fn spoke(&mut self, user: UserId, name: &Arc<str>, seq: Seq, now: Instant) -> bool {
        let until = now + self.grace;
        let here = self.enter(user, name, now);
        here.spoke_at = seq;
        if here.sockets == 0 {
            self.stay(user, until);
        }
        self.is_untold(user)
    }

    /// Whether others know the user by name, once they have to.
    pub(super) fn is_untold(&self, user: UserId) -> bool {
        self.named && self.people.get(&user).is_some_and(|here| !here.told)
    }

    /// The user's last message here, as far as it is remembered: as long as they are present.
    pub(super) fn spoke_at(&self, user: UserId) -> Option<Seq> {
        self.people.get(&user).map(|here| here.spoke_at)
    }

    fn enter(&mut self, user: UserId, name: &Arc<str>, now: Instant) -> &mut Here {
        let (fresh, since) = (&mut self.fresh, &mut self.since);
        self.people.entry(user).or_insert_with(|| {
            fresh.push(user);
            since.get_or_insert(now);
            Here { name: Arc::clone(name), sockets: 0, until: now, told: false, spoke_at: Seq::default() }
        })
    }

    /// How long nothing is told after something was: a tick, and for a mere count one more per thousand people, so that a crowd
    /// that comes does not tell itself how it grows with every one of its sockets at every tick.
    fn pause(&self) -> Duration {
        let thousands = u32::try_from(self.told / 1_000).unwrap_or(u32::MAX);
        if self.named { self.tick } else { self.tick.saturating_mul(thousands.saturating_add(1)) }
    }

    fn stay(&mut self, user: UserId, until: Instant) {
        if let Some(here) = self.people.get_mut(&user) {
            self.leaving.remove(&(here.until, user));
            here.until = until;
            self.leaving.insert((until, user));
        }
    }

    /// When there is something to tell.
    pub(super) fn next(&self) -> Option<Instant> {
        let pause = self.pause();
        let fresh = self.since.map(|since| match self.last {
            Some(last) => (since + self.tick).max(last + pause),
            None => since + self.tick,
        });
        let leaving = self.leaving.first().map(|(until, _)| match self.last {
            Some(last) => (*until).max(last + pause),
            None => *until,
        });
        [fresh, leaving].into_iter().flatten().min()
    }

    /// What is to be told now.
    pub(super) fn tell(&mut self, now: Instant) -> Option<Attendance> {
        self.since = None;
        let mut left = Vec::new();
        while let Some((until, user)) = self.leaving.first().copied().filter(|(until, _)| *until <= now) {
            self.leaving.remove(&(until, user));
            if self.people.remove(&user).is_some_and(|here| here.told) {
                left.push(user);
            }
        }
        let mut joined = Vec::new();
        for user in std::mem::take(&mut self.fresh) {
            if let Some(here) = self.people.get_mut(&user).filter(|here| !here.told) {
                here.told = true;
                joined.push((user, Arc::clone(&here.name)));
            }
        }
        if joined.is_empty() && left.is_empty() {
            return None;
        }
        self.last = Some(now);
        self.told = self.told + joined.len() - left.len();
        let count = self.told;
        if self.named && count > self.names_up_to {
            self.named = false;
        } else if !self.named && count <= self.names_up_to / 4 * 3 {
            // Not at once below the size: a room that hovers there would send everybody's name again and again.
            self.named = true;
            return Some(Attendance::Everybody { present: self.names() });
        }
        Some(if self.named { Attendance::Changed { joined, left, count } } else { Attendance::Count(count) })
    }

    /// Those who were told as present, unless they are too many; and how many they are.
    pub(super) fn snapshot(&self) -> (Option<Names>, usize) {
        (self.named.then(|| self.names()), self.told)
    }

    fn names(&self) -> Names {
        let mut names: Names = self
            .people
            .iter()
            .filter(|(_, here)| here.told)
            .map(|(user, here)| (*user, Arc::clone(&here.name)))
            .collect();
        names.sort_unstable_by_key(|(user, _)| *user);
        names
    }
}

#[cfg(test)]
#[path = "present_tests.rs"]
mod tests;

//! The pure state: how many sockets each hub has of each user, and what was announced. Time is an argument.

use crate::domain::{PresenceState, UserId};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// A user's sockets on one hub. Reports carry the whole count, so that a lost or repeated one does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sockets {
    pub open: usize,
    /// How many of them nobody looks at.
    pub away: usize,
}

/// What is to be announced of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub user: UserId,
    pub state: PresenceState,
    /// When it came about: for who is gone, when their last socket was.
    pub since: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Tracker {
    grace: Duration,
    lease: Duration,
    users: HashMap<UserId, Here>,
    /// When each hub last told of all its sockets.
    hubs: HashMap<u16, Instant>,
    changed: BTreeSet<UserId>,
    leaving: BTreeSet<(Instant, UserId)>,
}

#[derive(Debug, Default)]
struct Here {
    at: Vec<(u16, Sockets)>,
    /// What was announced last.
    told: Option<PresenceState>,
    /// There is no socket any more.
    left: Option<Left>,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    since: Instant,
    until: Instant,
    state: PresenceState,
}

impl Here {
    /// What to show of the user; whoever is back within the grace never left.
    fn state(&self, now: Instant) -> PresenceState {
        match self.left {
            Some(left) if left.until <= now => left.state,
            Some(_) => self.told.filter(|told| told.is_here()).unwrap_or(PresenceState::Online),
            None if self.at.iter().any(|(_, sockets)| sockets.open > sockets.away) => PresenceState::Online,
            None => PresenceState::Away,
        }
    }
}

impl Tracker {
    /// Users stay for `grace` after their last socket, and a hub's sockets for `lease` after it last told of them.
    pub fn new(grace: Duration, lease: Duration) -> Self {
        Self {
            grace,
            lease,
            users: HashMap::new(),
            hubs: HashMap::new(),
            changed: BTreeSet::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// Goes on from what was `announced`: those whom no hub reports within the grace are gone.
    pub fn resume(&mut self, announced: impl IntoIterator<Item = (UserId, PresenceState)>, now: Instant) {
        for (user, state) in announced.into_iter().filter(|(_, state)| state.is_here()) {
            let left = Left { since: now, until: now + self.grace, state: PresenceState::Offline };
            self.users.insert(user, Here { at: Vec::new(), told: Some(state), left: Some(left) });
            self.leaving.insert((left.until, user));
        }
    }

    /// A hub's sockets of a user changed. `signed_out`: the one that is gone ended with its session.
    pub fn report(&mut self, hub: u16, user: UserId, sockets: Sockets, signed_out: bool, now: Instant) {
        self.hubs.entry(hub).or_insert(now);
        if sockets.open == 0 && !self.users.contains_key(&user) {
            return;
        }
        let here = self.users.entry(user).or_default();
        here.at.retain(|(at, _)| *at != hub);
        if sockets.open > 0 {
            here.at.push((hub, sockets));
        }
        let known = here.left;
        here.left = match known {
            _ if !here.at.is_empty() => None,
            Some(_) if !signed_out => known,
            _ if signed_out => Some(Left { since: now, until: now, state: PresenceState::SignedOut }),
            _ => Some(Left { since: now, until: now + self.grace, state: PresenceState::Offline }),
        };
        if let Some(known) = known {
            self.leaving.remove(&(known.until, user));
        }
        if let Some(left) = here.left {
            self.leaving.insert((left.until, user));
        }
        self.changed.insert(user);
    }

    /// All sockets of a hub: its lease begins anew, and what else was thought to be there is not.
    pub fn census(&mut self, hub: u16, users: &HashMap<UserId, Sockets>, now: Instant) {
        self.hubs.insert(hub, now);
        let missing: Vec<UserId> = self
            .users
            .iter()
            .filter(|(user, here)| here.at.iter().any(|(at, _)| *at == hub) && !users.contains_key(user))
            .map(|(user, _)| *user)
            .collect();
        for user in missing {
            self.report(hub, user, Sockets::default(), false, now);
        }
        for (user, sockets) in users {
            let same = |here: &Here| here.at.contains(&(hub, *sockets));
            if !self.users.get(user).is_some_and(same) {
                self.report(hub, *user, *sockets, false, now);
            }
        }
    }

    /// What changed since the last tick, one entry per user.
    pub fn tick(&mut self, now: Instant) -> Vec<Change> {
        self.end_leases(now);
        while let Some((until, user)) = self.leaving.first().copied().filter(|(until, _)| *until <= now) {
            self.leaving.remove(&(until, user));
            self.changed.insert(user);
        }
        let mut changes = Vec::new();
        for user in std::mem::take(&mut self.changed) {
            let Some(here) = self.users.get_mut(&user) else { continue };
            let state = here.state(now);
            if here.told.is_some_and(|told| told != state) || (here.told.is_none() && state.is_here()) {
                let since = here.left.map_or(now, |left| left.since);
                changes.push(Change { user, state, since });
            }
            here.told = Some(state);
            if !state.is_here() {
                self.users.remove(&user);
            }
        }
        changes
    }

    /// A hub that hasn't told of its sockets for the lease has none (PRES-03).
    fn end_leases(&mut self, now: Instant) {
        let lease = self.lease;
        let over: Vec<u16> = self
            .hubs
            .iter()
            .filter(|(_, told)| now.saturating_duration_since(**told) >= lease)
            .map(|(hub, _)| *hub)
            .collect();
        for hub in over {
            self.hubs.remove(&hub);
            for (user, here) in &mut self.users {
                let before = here.at.len();
                here.at.retain(|(at, _)| *at != hub);
                if here.at.len() == before {
                    continue;
                }
                if here.at.is_empty() {
                    here.left = Some(Left { since: now, until: now, state: PresenceState::Offline });
                    self.leaving.insert((now, *user));
                }
                self.changed.insert(*user);
            }
        }
    }

    /// How many users it keeps.
    pub fn kept(&self) -> usize {
        self.users.len()
    }

    /// Everybody who counts as here, and when their last socket went if they have none.
    pub fn users(&self) -> impl Iterator<Item = (UserId, Option<Instant>)> {
        self.users.iter().map(|(user, here)| (*user, here.left.map(|left| left.since)))
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;

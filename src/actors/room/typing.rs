//! Who types: throttled starts, stops that always get through, an end by itself (TYPE-01 to TYPE-04, TYPE-07).

use crate::actors::hub::ConnId;
use crate::domain::UserId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The typists of a room. Time is an argument.
#[derive(Debug)]
pub(super) struct Typing {
    throttle: Duration,
    expiry: Duration,
    typists: HashMap<UserId, Typist>,
}

#[derive(Debug)]
struct Typist {
    name: Arc<str>,
    /// The socket that typed last; when it goes, so does the indicator.
    conn: ConnId,
    state: State,
    /// When their last start was told.
    told_at: Instant,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The others see it.
    Shown,
    /// They will once the throttle is over.
    Waiting,
    /// Only the throttle is left.
    Silent,
}

/// Somebody to be told of.
pub(super) type Told = (UserId, Arc<str>);

impl Typist {
    /// When something is due of them.
    fn due(&self, throttle: Duration) -> Instant {
        match self.state {
            State::Shown => self.until,
            State::Waiting => self.until.min(self.told_at + throttle),
            State::Silent => self.told_at + throttle,
        }
    }
}

impl Typing {
    /// Starts are told at most once per `throttle`; who doesn't go on is done after `expiry`.
    pub(super) fn new(throttle: Duration, expiry: Duration) -> Self {
        Self { throttle, expiry, typists: HashMap::new() }
    }

    /// Somebody types. True when the others have to be told now; within the throttle that comes when it is over.
    pub(super) fn start(&mut self, user: UserId, name: Arc<str>, conn: ConnId, now: Instant) -> bool {
        let until = now + self.expiry;
        match self.typists.get_mut(&user) {
            Some(typist) if typist.state == State::Shown => {
                (typist.until, typist.conn) = (until, conn);
                false
            }
            Some(typist) if now < typist.told_at + self.throttle => {
                (typist.until, typist.conn, typist.state) = (until, conn, State::Waiting);
                false
            }
            _ => {
                let typist = Typist { name, conn, state: State::Shown, told_at: now, until };
                self.typists.insert(user, typist);
                true
            }
        }
    }

    /// Somebody stopped. Their name when the others have to be told. Only the throttle stays in force.
    pub(super) fn stop(&mut self, user: UserId) -> Option<Arc<str>> {
        let typist = self.typists.get_mut(&user)?;
        let before = std::mem::replace(&mut typist.state, State::Silent);
        (before == State::Shown).then(|| Arc::clone(&typist.name))
    }

    /// Somebody stopped in one of their tabs; they may go on in another.
    pub(super) fn stopped_by(&mut self, user: UserId, conn: ConnId) -> Option<Told> {
        self.typists.get(&user).filter(|typist| typist.conn == conn)?;
        self.stop(user).map(|name| (user, name))
    }

    /// A socket is gone. Whose typing ended with it.
    pub(super) fn gone(&mut self, conn: ConnId) -> Option<Told> {
        let typing = |typist: &Typist| typist.state != State::Silent && typist.conn == conn;
        let user = *self.typists.iter().find(|(_, typist)| typing(typist))?.0;
        self.stop(user).map(|name| (user, name))
    }

    /// Whose typing ended by itself, and whose is to be told now that their throttle is over.
    pub(super) fn due(&mut self, now: Instant) -> (Vec<Told>, Vec<Told>) {
        let (mut ended, mut begun) = (Vec::new(), Vec::new());
        let throttle = self.throttle;
        self.typists.retain(|user, typist| {
            if typist.due(throttle) > now {
                return true;
            }
            if typist.state == State::Waiting && typist.until > now {
                (typist.state, typist.told_at) = (State::Shown, now);
                begun.push((*user, Arc::clone(&typist.name)));
                return true;
            }
            if typist.state == State::Shown {
                ended.push((*user, Arc::clone(&typist.name)));
            }
            false
        });
        (ended, begun)
    }

    /// When [`Typing::due`] has something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.typists.values().map(|typist| typist.due(self.throttle)).min()
    }

    /// Users that are remembered, for their throttle at least.
    pub(super) fn len(&self) -> usize {
        self.typists.len()
    }

    /// Who types, without `but`.
    pub(super) fn active(&self, but: UserId) -> Vec<Told> {
        self.typists
            .iter()
            .filter(|(user, typist)| typist.state == State::Shown && **user != but)
            .map(|(user, typist)| (*user, Arc::clone(&typist.name)))
            .collect()
    }
}

#[cfg(test)]
#[path = "typing_tests.rs"]
mod tests;

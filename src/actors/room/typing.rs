//! Who types: throttled starts, stops that always get through, an end by itself (TYPE-01 to TYPE-04).

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
    active: bool,
    told_at: Instant,
    until: Instant,
}

impl Typing {
    /// Starts are told at most once per `throttle`; who doesn't go on is done after `expiry`.
    pub(super) fn new(throttle: Duration, expiry: Duration) -> Self {
        Self { throttle, expiry, typists: HashMap::new() }
    }

    /// Somebody types. True when the others have to be told.
    pub(super) fn start(&mut self, user: UserId, name: Arc<str>, conn: ConnId, now: Instant) -> bool {
        let until = now + self.expiry;
        match self.typists.get_mut(&user) {
            Some(typist) if typist.active => {
                typist.until = until;
                typist.conn = conn;
                false
            }
            Some(typist) if now < typist.told_at + self.throttle => false,
            _ => {
                let typist = Typist { name, conn, active: true, told_at: now, until };
                self.typists.insert(user, typist);
                true
            }
        }
    }

    /// Somebody stopped. Their name when the others have to be told. The throttle stays in force until the expiry.
    pub(super) fn stop(&mut self, user: UserId) -> Option<Arc<str>> {
        let typist = self.typists.get_mut(&user).filter(|typist| typist.active)?;
        typist.active = false;
        Some(Arc::clone(&typist.name))
    }

    /// Somebody stopped in one of their tabs; they may go on in another.
    pub(super) fn stopped_by(&mut self, user: UserId, conn: ConnId) -> Option<(UserId, Arc<str>)> {
        self.typists.get(&user).filter(|typist| typist.conn == conn)?;
        self.stop(user).map(|name| (user, name))
    }

    /// A socket is gone. Whose typing ended with it.
    pub(super) fn gone(&mut self, conn: ConnId) -> Option<(UserId, Arc<str>)> {
        let user = *self.typists.iter().find(|(_, typist)| typist.active && typist.conn == conn)?.0;
        self.stop(user).map(|name| (user, name))
    }

    /// Whose typing ended by itself.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(UserId, Arc<str>)> {
        let mut ended = Vec::new();
        self.typists.retain(|user, typist| {
            let over = now >= typist.until;
            if over && typist.active {
                ended.push((*user, Arc::clone(&typist.name)));
            }
            !over
        });
        ended
    }

    /// When [`Typing::expire`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.typists.values().map(|typist| typist.until).min()
    }

    /// Users that are remembered, for their throttle at least.
    pub(super) fn len(&self) -> usize {
        self.typists.len()
    }

    /// Who types, without `but`.
    pub(super) fn active(&self, but: UserId) -> Vec<(UserId, Arc<str>)> {
        self.typists
            .iter()
            .filter(|(user, typist)| typist.active && **user != but)
            .map(|(user, typist)| (*user, Arc::clone(&typist.name)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(serial: u64) -> ConnId {
        ConnId { hub: 0, serial }
    }

    fn typing() -> (Typing, Instant) {
        (Typing::new(Duration::from_secs(1), Duration::from_secs(6)), Instant::now())
    }

    /// Proves TYPE-04.
    #[test]
    fn starts_are_throttled_and_stops_are_not() {
        let (mut typing, t0) = typing();
        let ann = UserId::new(1);
        let told: Vec<bool> = (0..10)
            .map(|n| {
                let told = typing.start(ann, "Ann".into(), conn(1), t0 + Duration::from_millis(n * 100));
                assert_eq!(typing.stop(ann).is_some(), told, "a stop follows every start that was told");
                told
            })
            .collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
        assert!(typing.start(ann, "Ann".into(), conn(1), t0 + Duration::from_secs(1)));
    }

    /// Proves TYPE-02.
    #[test]
    fn an_abandoned_typist_disappears() {
        let (mut typing, t0) = typing();
        let ann = UserId::new(1);
        assert!(typing.start(ann, "Ann".into(), conn(1), t0));
        assert!(!typing.start(ann, "Ann".into(), conn(1), t0 + Duration::from_secs(3)), "goes on");
        assert!(typing.expire(t0 + Duration::from_secs(8)).is_empty());
        assert_eq!(typing.next_expiry(), Some(t0 + Duration::from_secs(9)));
        assert_eq!(typing.expire(t0 + Duration::from_secs(9)).len(), 1);
        assert_eq!(typing.next_expiry(), None, "nothing is kept");
    }

    #[test]
    fn a_socket_takes_its_typing_along() {
        let (mut typing, t0) = typing();
        let ann = UserId::new(1);
        typing.start(ann, "Ann".into(), conn(1), t0);
        typing.start(ann, "Ann".into(), conn(2), t0);
        assert_eq!(typing.gone(conn(1)), None, "she types on in another tab");
        assert_eq!(typing.gone(conn(2)).map(|(user, _)| user), Some(ann));
        assert!(typing.active(UserId::new(2)).is_empty());
    }
}

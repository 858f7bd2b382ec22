//! Who has sockets on this thread, as presence is told: what comes and goes at once, who is away with the beat, and all of
//! it now and then. That last one is counted from the sockets themselves.

use super::switchboard::Switchboard;
use crate::actors::peer::Peer;
use crate::actors::presence::{PresenceMsg, Sockets};
use crate::domain::{SessionId, UserId};
use crate::protocol::CloseCode;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use tokio::time::Instant;

/// The sockets of each user of this thread.
#[derive(Default)]
pub(super) struct Census {
    users: HashMap<UserId, Sockets>,
    /// Users of whom a socket became active or away since the last beat.
    moved: HashSet<UserId>,
    last: Option<Instant>,
    /// Sockets that closed within the grace: should their session turn out to have ended, they were signed out.
    gone: VecDeque<(Instant, UserId, Option<SessionId>)>,
}

/// The most of [`Census::gone`]; the oldest give way, and are told as lost.
const MAX_GONE: usize = 4_096;

impl Census {
    fn of(&self, user: UserId) -> Sockets {
        self.users.get(&user).copied().unwrap_or_default()
    }

    /// Changes what is counted of a user; nothing is kept of those without sockets.
    fn change(&mut self, user: UserId, change: impl FnOnce(&mut Sockets)) -> Sockets {
        let sockets = self.users.entry(user).or_default();
        change(sockets);
        let now = *sockets;
        if now.open == 0 {
            self.users.remove(&user);
            self.moved.remove(&user);
        }
        now
    }
}

impl Switchboard {
    /// A socket came.
    pub(super) fn count_in(&mut self, peer: &Peer) {
        let sockets = self.census.change(peer.user(), |sockets| {
            sockets.open += 1;
            sockets.away += usize::from(peer.away.get());
        });
        self.report(peer.user(), sockets, false);
    }

    /// A socket went.
    pub(super) fn count_out(&mut self, peer: &Peer) {
        let sockets = self.census.change(peer.user(), |sockets| {
            sockets.open = sockets.open.saturating_sub(1);
            sockets.away = sockets.away.saturating_sub(usize::from(peer.away.get()));
        });
        let ended = [CloseCode::SessionRevoked, CloseCode::Unauthenticated, CloseCode::Forbidden];
        let signed_out = peer.outbox.closing().is_some_and(|code| ended.contains(&code));
        self.report(peer.user(), sockets, signed_out);
        if !signed_out {
            self.census.gone.truncate(MAX_GONE - 1);
            self.census.gone.push_front((Instant::now(), peer.user(), peer.identity.session()));
        }
    }

    /// Credentials ended: whoever closed their last socket just before that has signed out, too (PRES-04).
    pub(super) fn ended(&mut self, which: impl Fn(UserId, Option<SessionId>) -> bool) {
        let gone = self.census.gone.iter().filter(|(_, user, session)| which(*user, *session));
        let users: HashSet<UserId> = gone.map(|(_, user, _)| *user).collect();
        for user in users {
            let sockets = self.census.of(user);
            // Who lost another device a moment ago may come back with it.
            let lost = self.census.gone.iter().any(|(_, of, session)| *of == user && !which(*of, *session));
            if sockets.open == 0 && !lost {
                self.report(user, sockets, true);
            }
        }
    }

    /// Whether somebody looks at this socket. Told with the next beat, so that however often it changes costs little.
    pub fn set_away(&mut self, peer: &Rc<Peer>, away: bool) {
        if peer.away.replace(away) == away || !self.has(peer.id) {
            return;
        }
        self.census.change(peer.user(), |sockets| {
            sockets.away = if away { sockets.away + 1 } else { sockets.away.saturating_sub(1) };
        });
        self.census.moved.insert(peer.user());
    }

    /// What is due with the beat.
    pub(super) fn tell_census(&mut self, now: Instant) {
        let grace = self.config().presence.grace;
        while self.census.gone.back().is_some_and(|(at, ..)| now.saturating_duration_since(*at) >= grace) {
            self.census.gone.pop_back();
        }
        let span = self.config().presence.census;
        if self.census.last.is_none_or(|last| now.saturating_duration_since(last) >= span) {
            self.census_anew(now);
            return;
        }
        for user in std::mem::take(&mut self.census.moved) {
            self.report(user, self.census.of(user), false);
        }
    }

    /// Counts all sockets that were heard within the lease, and tells of them (PRES-03).
    pub(super) fn census_anew(&mut self, now: Instant) {
        let lease = self.config().presence.lease;
        let mut users: HashMap<UserId, Sockets> = HashMap::new();
        for peer in self.all().filter(|peer| peer.silence(now) < lease) {
            let sockets = users.entry(peer.user()).or_default();
            sockets.open += 1;
            sockets.away += usize::from(peer.away.get());
        }
        let gone = std::mem::take(&mut self.census.gone);
        self.census = Census { users: users.clone(), moved: HashSet::new(), last: Some(now), gone };
        let hub = self.hub().id();
        self.presence().tell(PresenceMsg::Census { hub, users });
    }

    fn report(&self, user: UserId, sockets: Sockets, signed_out: bool) {
        let hub = self.hub().id();
        self.presence().tell(PresenceMsg::Report { hub, user, sockets, signed_out });
    }
}

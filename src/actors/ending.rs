//! The end of a right to be connected: open sockets are closed, and handshakes under way find out.

use super::bus::Bus;
use super::hub::HubMsg;
use super::registry::Rooms;
use crate::auth::identity::Identity;
use crate::domain::{BotKeyId, EventBody, Person, Role, SessionId, Timestamp, UserId, Via};
use crate::protocol::CloseCode;
use dashmap::DashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Handshakes take less than this.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// A hub that takes longer to close sockets is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose sockets are to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    Session(SessionId),
    BotKey(BotKeyId),
    User(UserId),
    /// The key ends sooner than it was to: who just connected with it comes back to learn when.
    Limited(BotKeyId),
    /// The user has this role from then on: whoever was known by another comes back.
    Role(UserId, Role),
    /// Nobody knows what ended, or whether anything did: everybody's right is looked up.
    Unknown,
}

/// What ended lately, when and why, for handshakes that were under way then.
#[derive(Debug, Default)]
pub struct Endings(DashMap<Ended, (Instant, CloseCode)>);

impl Rooms {
    /// Closes sockets whose right to be open has ended. What is told to the hubs from here on reaches none of them.
    pub fn end(&self, which: Ended, code: CloseCode) {
        self.endings().remember(which, code);
        for hub in self.hubs() {
            hub.tell(match which {
                Ended::Session(session) => HubMsg::CloseSession { session, code },
                Ended::BotKey(key) | Ended::Limited(key) => HubMsg::CloseBotKey { key, code },
                Ended::User(user) => HubMsg::CloseUser { user, code },
                Ended::Role(user, role) => HubMsg::ChangeRole { user, role, code },
                Ended::Unknown => HubMsg::Recheck,
            });
        }
        // Wakes the long polls, which look whether it is theirs.
        self.committed(Arc::from([]));
    }
}

impl Endings {
    fn remember(&self, which: Ended, code: CloseCode) {
        let (Self(ended), now) = (self, Instant::now());
        ended.retain(|_, (at, _)| now.saturating_duration_since(*at) < HANDSHAKE);
        ended.insert(which, (now, code));
    }
}

impl Rooms {
    /// Closes the sockets whose right to be open, or to be what they are, has ended by something that happened.
    pub(super) fn end_by(&self, happened: &EventBody) {
        match happened {
            EventBody::SessionEnded { session } => {
                self.end(Ended::Session(*session), CloseCode::SessionRevoked);
            }
            EventBody::UserLeft { user } => self.end(Ended::User(*user), CloseCode::Forbidden),
            EventBody::UserUpdated { user: Person { id, role, .. } } => {
                self.end(Ended::Role(*id, *role), CloseCode::IdentityChanged);
            }
            _ => {}
        }
    }

    /// The right to be connected, or to be what one is, may have ended without anybody knowing whose: every socket's is looked up.
    pub fn recheck(&self) {
        self.end(Ended::Unknown, CloseCode::IdentityChanged);
    }
}

impl Bus {
    /// Closes sockets whose right to be open has ended.
    pub fn end_sessions(&self, which: Ended, code: CloseCode) {
        self.rooms().end(which, code);
    }

    /// Lets what was opened with a key end at `expires_at`, before its own time.
    pub fn limit_key(&self, key: BotKeyId, expires_at: Timestamp) {
        self.rooms().endings().remember(Ended::Limited(key), CloseCode::Restart);
        for hub in self.rooms().hubs() {
            hub.tell(HubMsg::LimitBotKey { key, expires_at });
        }
        // Wakes the long polls: those by this key ask again and learn when it ends.
        self.rooms().committed(Arc::from([]));
    }

    /// Whether the key that somebody is known by got an end at or after `since`.
    pub fn is_limited(&self, identity: &Identity, since: Instant) -> bool {
        matches!(identity.via, Via::BotKey(key) if self.ended_since(Ended::Limited(key), since))
    }

    /// Why what somebody is known by ended at or after `since`, if it did: the more final of two reasons.
    pub fn ended_by(&self, identity: &Identity, since: Instant) -> Option<CloseCode> {
        let credential = match identity.via {
            Via::Session(session) => Some(Ended::Session(session)),
            Via::BotKey(key) => Some(Ended::BotKey(key)),
            Via::Nobody | Via::Operator | Via::System => None,
        };
        let which = [credential, Some(Ended::User(identity.person.id))];
        let codes = which.into_iter().flatten().filter_map(|which| self.code_of(which, since));
        codes.max_by_key(|code| code.code())
    }

    /// Whether what somebody is known by ended at or after `since`, for good.
    pub fn has_ended(&self, identity: &Identity, since: Instant) -> bool {
        self.ended_by(identity, since).is_some_and(CloseCode::stays_away)
    }

    /// Whether what somebody is known by may have ended at or after `since`, nobody knows: who comes back learns it.
    pub fn may_have_ended(&self, identity: &Identity, since: Instant) -> bool {
        self.ended_since(Ended::Unknown, since) || self.ended_by(identity, since).is_some()
    }

    /// Whether `which` ended at or after `since`: what was found valid then may be so no more.
    pub fn ended_since(&self, which: Ended, since: Instant) -> bool {
        self.code_of(which, since).is_some()
    }

    fn code_of(&self, which: Ended, since: Instant) -> Option<CloseCode> {
        let Endings(ended) = self.rooms().endings();
        ended.get(&which).and_then(|found| {
            let (at, code) = *found;
            (at >= since).then_some(code)
        })
    }

    /// Whether somebody isn't any more who they were known as at `since`.
    pub fn changed_since(&self, known: &Person, since: Instant) -> bool {
        let mut others = Role::ALL.into_iter().filter(|role| *role != known.role);
        others.any(|role| self.ended_since(Ended::Role(known.id, role), since))
    }

    /// Waits until every hub has done what it was told so far: sockets that were to be closed hear nothing more.
    pub async fn settled(&self) {
        let answers: Vec<oneshot::Receiver<()>> = self
            .rooms()
            .hubs()
            .iter()
            .map(|hub| {
                let (ask, answer) = oneshot::channel();
                hub.tell(HubMsg::Fence(ask));
                answer
            })
            .collect();
        let deadline = Instant::now() + PATIENCE;
        for answer in answers {
            // A hub that is gone has no sockets.
            if tokio::time::timeout_at(deadline, answer).await.is_err() {
                tracing::warn!("a hub takes long to close sockets");
            }
        }
    }
}

//! The end of a right to be connected: open sockets are closed, and handshakes under way find out.

use super::bus::Bus;
use super::hub::HubMsg;
use super::registry::Rooms;
use crate::domain::{SessionId, UserId};
use crate::protocol::CloseCode;
use dashmap::DashMap;
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
    User(UserId),
}

/// What ended lately, for handshakes that were under way then.
#[derive(Debug, Default)]
pub struct Endings(DashMap<Ended, Instant>);

impl Rooms {
    /// Closes sockets whose right to be open has ended. What is told to the hubs from here on reaches none of them.
    pub fn end(&self, which: Ended, code: CloseCode) {
        let now = Instant::now();
        let Endings(ended) = self.endings();
        ended.retain(|_, at| now.saturating_duration_since(*at) < HANDSHAKE);
        ended.insert(which, now);
        for hub in self.hubs() {
            hub.tell(match which {
                Ended::Session(session) => HubMsg::CloseSession { session, code },
                Ended::User(user) => HubMsg::CloseUser { user, code },
            });
        }
    }

    /// Sessions may have ended without anybody knowing which: every socket's is looked up.
    pub fn recheck(&self) {
        for hub in self.hubs() {
            hub.tell(HubMsg::Recheck);
        }
    }
}

impl Bus {
    /// Closes sockets whose right to be open has ended.
    pub fn end_sessions(&self, which: Ended, code: CloseCode) {
        self.rooms().end(which, code);
    }

    /// Whether `which` ended at or after `since`: what was found valid then may be so no more.
    pub fn ended_since(&self, which: Ended, since: Instant) -> bool {
        let Endings(ended) = self.rooms().endings();
        ended.get(&which).is_some_and(|at| *at >= since)
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

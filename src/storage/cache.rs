//! What was read lately and still holds: sessions, and how far each reader is in each of their rooms. A crowd that comes back costs
//! the database nothing.
//!
//! The writer tells of each commit before anybody is answered. What was read before a change and put here after it is known by
//! its stamp, the number of changes as they were before the read.

use super::queries::bot_keys::{KnownKey, WithKeys};
use super::queries::rooms::RoomView;
use super::queries::sessions::SessionKey;
use super::writer::BatchOutcome;
use super::{StoreError, Verdict};
use crate::domain::{Event, EventBody, EventId, Person, Role, RoomId, Seq, Session, Timestamp, UserId};
use dashmap::DashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Sessions and readers kept (count); over it all are let go.
const ENTRIES: usize = 16_384;
/// Rooms kept for all readers together (count), at some 150 bytes each; over it all are let go.
const VIEWS: usize = 262_144;
/// Rooms whose head is known (count); over it they are read anew.
const HEADS: usize = 131_072;
/// How long a session counts as read lately where other processes write, too.
const SHARED: Duration = Duration::from_secs(5);
/// The head of the log isn't known.
const UNKNOWN: i64 = -1;

/// What changed outside of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing that is kept here.
    Nothing,
    /// Keys, or who may do what.
    People,
    /// It may have been anything.
    Anything,
}

/// See the module.
pub(super) struct Cache {
    /// Nobody else writes to this database.
    alone: bool,
    /// Changes of people and sessions so far.
    people: AtomicU64,
    /// Changes of rooms and who is in them so far.
    rooms: AtomicU64,
    /// The last event of the log.
    last_id: AtomicI64,
    sessions: DashMap<SessionKey, Kept<(Session, Person)>>,
    bots: DashMap<UserId, Kept<WithKeys>>,
    standings: DashMap<UserId, Kept<Standing>>,
    /// Rooms in `standings`, and those about to be.
    views: AtomicUsize,
    /// The rooms that got events since the start.
    heads: DashMap<RoomId, Seq>,
    /// So many of them.
    most_heads: usize,
}

struct Kept<T> {
    stamp: u64,
    at: Instant,
    value: T,
}

struct Standing {
    role: Role,
    rooms: Arc<[RoomView]>,
}

/// How a reader stood, and what is to be read to know how they stand.
pub(super) enum Known {
    Nothing,
    /// All but these rooms is as it was.
    But(Arc<[RoomView]>, Vec<RoomId>),
}

/// The number of changes before something was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp(u64);

impl Cache {
    /// `alone`: all writes go through this process.
    pub(super) fn new(alone: bool) -> Self {
        Self {
            alone,
            people: AtomicU64::new(0),
            rooms: AtomicU64::new(0),
            last_id: AtomicI64::new(UNKNOWN),
            sessions: DashMap::new(),
            bots: DashMap::new(),
            standings: DashMap::new(),
            views: AtomicUsize::new(0),
            heads: DashMap::new(),
            most_heads: HEADS,
        }
    }

    /// Takes over what a batch changed.
    pub(super) fn committed(&self, outcome: &BatchOutcome) {
        let mut last = None;
        for verdict in outcome {
            match verdict {
                Ok(Verdict::Accepted { events, .. }) => {
                    for recorded in events {
                        self.happened(&recorded.event);
                        last = last.max(Some(recorded.event.id));
                    }
                }
                Ok(Verdict::Refused(_)) => {}
                Err(StoreError::OutcomeUnknown(_)) => return self.touched(Touched::Anything),
                Err(_) => {}
            }
        }
        if let Some(last) = last {
            self.reached(last);
        }
    }

    /// Something was written past the log.
    pub(super) fn touched(&self, what: Touched) {
        match what {
            Touched::Nothing => {}
            Touched::People => {
                self.people.fetch_add(1, Ordering::AcqRel);
            }
            Touched::Anything => {
                self.last_id.store(UNKNOWN, Ordering::Release);
                self.people.fetch_add(1, Ordering::AcqRel);
                self.rooms.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn happened(&self, event: &Event) {
        if self.heads.len() >= self.most_heads {
            // What was kept is void first: without the heads it would look as if nothing had happened since.
            self.rooms.fetch_add(1, Ordering::AcqRel);
            self.heads.clear();
        }
        self.heads.insert(event.room, event.seq);
        match event.body {
            // A head that moved says it all: of the room, or of the inbox of whoever's mark moved.
            EventBody::MessagePosted { .. }
            | EventBody::MessageEdited { .. }
            | EventBody::MessageDeleted { .. }
            | EventBody::AnswerEnded { .. }
            | EventBody::ReadMarked { .. }
            | EventBody::UserJoined { .. }
            // Nobody has looked for it yet.
            | EventBody::SessionBegun { .. }
            | EventBody::SettingsSynced { .. }
            | EventBody::AccountUpdated { .. } => {}
            EventBody::RoomCreated { .. }
            | EventBody::RoomUpdated { .. }
            | EventBody::RoomDeleted { .. }
            | EventBody::MemberAdded { .. }
            | EventBody::MemberRemoved { .. }
            | EventBody::MembershipGranted { .. }
            | EventBody::MembershipRevoked { .. }
            | EventBody::RoomListed { .. }
            | EventBody::RoomUnlisted { .. } => {
                self.rooms.fetch_add(1, Ordering::AcqRel);
            }
            EventBody::SessionEnded { .. } => {
                self.people.fetch_add(1, Ordering::AcqRel);
            }
            EventBody::UserUpdated { .. } | EventBody::UserLeft { .. } => {
                self.people.fetch_add(1, Ordering::AcqRel);
                self.rooms.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// The last event of the log; none if only the database knows.
    pub(super) fn last_id(&self) -> Option<EventId> {
        let last = self.last_id.load(Ordering::Acquire);
        (self.alone && last != UNKNOWN).then(|| EventId::new(last))
    }

    fn reached(&self, last: EventId) {
        self.last_id.fetch_max(last.get(), Ordering::AcqRel);
    }

    /// To be taken before a session is read.
    pub(super) fn people(&self) -> Stamp {
        Stamp(self.people.load(Ordering::Acquire))
    }

    /// To be taken before rooms are read.
    pub(super) fn rooms(&self) -> Stamp {
        Stamp(self.rooms.load(Ordering::Acquire))
    }

    /// A session that lives at `now`.
    pub(super) fn session(&self, key: &SessionKey, now: Timestamp) -> Option<(Session, Person)> {
        let kept = self.sessions.get(key)?;
        let holds = kept.stamp == self.people().0 && (self.alone || kept.at.elapsed() < SHARED);
        // What ran out may have been made longer since.
        (holds && kept.value.0.expires_at > now).then(|| kept.value.clone())
    }

    /// Keeps a session that was read.
    pub(super) fn keep_session(&self, key: SessionKey, Stamp(stamp): Stamp, found: &(Session, Person)) {
        if self.sessions.len() >= ENTRIES {
            self.sessions.clear();
        }
        self.sessions.insert(key, Kept { stamp, at: Instant::now(), value: found.clone() });
    }

    /// A session was written to.
    pub(super) fn drop_session(&self, key: &SessionKey) {
        self.sessions.remove(key);
    }

    /// An active bot with its keys. Where other processes write, too, it isn't kept: a key that is taken back ends at once.
    pub(super) fn bot(&self, bot: UserId) -> Option<WithKeys> {
        let kept = self.bots.get(&bot)?;
        (kept.stamp == self.people().0).then(|| kept.value.clone())
    }

    /// Keeps an active bot that was read.
    pub(super) fn keep_bot(&self, Stamp(stamp): Stamp, bot: &Person, keys: &Arc<[KnownKey]>) {
        if !self.alone {
            return;
        }
        if self.bots.len() >= ENTRIES {
            self.bots.clear();
        }
        let value = (bot.clone(), Arc::clone(keys));
        self.bots.insert(bot.id, Kept { stamp, at: Instant::now(), value });
    }

    /// How `person` stood, as far as it holds.
    pub(super) fn standing(&self, person: &Person) -> Known {
        let Some(kept) = self.standings.get(&person.id) else { return Known::Nothing };
        if !self.alone || kept.stamp != self.rooms().0 || kept.value.role != person.role {
            return Known::Nothing;
        }
        let mut moved = Vec::new();
        for view in kept.value.rooms.iter() {
            if self.heads.get(&view.card.id).is_some_and(|head| *head > view.head) {
                // The inbox tells of one's own marks, any of which may have moved; and whoever goes on from the heads of inbox and
                // commons has to hear of each room that isn't listed, so that they are never newer than the list.
                if view.card.kind.is_system() {
                    return Known::Nothing;
                }
                moved.push(view.card.id);
            }
        }
        // The heads may have been let go meanwhile.
        if kept.stamp != self.rooms().0 {
            return Known::Nothing;
        }
        Known::But(Arc::clone(&kept.value.rooms), moved)
    }

    /// Keeps how `person` stands; `rooms` are all of theirs.
    pub(super) fn keep_standing(&self, person: &Person, Stamp(stamp): Stamp, rooms: Arc<[RoomView]>) {
        if !self.alone {
            return;
        }
        let count = rooms.len();
        if self.standings.len() >= ENTRIES || self.views.load(Ordering::Relaxed) + count > VIEWS {
            self.standings.retain(|_, kept| {
                self.views.fetch_sub(kept.value.rooms.len(), Ordering::Relaxed);
                false
            });
        }
        self.views.fetch_add(count, Ordering::Relaxed);
        let value = Standing { role: person.role, rooms };
        if let Some(before) = self.standings.insert(person.id, Kept { stamp, at: Instant::now(), value }) {
            self.views.fetch_sub(before.value.rooms.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;

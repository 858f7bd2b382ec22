//! Those who follow a room by badge, and how it stands for each of them: counted on where that is simple, marked as stale
//! where only the store can count. An event costs the same however many follow; each tick costs one step per follower.

use crate::actors::hub::ConnId;
use crate::domain::{Badge, Event, EventBody, Seq, UserId};
use std::collections::{HashMap, HashSet};

/// Messages remembered between two ticks; with more of them everybody is counted anew.
const MAX_POSTED: usize = 4_096;

/// The followers of a room. Pure.
#[derive(Debug, Default)]
pub(super) struct Badges {
    followers: HashMap<ConnId, Follower>,
    counts: HashMap<UserId, Count>,
    /// Messages since the last [`Badges::settle`], with their authors.
    posted: Vec<(Seq, UserId)>,
    stale: HashSet<UserId>,
    all_stale: bool,
    /// Whether a follower may have something to hear.
    moved: bool,
    /// How often what only the store can count has changed.
    revision: u64,
}

#[derive(Debug)]
struct Follower {
    user: UserId,
    join: u64,
    told: Badge,
}

#[derive(Debug)]
struct Count {
    badge: Badge,
    followers: usize,
}

impl Badges {
    /// Sockets that follow.
    pub(super) fn len(&self) -> usize {
        self.followers.len()
    }

    /// Changes with whatever outdates a count that is being read.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// A socket follows from `badge` on. `outdated`: more happened than it says.
    pub(super) fn follow(&mut self, conn: ConnId, join: u64, user: UserId, badge: Badge, outdated: bool) {
        self.leave(conn, join);
        self.followers.insert(conn, Follower { user, join, told: badge });
        let count = self.counts.entry(user).or_insert(Count { badge, followers: 0 });
        count.followers += 1;
        if badge.head >= count.badge.head {
            count.badge = badge;
        }
        if outdated {
            self.stale.insert(user);
        }
    }

    /// A socket's subscription of `join` or before is over. Who it was, if it followed.
    pub(super) fn leave(&mut self, conn: ConnId, join: u64) -> Option<UserId> {
        let user = self.followers.get(&conn).filter(|follower| follower.join <= join)?.user;
        self.followers.remove(&conn);
        if let Some(count) = self.counts.get_mut(&user) {
            count.followers -= 1;
            if count.followers == 0 {
                self.counts.remove(&user);
                self.stale.remove(&user);
            }
        }
        if self.followers.is_empty() {
            *self = Self { revision: self.revision, ..Self::default() };
        }
        Some(user)
    }

    /// The sockets of those for whom `which` holds.
    pub(super) fn of(&self, which: impl Fn(UserId) -> bool) -> Vec<ConnId> {
        self.followers.iter().filter(|(_, follower)| which(follower.user)).map(|(conn, _)| *conn).collect()
    }

    /// The next event of the room.
    pub(super) fn on_event(&mut self, event: &Event) {
        let deleted = matches!(event.body, EventBody::MessageDeleted { .. });
        if deleted {
            self.revision += 1;
        }
        if self.followers.is_empty() {
            return;
        }
        self.moved = true;
        // Who had the message unread is in the store only.
        self.all_stale |= deleted;
        if let EventBody::MessagePosted { author, .. } = &event.body {
            if self.posted.len() < MAX_POSTED {
                self.posted.push((event.seq, author.id));
            } else {
                self.all_stale = true;
            }
        }
    }

    /// Somebody's read mark moved, on whichever device.
    pub(super) fn on_read(&mut self, user: UserId) {
        self.revision += 1;
        if self.counts.contains_key(&user) {
            self.stale.insert(user);
            self.moved = true;
        }
    }

    /// Whether the next tick has something to do.
    pub(super) fn is_due(&self) -> bool {
        !self.followers.is_empty() && (self.moved || self.all_stale || !self.stale.is_empty())
    }

    /// Takes those whom only the store can count.
    pub(super) fn take_stale(&mut self) -> Vec<UserId> {
        let stale = std::mem::take(&mut self.stale);
        if std::mem::take(&mut self.all_stale) {
            return self.counts.keys().copied().collect();
        }
        stale.into_iter().collect()
    }

    /// They couldn't be counted: once more with the next tick.
    pub(super) fn still_stale(&mut self, users: impl IntoIterator<Item = UserId>) {
        self.stale.extend(users.into_iter().filter(|user| self.counts.contains_key(user)));
    }

    /// What the store counted.
    pub(super) fn counted(&mut self, counted: impl IntoIterator<Item = (UserId, Badge)>) {
        for (user, badge) in counted {
            if let Some(count) = self.counts.get_mut(&user) {
                count.badge = badge;
                self.moved = true;
            }
        }
    }

    /// Brings every count up to `head` and gives what each socket hasn't been told.
    pub(super) fn settle(&mut self, head: Seq) -> Vec<(ConnId, Badge)> {
        self.moved = false;
        let posted = std::mem::take(&mut self.posted);
        let mut by_author: HashMap<UserId, i64> = HashMap::new();
        for (_, author) in &posted {
            *by_author.entry(*author).or_default() += 1;
        }
        let all = count(posted.len());
        let first = posted.first().map_or(head, |(seq, _)| *seq);
        for (user, known) in &mut self.counts {
            let badge = &mut known.badge;
            let own = by_author.get(user).copied().unwrap_or_default();
            badge.unread += if badge.head < first {
                all - own
            } else {
                let later = posted.iter().filter(|(seq, author)| *seq > badge.head && author != user);
                count(later.count())
            };
            badge.head = badge.head.max(head);
        }
        let mut news = Vec::new();
        for (conn, follower) in &mut self.followers {
            if let Some(known) = self.counts.get(&follower.user)
                && known.badge != follower.told
            {
                follower.told = known.badge;
                news.push((*conn, known.badge));
            }
        }
        news
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, Person, Role, RoomId, Timestamp};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn conn(serial: u64) -> ConnId {
        ConnId { hub: 0, serial }
    }

    fn event(seq: i64, body: EventBody) -> Event {
        Event {
            id: EventId::new(seq),
            room: RoomId::new(1),
            seq: Seq::new(seq),
            at: Timestamp::from_millis(seq),
            actor: None,
            body,
        }
    }

    fn posted(seq: i64, author: i64) -> Event {
        let author = Person { id: UserId::new(author), name: "A".into(), role: Role::Member };
        let body =
            EventBody::MessagePosted { author, client_message_id: Uuid::nil(), body: "b".into(), run: None };
        event(seq, body)
    }

    fn badge(head: i64, unread: i64) -> Badge {
        Badge { head: Seq::new(head), read: Seq::default(), unread }
    }

    #[test]
    fn counts_others_and_not_oneself_and_tells_each_once() {
        let mut badges = Badges::default();
        let (ann, bob) = (UserId::new(1), UserId::new(2));
        badges.follow(conn(1), 1, ann, badge(5, 2), false);
        badges.follow(conn(2), 2, bob, badge(7, 0), false);
        assert!(!badges.is_due());
        for (seq, author) in [(6, 2), (7, 1), (8, 1), (9, 2)] {
            badges.on_event(&posted(seq, author));
        }
        let mut news = badges.settle(Seq::new(9));
        news.sort_by_key(|(conn, _)| conn.serial);
        assert_eq!(news, [(conn(1), badge(9, 4)), (conn(2), badge(9, 1))], "7 was in Bob's count already");
        assert_eq!(badges.settle(Seq::new(9)), []);
        assert!(!badges.is_due());
    }

    #[test]
    fn what_only_the_store_knows_is_asked_once() {
        let mut badges = Badges::default();
        let (ann, bob) = (UserId::new(1), UserId::new(2));
        badges.follow(conn(1), 1, ann, badge(5, 2), false);
        badges.follow(conn(2), 2, bob, badge(5, 2), false);
        badges.on_read(UserId::new(3));
        assert!(!badges.is_due(), "nobody who follows");
        badges.on_read(bob);
        assert_eq!(badges.take_stale(), [bob]);
        assert_eq!(badges.take_stale(), []);
        badges.still_stale([bob]);
        assert!(badges.is_due());
        let deleted = EventBody::MessageDeleted { message: EventId::new(1), deleted_by: ann };
        badges.on_event(&event(6, deleted));
        assert_eq!(badges.take_stale().len(), 2, "anybody may have had it unread");
        badges.counted([(bob, badge(8, 1))]);
        badges.on_event(&posted(7, 1));
        badges.on_event(&posted(9, 1));
        let news = badges.settle(Seq::new(9));
        assert!(news.contains(&(conn(2), badge(9, 2))), "7 was counted by the store: {news:?}");
    }

    #[test]
    fn a_subscription_that_was_replaced_ends_nothing() {
        let mut badges = Badges::default();
        let ann = UserId::new(1);
        badges.follow(conn(1), 7, ann, badge(1, 0), true);
        assert_eq!(badges.leave(conn(1), 6), None, "an older one was meant");
        assert_eq!(badges.leave(conn(1), 7), Some(ann));
        assert!(badges.counts.is_empty() && badges.stale.is_empty() && !badges.is_due());
    }

    proptest! {
        /// Whatever is posted between ticks, the count is that of all messages of others.
        #[test]
        fn the_count_is_the_recount(steps in prop::collection::vec((1..4_i64, any::<bool>()), 1..60)) {
            let mut badges = Badges::default();
            for user in 1..4 {
                badges.follow(conn(user), user, UserId::new(i64::try_from(user).expect("small")), badge(0, 0), false);
            }
            let mut told: HashMap<ConnId, Badge> = HashMap::new();
            let mut log = Vec::new();
            for (author, tick) in steps {
                log.push(author);
                let seq = i64::try_from(log.len()).expect("small");
                badges.on_event(&posted(seq, author));
                if tick {
                    told.extend(badges.settle(Seq::new(seq)));
                }
            }
            let head = i64::try_from(log.len()).expect("small");
            told.extend(badges.settle(Seq::new(head)));
            for user in 1..4_i64 {
                let others = i64::try_from(log.iter().filter(|author| **author != user).count()).expect("small");
                prop_assert_eq!(told[&conn(user.unsigned_abs())], badge(head, others));
            }
        }
    }
}

//! Every post against the store: nothing acked lost, nothing doubled, nothing changed, nothing overtaken.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::{StoreView, Violation};
use crate::client::Message;
use crate::history::{History, Post};

pub(super) fn check(history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let mut stored: HashMap<Uuid, Vec<&Message>> = HashMap::new();
    for (room, message) in store.rooms.iter().flat_map(|room| room.messages.iter().map(move |m| (room, m))) {
        match message.client_message_id.filter(|id| history.posts.contains_key(id)) {
            Some(id) => stored.entry(id).or_default().push(message),
            None => {
                found.push(Violation::FromNowhere {
                    room_id: room.room_id,
                    id: message.id,
                    seq: message.seq,
                });
            }
        }
    }
    for (&id, post) in &history.posts {
        check_one(id, post, stored.get(&id).map_or(&[], Vec::as_slice), found);
    }
}

fn check_one(id: Uuid, post: &Post, stored: &[&Message], found: &mut Vec<Violation>) {
    let room_id = post.room_id;
    let ack = post.acks.first().copied();
    for later in post.acks.iter().skip(1) {
        if let Some(first) = ack.filter(|first| (first.id, first.seq) != (later.id, later.seq)) {
            found.push(Violation::TwoAnswers { post: id, first, later: *later });
        }
    }
    if let Some(ack) = ack.filter(|ack| ack.duplicate && post.attempts == 1) {
        found.push(Violation::FalseDuplicate { post: id, ack });
    }
    let [message, rest @ ..] = stored else {
        found.extend(ack.map(|ack| Violation::Lost { post: id, room_id, ack }));
        return;
    };
    if !rest.is_empty() {
        found.push(Violation::Doubled { post: id, room_id, ids: stored.iter().map(|m| m.id).collect() });
    }
    if message.room_id != room_id {
        found.push(Violation::WrongRoom { post: id, sent: room_id, stored: message.room_id });
    }
    if message.body != post.body {
        found.push(Violation::ChangedBody {
            post: id,
            sent: post.body.clone(),
            stored: message.body.clone(),
        });
    }
    match ack {
        Some(ack) if !stored.iter().any(|m| (m.id, m.seq) == (ack.id, ack.seq)) => {
            found.push(Violation::Moved { post: id, ack, id: message.id, seq: message.seq });
        }
        None if post.attempts > 0 && post.refusals.len() == post.attempts => {
            found.push(Violation::StoredThoughRefused {
                post: id,
                codes: post.refusals.clone(),
                id: message.id,
            });
        }
        _ => {}
    }
}

/// Ids grow in the order of commit: what was sent after an ack was heard has the higher id, in any rooms.
pub(super) fn check_real_time(history: &History, found: &mut Vec<Violation>) {
    let mut acked: Vec<(Duration, u64, Uuid)> = Vec::new();
    let mut sent: Vec<(Duration, u64, Uuid)> = Vec::new();
    for (&id, post) in &history.posts {
        if let (Some(ack), Some(at)) = (post.acks.first(), post.acked_at) {
            acked.push((at, ack.id, id));
            sent.push((post.sent_at, ack.id, id));
        }
    }
    acked.sort_unstable();
    sent.sort_unstable();
    let mut acked = acked.into_iter().peekable();
    let mut highest: Option<(u64, Uuid)> = None;
    for (sent_at, later_id, later) in sent {
        while let Some((_, id, post)) = acked.next_if(|(at, _, _)| *at < sent_at) {
            if highest.is_none_or(|(high, _)| id > high) {
                highest = Some((id, post));
            }
        }
        if let Some((earlier_id, earlier)) = highest.filter(|(high, _)| *high > later_id) {
            found.push(Violation::Overtaken { earlier, earlier_id, later, later_id });
        }
    }
}

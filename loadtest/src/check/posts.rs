//! Every post against the store: nothing acked lost, nothing doubled, nothing changed, nothing refused for no reason.

use std::collections::HashMap;

use uuid::Uuid;

use super::{StoreView, Violation, membership};
use crate::history::{History, Post};

/// A message as it was posted, wherever the store still has it.
struct Stored {
    id: u64,
    seq: u64,
    room_id: u64,
    body: String,
}

pub(super) fn check(history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let mut stored: HashMap<Uuid, Vec<Stored>> = HashMap::new();
    for room in &store.rooms {
        let room_id = room.room_id;
        let fold = room.fold();
        let shown = room.messages.iter().map(|message| {
            // An edited message shows other words; how it was posted is in the log.
            let edited = fold.edits.contains_key(&message.id);
            let posted = fold.posted.get(&message.id).filter(|_| edited).and_then(|event| event.text("body"));
            let body = posted.unwrap_or(&message.body).to_owned();
            (
                message.client_message_id,
                Stored { id: message.id, seq: message.seq, room_id: message.room_id, body },
            )
        });
        let deleted = fold.deleted.keys().filter_map(|id| fold.posted.get(id)).map(|event| {
            let client_message_id = event.text("client_message_id").and_then(|id| id.parse().ok());
            let body = event.text("body").unwrap_or_default().to_owned();
            (client_message_id, Stored { id: event.id, seq: event.seq, room_id, body })
        });
        for (client_message_id, message) in shown.chain(deleted) {
            match client_message_id.filter(|id| history.posts.contains_key(id)) {
                Some(id) => stored.entry(id).or_default().push(message),
                None => found.push(Violation::FromNowhere { room_id, id: message.id, seq: message.seq }),
            }
        }
    }
    for (&id, post) in &history.posts {
        denied(id, post, history, store, found);
        // Nobody can read a room that was deleted.
        if store.room(post.room_id).is_some() {
            check_one(id, post, stored.get(&id).map_or(&[], Vec::as_slice), found);
        } else if let Some(message) = stored.get(&id).and_then(|stored| stored.first()) {
            found.push(Violation::WrongRoom { post: id, sent: post.room_id, stored: message.room_id });
        }
    }
}

/// Giving up is right only where the author may have been out of the room.
fn denied(id: Uuid, post: &Post, history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let Some(code) = &post.denied else { return };
    if code == "not_found" && membership::may_be_out(post.by, post.room_id, history, store) {
        return;
    }
    found.push(Violation::Denied { what: format!("post {id} in room {}", post.room_id), code: code.clone() });
}

fn check_one(id: Uuid, post: &Post, stored: &[Stored], found: &mut Vec<Violation>) {
    let room_id = post.room_id;
    let ack = post.acks.first().copied();
    for later in post.acks.iter().skip(1) {
        if let Some(first) = ack.filter(|first| (first.id, first.seq) != (later.id, later.seq)) {
            found.push(Violation::TwoAnswers { post: id, first, later: *later });
        }
    }
    if let Some(ack) = ack.filter(|ack| ack.duplicate && post.unknown == 0) {
        found.push(Violation::FalseDuplicate { post: id, ack });
    }
    if let Some(later) = post.acks.iter().skip(1).find(|later| !later.duplicate) {
        found.push(Violation::NoDuplicate { post: id, ack: *later });
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

//! Edits, deletes, memberships, rooms: each done one is in the log, each in the log was asked for, no update is lost.

use std::collections::HashMap;

use super::{RoomView, StoreView, Violation, membership};
use crate::history::{Deed, History, What};
use crate::wire::Event;

pub(super) fn check(history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    lost_updates(history, found);
    for deed in &history.deeds {
        answered(deed, history, store, found);
        if let Some(room) = deed.what.room_id().and_then(|room_id| store.room(room_id)) {
            done(deed, room, found);
        }
    }
    for room in &store.rooms {
        for event in &room.events {
            asked_for(event, history, found);
        }
    }
    for search in &store.searches {
        let (id, word) = (search.message, search.word.clone());
        let is_found = search.found.contains(&id);
        if is_found && search.deleted {
            found.push(Violation::FoundThoughDeleted { id, word });
        } else if !is_found && !search.deleted {
            found.push(Violation::NotFound { id, word });
        }
    }
}

impl What {
    fn room_id(&self) -> Option<u64> {
        match self {
            What::Reuse { room_id, .. }
            | What::Edit { room_id, .. }
            | What::Delete { room_id, .. }
            | What::Add { room_id, .. }
            | What::Remove { room_id, .. }
            | What::Rename { room_id, .. }
            | What::DeleteRoom { room_id }
            | What::Mark { room_id, .. } => Some(*room_id),
            What::Create { .. } => None,
        }
    }

    /// Is this event what came of it?
    fn is_told_by(&self, event: &Event) -> bool {
        if self.room_id() != Some(event.room_id) {
            return false;
        }
        match (self, event.kind.as_str()) {
            (What::Edit { message, version, body, .. }, "message.edited") => {
                event.number("message_id") == Some(*message)
                    && event.number("version") == Some(version + 1)
                    && event.text("body") == Some(body)
            }
            (What::Delete { message, .. }, "message.deleted") => event.number("message_id") == Some(*message),
            (What::Add { user, .. }, "member.added") => {
                event.json.pointer("/data/user/id").and_then(serde_json::Value::as_u64) == Some(*user)
            }
            (What::Remove { user, .. }, "member.removed") => event.number("user_id") == Some(*user),
            (What::Rename { name, .. }, "room.updated") => event.text("name") == Some(name),
            (What::DeleteRoom { .. }, "room.deleted") => true,
            _ => false,
        }
    }
}

/// Of two edits of one version one has to be refused.
fn lost_updates(history: &History, found: &mut Vec<Violation>) {
    let mut first: HashMap<(u64, u64), &str> = HashMap::new();
    for deed in history.deeds.iter().filter(|deed| deed.done.is_some()) {
        let What::Edit { message, version, body, .. } = &deed.what else { continue };
        let known = *first.entry((*message, *version)).or_insert(body);
        if known != body {
            found.push(Violation::LostUpdate {
                message: *message,
                version: *version,
                bodies: [known.to_owned(), body.clone()],
            });
        }
    }
}

/// The codes others' doings may bring about; with them, nothing was stored.
fn answered(deed: &Deed, history: &History, store: &StoreView, found: &mut Vec<Violation>) {
    let out = |room_id| membership::may_be_out(deed.by, room_id, history, store);
    let closed = |room_id| history.rooms.get(&room_id).is_some_and(|room| room.closed);
    if let (What::Reuse { post, .. }, Some((_, data))) = (&deed.what, &deed.done) {
        found.push(Violation::ConflictMissed { post: *post, answer: data.to_string() });
    }
    // Edits differ in their words, so that a repetition is one of this very edit.
    let repeated =
        matches!(&deed.done, Some((_, data)) if data.get("duplicate").is_some_and(|it| *it == true));
    if repeated && matches!(deed.what, What::Edit { .. }) && deed.refusals.len() + 1 >= deed.attempts {
        let (what, codes) = (format!("{:?}", deed.what), deed.refusals.clone());
        found.push(Violation::DoneThoughRefused { what, codes });
    }
    for code in &deed.refusals {
        let fits = match (&deed.what, code.as_str()) {
            (_, "rate_limited" | "overloaded" | "read_only") => true,
            (What::Reuse { .. }, "idempotency_conflict")
            | (What::Edit { .. }, "version_conflict")
            // Bots make no rooms, and only its maker and admins run one.
            | (What::Create { .. } | What::Rename { .. } | What::DeleteRoom { .. }, "forbidden" | "not_found") => true,
            (What::Edit { room_id, message, .. } | What::Delete { room_id, message }, "not_found") => {
                let deleted = history.deeds.iter().any(
                    |deed| matches!(&deed.what, What::Delete { message: other, .. } if other == message),
                );
                out(*room_id) || deleted && matches!(deed.what, What::Edit { .. })
            }
            (What::Reuse { room_id, .. } | What::Mark { room_id, .. }, "not_found") => out(*room_id),
            (What::Remove { room_id, user }, "not_found") => *user == deed.by && out(*room_id),
            (What::Add { room_id, .. } | What::Remove { room_id, .. }, "forbidden") => !closed(*room_id),
            _ => false,
        };
        if !fits {
            found.push(Violation::Denied { what: format!("{:?}", deed.what), code: code.clone() });
        }
    }
}

/// What was acknowledged is in the log where the ack said.
fn done(deed: &Deed, room: &RoomView, found: &mut Vec<Violation>) {
    if deed.done.is_none() {
        return;
    }
    let place = deed.number("id").zip(deed.number("seq"));
    // A repeat may name the place of somebody else's doing.
    let repeated = deed.done.as_ref().is_some_and(|(_, data)| data.get("duplicate").is_some());
    if let Some((id, seq)) = place.filter(|_| !repeated) {
        let stored = room.at(seq).is_some_and(|event| event.id == id && deed.what.is_told_by(event));
        if !stored {
            found.push(Violation::DeedLost { what: format!("{:?}", deed.what), id, seq });
        }
    }
    let told = || room.events.iter().any(|event| deed.what.is_told_by(event));
    match &deed.what {
        What::Edit { .. } if !told() => {
            found.push(Violation::DeedLost { what: format!("{:?}", deed.what), id: 0, seq: 0 });
        }
        What::Delete { message, .. } if !told() || room.messages.iter().any(|m| m.id == *message) => {
            found.push(Violation::NotDeleted { id: *message });
        }
        _ => {}
    }
}

/// An event nobody asked for, or that everybody who asked for it was refused.
fn asked_for(event: &Event, history: &History, found: &mut Vec<Violation>) {
    const OURS: [&str; 6] = [
        "message.edited",
        "message.deleted",
        "member.added",
        "member.removed",
        "room.updated",
        "room.deleted",
    ];
    if !OURS.contains(&event.kind.as_str()) {
        return;
    }
    let deeds: Vec<&Deed> = history.deeds.iter().filter(|deed| deed.what.is_told_by(event)).collect();
    if deeds.iter().all(|deed| deed.is_refused()) {
        let asked =
            |deed: &&Deed| format!("{:?}, {} attempts, {:?}", deed.what, deed.attempts, deed.refusals);
        found.push(Violation::Unwanted {
            kind: event.kind.clone(),
            id: event.id,
            room_id: event.room_id,
            asked: deeds.iter().map(asked).collect(),
        });
    }
}

//! Typing and presence against the order of the events they travel with, and against REST in the end.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::Violation;
use crate::history::{Heard, History, Late, Listener};

pub(super) fn check(listener: &Listener, found: &mut Vec<Violation>) {
    let (room_id, name) = (listener.room_id, || listener.name.clone());
    let mut said: HashMap<u64, u64> = HashMap::new();
    let mut left: HashSet<u64> = HashSet::new();
    let mut own = |user: u64| {
        if user == listener.user {
            found.push(Violation::OwnTyping { listener: name(), room_id });
        }
    };
    let mut stale = Vec::new();
    for heard in &listener.heard {
        match heard {
            Heard::Typing { user, typing, at_seq } => {
                own(*user);
                if let Some(&seq) = said.get(user).filter(|seq| *typing && **seq > *at_seq) {
                    let (user, at_seq) = (*user, *at_seq);
                    stale.push(Violation::StaleTyping { listener: name(), room_id, user, at_seq, said: seq });
                }
            }
            Heard::Snapshot { typing, present } => {
                typing.iter().copied().for_each(&mut own);
                left.retain(|user| !present.contains(user));
            }
            Heard::Moved { joined, left: gone } => {
                left.retain(|user| !joined.contains(user));
                left.extend(gone);
            }
            Heard::From { .. } | Heard::Lost | Heard::Resync { .. } => {
                left.clear();
            }
            Heard::Event(event) if event.kind == "message.posted" => {
                let author =
                    event.json.pointer("/data/author/id").and_then(Value::as_u64).unwrap_or_default();
                let last = said.entry(author).or_default();
                *last = event.seq.max(*last);
                // A socket that can't take the `joined` is told to subscribe anew instead.
                if left.contains(&author) {
                    let seq = event.seq;
                    stale.push(Violation::SpokeAfterLeaving { listener: name(), room_id, user: author, seq });
                }
            }
            _ => {}
        }
    }
    found.extend(stale);
}

/// What was believed when all was quiet, and who never came so far.
pub(super) fn check_endings(history: &History, found: &mut Vec<Violation>) {
    let ended: HashSet<&str> = history.endings.iter().map(|ending| ending.device.as_str()).collect();
    let busy = history.expected.iter().filter(|device| !ended.contains(device.as_str()));
    found.extend(busy.map(|device| Violation::NeverEnded { listener: device.clone() }));
    for ending in &history.endings {
        let listener = || ending.device.clone();
        let missing = ending.missing.iter();
        found.extend(missing.map(|&room_id| Violation::NeverSaw { listener: listener(), room_id }));
        found.extend(ending.late.iter().map(|&Late { room_id, heard, head, live }| {
            Violation::NeverCaughtUp { listener: listener(), room_id, heard, head, live }
        }));
        found.extend(ending.typing.iter().map(|&(room_id, user)| Violation::StuckTyping {
            listener: listener(),
            room_id,
            user,
        }));
        found.extend(ending.presence.iter().map(|(user, believed, told)| Violation::PresenceDiffers {
            listener: listener(),
            user: *user,
            believed: believed.clone(),
            told: told.clone(),
        }));
    }
}

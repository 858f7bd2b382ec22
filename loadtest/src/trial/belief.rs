//! What a device believes of others after the signals it heard, folded as any client would.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

#[derive(Debug, Default)]
pub(super) struct Belief {
    typing: HashMap<u64, HashSet<u64>>,
    presence: HashMap<u64, String>,
    /// Has the commons' snapshot been heard on this connection?
    pub(super) has_presence: bool,
}

impl Belief {
    /// Takes a subscription's snapshot over: what was believed of the room is gone. Typists and who was present.
    pub(super) fn snapshot(&mut self, room_id: u64, room: &Value) -> (Vec<u64>, Vec<u64>) {
        let typing = ids(room.get("typing"));
        self.typing.insert(room_id, typing.iter().copied().collect());
        if let Some(online) = room.get("online") {
            self.presence = states(Some(online)).into_iter().collect();
            self.has_presence = true;
        }
        (typing, ids(room.get("present")))
    }

    pub(super) fn typing(&mut self, room_id: u64, user: u64, on: bool) {
        let typists = self.typing.entry(room_id).or_default();
        if on {
            typists.insert(user)
        } else {
            typists.remove(&user)
        };
    }

    /// A message ends its author's typing.
    pub(super) fn said(&mut self, room_id: u64, user: u64) {
        self.typing(room_id, user, false);
    }

    pub(super) fn presence(&mut self, users: Option<&Value>) {
        self.presence.extend(states(users));
    }

    /// The room is over for this device.
    pub(super) fn forget(&mut self, room_id: u64) {
        self.typing.remove(&room_id);
    }

    /// Indicators that are on: room and typist.
    pub(super) fn typists(&self) -> Vec<(u64, u64)> {
        let typing = self.typing.iter();
        typing.flat_map(|(room_id, users)| users.iter().map(|user| (*room_id, *user))).collect()
    }

    /// Of whom it believes something else than `told` says: who, what it believes, what is told.
    pub(super) fn differs(&self, told: &[(u64, String)], of: &[u64]) -> Vec<(u64, String, String)> {
        if !self.has_presence {
            return Vec::new();
        }
        let ours = told.iter().filter(|(user, _)| of.contains(user));
        let compared = ours.map(|(user, told)| {
            let believed = self.presence.get(user).cloned().unwrap_or_else(|| "offline".to_owned());
            (*user, believed, told.clone())
        });
        // Somebody nothing was ever said of is not here, whatever the word for it.
        compared
            .filter(|(_, believed, told)| believed != told && !(is_gone(believed) && is_gone(told)))
            .collect()
    }
}

fn is_gone(state: &str) -> bool {
    matches!(state, "offline" | "signed_out")
}

/// Users of a list of ids, or of objects with an `id`.
pub(super) fn ids(list: Option<&Value>) -> Vec<u64> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| entry.as_u64().or_else(|| entry.get("id")?.as_u64())).collect()
}

/// Users with their state; a bare id is online.
fn states(list: Option<&Value>) -> Vec<(u64, String)> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    let state = |entry: &Value| {
        let id = entry.as_u64().or_else(|| entry.get("id")?.as_u64())?;
        Some((id, entry.get("state").and_then(Value::as_str).unwrap_or("online").to_owned()))
    };
    entries.filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signals_change_what_the_snapshot_said() {
        let mut belief = Belief::default();
        assert_eq!(belief.differs(&[(1, "online".into())], &[1]), vec![], "nothing is known yet");
        belief.snapshot(9, &json!({"typing": [{"id": 3, "name": "x"}], "online": [1, 2]}));
        belief.typing(9, 4, true);
        belief.said(9, 3);
        belief.presence(Some(&json!([{"id": 2, "state": "offline"}, {"id": 5, "state": "away"}])));
        assert_eq!(belief.typists(), vec![(9, 4)]);
        let told = [(1, "online"), (2, "signed_out"), (5, "online"), (6, "online")];
        let told = told.map(|(user, state)| (user, state.to_owned()));
        let differs = belief.differs(&told, &[1, 2, 5]);
        assert_eq!(differs, vec![(5, "away".to_owned(), "online".to_owned())]);
        belief.forget(9);
        assert_eq!(belief.typists(), vec![]);
    }
}

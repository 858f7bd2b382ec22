//! What a device believes of others after the signals it heard, folded as any client would.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// A client ends an indicator it heard nothing more of by its own clock: its end may have been dropped.
const EXPIRY: Duration = Duration::from_secs(6);

#[derive(Debug, Default)]
pub(super) struct Belief {
    /// By room and typist, when it was last told.
    typing: HashMap<(u64, u64), Instant>,
    presence: HashMap<u64, String>,
    /// Has the commons' snapshot been heard on this connection?
    pub(super) has_presence: bool,
}

impl Belief {
    /// Takes a subscription's snapshot over: what was believed of the room is gone. Typists and who was present.
    pub(super) fn snapshot(&mut self, room_id: u64, room: &Value) -> (Vec<u64>, Vec<u64>) {
        let typing = ids(room.get("typing"));
        self.forget(room_id);
        typing.iter().for_each(|user| self.typing(room_id, *user, true));
        if let Some(online) = room.get("online") {
            self.presence = states(Some(online)).into_iter().collect();
            self.has_presence = true;
        }
        (typing, ids(room.get("present")))
    }

    pub(super) fn typing(&mut self, room_id: u64, user: u64, on: bool) {
        let _before = match on {
            true => self.typing.insert((room_id, user), Instant::now()),
            false => self.typing.remove(&(room_id, user)),
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
        self.typing.retain(|(room, _), _| *room != room_id);
    }

    /// Indicators that are on: room and typist. Where their ends may have been dropped, those that were told of within the
    /// client's own expiry.
    pub(super) fn typists(&self, now: Instant, may_drop: bool) -> Vec<(u64, u64)> {
        let on = self.typing.iter().filter(|(_, told)| !may_drop || now < **told + EXPIRY);
        on.map(|(place, _)| *place).collect()
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
        assert_eq!(belief.typists(Instant::now(), false), vec![(9, 4)]);
        let told = [(1, "online"), (2, "signed_out"), (5, "online"), (6, "online")];
        let told = told.map(|(user, state)| (user, state.to_owned()));
        let differs = belief.differs(&told, &[1, 2, 5]);
        assert_eq!(differs, vec![(5, "away".to_owned(), "online".to_owned())]);
        belief.forget(9);
        assert_eq!(belief.typists(Instant::now(), false), vec![]);
    }

    #[test]
    fn an_indicator_whose_end_was_dropped_ends_by_the_clock() {
        let mut belief = Belief::default();
        let began = Instant::now();
        belief.typing(9, 3, true);
        assert_eq!(belief.typists(began + EXPIRY / 2, true), vec![(9, 3)]);
        let over = Instant::now() + EXPIRY;
        assert_eq!(belief.typists(over, true), vec![]);
        assert_eq!(
            belief.typists(over, false),
            vec![(9, 3)],
            "where nothing is dropped the server has to end it"
        );
        // Told again, by a start or a snapshot, it goes on.
        while Instant::now() + EXPIRY <= over {
            std::hint::spin_loop();
        }
        belief.snapshot(8, &json!({"typing": [{"id": 4, "name": "x"}]}));
        assert_eq!(belief.typists(over, true), vec![(8, 4)]);
    }
}

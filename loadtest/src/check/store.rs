//! The store's side of the story, read over REST, and whether it agrees with itself.

use std::collections::HashMap;

use super::Violation;
use crate::client::{Client, ClientError, Message};
use crate::history::History;
use crate::wire::Event;

/// Messages whose words are searched for, of those that are there and of those that were deleted.
const SEARCHES: usize = 8;

/// The log and history of every room a run used.
#[derive(Debug, Clone, Default)]
pub struct StoreView {
    /// Those that can be read; deleted ones are not among them.
    pub rooms: Vec<RoomView>,
    pub searches: Vec<Search>,
}

/// What a search for a word of one message found.
#[derive(Debug, Clone)]
pub struct Search {
    pub message: u64,
    pub word: String,
    pub deleted: bool,
    pub found: Vec<u64>,
}

#[derive(Debug, Clone)]
pub struct RoomView {
    pub room_id: u64,
    pub head: u64,
    /// The whole log, in the order the server gave it.
    pub events: Vec<Event>,
    /// The whole history, in the order the server gave it.
    pub messages: Vec<Message>,
}

impl StoreView {
    /// Reads everything. The rooms have to be quiet meanwhile.
    pub async fn read(client: &Client, rooms: &[u64], history: &History) -> Result<StoreView, ClientError> {
        let mut view = StoreView::default();
        for &room_id in rooms {
            let log = match client.room_log(room_id, 0).await {
                Ok(log) => log,
                Err(error) if error.code() == "not_found" && was_deleted(room_id, history) => continue,
                Err(error) => return Err(error),
            };
            let (messages, head) = client.history(room_id).await?;
            view.rooms.push(RoomView { room_id, head, events: log.events, messages });
        }
        for (message, word, deleted) in view.worth_searching() {
            let found = client.search(&word).await?.iter().map(|message| message.id).collect();
            view.searches.push(Search { message, word, deleted, found });
        }
        Ok(view)
    }

    /// Messages with a word that is theirs alone.
    fn worth_searching(&self) -> Vec<(u64, String, bool)> {
        let (mut deleted, mut shown) = (Vec::new(), Vec::new());
        for room in &self.rooms {
            let fold = room.fold();
            for id in fold.deleted.keys() {
                let word = fold.posted.get(id).and_then(|event| own_word(event.text("body")?));
                deleted.extend(word.map(|word| (*id, word, true)));
            }
            for message in room.messages.iter().rev().take(SEARCHES) {
                shown.extend(own_word(&message.body).map(|word| (message.id, word, false)));
            }
        }
        deleted.truncate(SEARCHES);
        shown.truncate(SEARCHES);
        deleted.into_iter().chain(shown).collect()
    }

    pub fn room(&self, room_id: u64) -> Option<&RoomView> {
        self.rooms.iter().find(|room| room.room_id == room_id)
    }

    /// The highest id in any of the rooms.
    pub fn last_id(&self) -> u64 {
        self.rooms.iter().flat_map(|room| &room.events).map(|event| event.id).max().unwrap_or(0)
    }

    pub(super) fn check(&self, found: &mut Vec<Violation>) {
        let mut seen = HashMap::new();
        for room in &self.rooms {
            room.check_log(found);
            room.check_history(found);
            for event in &room.events {
                if let Some(first) = seen.insert(event.id, room.room_id) {
                    found.push(Violation::IdTwice { id: event.id, first, second: room.room_id });
                }
            }
        }
    }
}

impl RoomView {
    /// The event at a position. Logs are contiguous from 1, but a broken one must not mislead us.
    pub(super) fn at(&self, seq: u64) -> Option<&Event> {
        let likely = usize::try_from(seq).ok()?.checked_sub(1).and_then(|index| self.events.get(index));
        likely.filter(|event| event.seq == seq).or_else(|| self.events.iter().find(|event| event.seq == seq))
    }

    fn check_log(&self, found: &mut Vec<Violation>) {
        let room_id = self.room_id;
        let (mut expected, mut previous) = (1, 0);
        for event in &self.events {
            if event.room_id != room_id {
                found.push(Violation::ForeignInLog { room_id, id: event.id, of: event.room_id });
            }
            if event.seq != expected {
                found.push(Violation::SeqGap { room_id, expected, found: event.seq });
            }
            if event.id <= previous {
                found.push(Violation::IdOrder { room_id, seq: event.seq, id: event.id, previous });
            }
            expected = event.seq + 1;
            previous = event.id;
        }
        let last = self.events.last().map_or(0, |event| event.seq);
        if last != self.head {
            found.push(Violation::Head { room_id, head: self.head, last });
        }
    }

    /// What the log comes to.
    pub(super) fn fold(&self) -> Fold<'_> {
        let mut fold = Fold::default();
        for event in &self.events {
            let message = event.number("message_id");
            match (event.kind.as_str(), message) {
                ("message.posted", _) => drop(fold.posted.insert(event.id, event)),
                ("message.edited", Some(message)) => fold.edits.entry(message).or_default().push(event),
                ("message.deleted", Some(message)) => fold.deleted.entry(message).or_default().push(event),
                _ => {}
            }
        }
        fold
    }

    /// The history is what the log comes to: posted, in the words of the last edit, and not deleted.
    fn check_history(&self, found: &mut Vec<Violation>) {
        let room_id = self.room_id;
        let mut previous = 0;
        let Fold { mut posted, edits, deleted } = self.fold();
        for (message, edits) in &edits {
            let end = deleted.get(message).and_then(|deleted| deleted.first()).map(|event| event.seq);
            for (edit, expected) in edits.iter().zip(2..) {
                if edit.number("version") != Some(expected) {
                    let version = edit.number("version").unwrap_or_default();
                    found.push(Violation::VersionGap {
                        room_id,
                        message: *message,
                        expected,
                        found: version,
                    });
                }
                if !posted.contains_key(message) || end.is_some_and(|end| edit.seq > end) {
                    found.push(Violation::EditOfNothing { room_id, message: *message, seq: edit.seq });
                }
            }
        }
        for (message, events) in &deleted {
            if events.len() > 1 || !posted.contains_key(message) {
                found.push(Violation::DeletedTwice { room_id, message: *message });
            }
        }
        for message in &self.messages {
            if message.id <= previous {
                found.push(Violation::HistoryOrder { room_id, id: message.id, previous });
            }
            previous = message.id;
            let last = edits.get(&message.id).and_then(|edits| edits.last());
            let what = match posted.remove(&message.id) {
                None => "not in the log",
                Some(_) if deleted.contains_key(&message.id) => "deleted in the log",
                Some(event) if event.seq != message.seq => "at another seq in the log",
                Some(event) if last.unwrap_or(&event).text("body") != Some(&message.body) => {
                    "of another body in the log"
                }
                Some(event)
                    if last.unwrap_or(&event).number("version").is_some_and(|v| v != message.version) =>
                {
                    "of another version in the log"
                }
                Some(_) => continue,
            };
            found.push(Violation::HistoryNotLog { room_id, id: message.id, seq: message.seq, what });
        }
        for event in posted.into_values().filter(|event| !deleted.contains_key(&event.id)) {
            found.push(Violation::HistoryNotLog {
                room_id,
                id: event.id,
                seq: event.seq,
                what: "not in the history",
            });
        }
    }
}

/// A log's messages: how each was posted, its edits in order, its deletions.
#[derive(Default)]
pub(super) struct Fold<'a> {
    pub(super) posted: HashMap<u64, &'a Event>,
    pub(super) edits: HashMap<u64, Vec<&'a Event>>,
    pub(super) deleted: HashMap<u64, Vec<&'a Event>>,
}

/// Did anybody ask for that room's end?
fn was_deleted(room_id: u64, history: &History) -> bool {
    use crate::history::What;
    history.deeds.iter().any(|deed| deed.what == What::DeleteRoom { room_id } && !deed.is_refused())
}

/// The drawn word at the beginning of a body: `w` and eight hexadecimal digits.
fn own_word(body: &str) -> Option<String> {
    let word = body.split(' ').next()?;
    let digits = word.strip_prefix('w')?;
    (digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| word.to_owned())
}

//! What the store should do, in the simplest words: no SQL, no caches, every answer counted anew.

use hearth::domain::{RejectionCode, RoomKind};
use std::collections::{BTreeMap, BTreeSet};

/// A command, with everything named by its index: people 0 (the admin) to 3 (a guest), rooms and messages in
/// the order they were made, modulo how many there are.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Post { who: usize, room: usize, key: u8, text: u8 },
    Edit { who: usize, message: usize, behind: i32, text: u8 },
    Delete { who: usize, message: usize },
    Create { who: usize, kind: RoomKind, members: Vec<usize> },
    Rename { who: usize, room: usize, text: u8 },
    DeleteRoom { who: usize, room: usize },
    Add { who: usize, room: usize, user: usize },
    Remove { who: usize, room: usize, user: usize },
    Mark { who: usize, room: usize, seq: i64 },
    Profile { who: usize, text: u8 },
    Account { who: usize, text: u8 },
}

/// What an operation should come to: its events by kind and room index, or why not.
pub(crate) type Outcome = Result<Vec<(&'static str, usize)>, RejectionCode>;

pub(crate) const ADMIN: usize = 0;
pub(crate) const GUEST: usize = 3;
pub(crate) const PEOPLE: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) kind: RoomKind,
    pub(crate) name: String,
    pub(crate) creator: Option<usize>,
    pub(crate) members: BTreeSet<usize>,
    pub(crate) deleted: bool,
    pub(crate) head: i64,
    pub(crate) marks: BTreeMap<usize, i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) room: usize,
    pub(crate) seq: i64,
    pub(crate) author: usize,
    key: u8,
    first: u8,
    pub(crate) text: u8,
    pub(crate) version: i32,
    editor: Option<usize>,
    pub(crate) deleted: bool,
}

/// Rooms are at the index of their id less one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) rooms: Vec<Room>,
    pub(crate) messages: Vec<Message>,
    pub(crate) last_id: i64,
    pub(crate) names: BTreeMap<usize, String>,
    pub(crate) commons: usize,
    pub(crate) account: String,
}

use RejectionCode::{Forbidden, IdempotencyConflict, InvalidPayload, NotFound, VersionConflict};

fn not_for_guests(who: usize) -> Result<(), RejectionCode> {
    if who == GUEST { Err(Forbidden) } else { Ok(()) }
}

impl Model {
    pub(crate) fn inbox(&self, who: usize) -> usize {
        let own = |room: &Room| room.kind == RoomKind::Inbox && room.members.contains(&who);
        self.rooms.iter().position(own).expect("an inbox")
    }

    pub(crate) fn reads(&self, who: usize, room: usize) -> bool {
        let room = &self.rooms[room];
        let for_all = matches!(room.kind, RoomKind::Open | RoomKind::Commons) && who != GUEST;
        !room.deleted && (for_all || room.members.contains(&who))
    }

    pub(crate) fn unread(&self, who: usize, room: usize) -> i64 {
        let read = self.rooms[room].marks.get(&who).copied().unwrap_or(0);
        let counts = |message: &&Message| {
            message.room == room && message.seq > read && !message.deleted && message.author != who
        };
        self.messages.iter().filter(counts).count() as i64
    }

    fn runs(&self, who: usize, room: usize) -> bool {
        who == ADMIN || (who != GUEST && self.rooms[room].creator == Some(who))
    }

    fn event(&mut self, kind: &'static str, room: usize) -> (&'static str, usize) {
        self.last_id += 1;
        self.rooms[room].head += 1;
        (kind, room)
    }

    fn in_inboxes(&mut self, kind: &'static str, members: &BTreeSet<usize>) -> Vec<(&'static str, usize)> {
        members.iter().map(|member| self.event(kind, self.inbox(*member))).collect()
    }

    /// Does it.
    pub(crate) fn run(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Post { who, room, key, text } => self.post(who, room, key, text),
            Op::Edit { who, message, behind, text } => self.edit(who, message, behind, text),
            Op::Delete { who, message } => {
                if self.messages.is_empty() {
                    return Err(self.nowhere(who));
                }
                let at = message % self.messages.len();
                self.may_change(who, at)?;
                let found = &mut self.messages[at];
                if found.deleted {
                    return Ok(Vec::new());
                }
                found.deleted = true;
                let room = found.room;
                Ok(vec![self.event("message.deleted", room)])
            }
            Op::Create { who, kind, ref members } => self.create(who, kind, members),
            Op::Rename { who, room, text } => {
                let room = self.run_by(who, room)?;
                let name = format!("name {text}");
                if self.rooms[room].name == name {
                    return Ok(Vec::new());
                }
                self.rooms[room].name = name;
                let mut events = vec![self.event("room.updated", room)];
                if self.rooms[room].kind == RoomKind::Open {
                    events.push(self.event("room.listed", self.commons));
                }
                let members = self.rooms[room].members.clone();
                events.extend(self.in_inboxes("membership.granted", &members));
                Ok(events)
            }
            Op::DeleteRoom { who, room } => {
                let room = self.run_by(who, room)?;
                self.rooms[room].deleted = true;
                let mut events = vec![self.event("room.deleted", room)];
                if self.rooms[room].kind == RoomKind::Open {
                    events.push(self.event("room.unlisted", self.commons));
                }
                let members = self.rooms[room].members.clone();
                events.extend(self.in_inboxes("membership.revoked", &members));
                Ok(events)
            }
            Op::Add { who, room, user } => {
                not_for_guests(who)?;
                let room = self.by_name(who, room, user)?;
                if !self.rooms[room].members.insert(user) {
                    return Ok(Vec::new());
                }
                let head = self.rooms[room].head;
                self.rooms[room].marks.insert(user, head);
                Ok(vec![self.event("member.added", room), self.event("membership.granted", self.inbox(user))])
            }
            Op::Remove { who, room, user } => {
                let room = self.by_name(who, room, user)?;
                if user != who && !self.runs(who, room) {
                    return Err(Forbidden);
                }
                if !self.rooms[room].members.remove(&user) {
                    return Ok(Vec::new());
                }
                Ok(vec![
                    self.event("member.removed", room),
                    self.event("membership.revoked", self.inbox(user)),
                ])
            }
            Op::Mark { who, room, seq } => {
                let room = self.seen(who, room)?;
                if seq < 0 || seq > self.rooms[room].head {
                    return Err(InvalidPayload);
                }
                if seq <= self.rooms[room].marks.get(&who).copied().unwrap_or(0) {
                    return Ok(Vec::new());
                }
                self.rooms[room].marks.insert(who, seq);
                Ok(vec![self.event("read.marked", self.inbox(who))])
            }
            Op::Profile { who, text } => {
                let name = format!("name {text}");
                if self.names.insert(who, name.clone()) == Some(name) {
                    return Ok(Vec::new());
                }
                Ok(vec![self.event("user.updated", self.commons)])
            }
            Op::Account { who, text } => {
                if who != ADMIN {
                    return Err(Forbidden);
                }
                let name = format!("name {text}");
                if self.account == name {
                    return Ok(Vec::new());
                }
                self.account = name;
                Ok(vec![self.event("account.updated", self.commons)])
            }
        }
    }

    fn seen(&self, who: usize, room: usize) -> Result<usize, RejectionCode> {
        let room = room % self.rooms.len();
        if self.reads(who, room) { Ok(room) } else { Err(NotFound) }
    }

    /// There is no message yet: what is said of one that isn't in the last room.
    fn nowhere(&self, who: usize) -> RejectionCode {
        match self.seen(who, self.rooms.len() - 1) {
            Ok(room) if matches!(self.rooms[room].kind, RoomKind::Inbox | RoomKind::Commons) => Forbidden,
            _ => NotFound,
        }
    }

    fn run_by(&self, who: usize, room: usize) -> Result<usize, RejectionCode> {
        not_for_guests(who)?;
        let room = self.seen(who, room)?;
        let kind = self.rooms[room].kind;
        let can_change = matches!(kind, RoomKind::Open | RoomKind::Closed) && self.runs(who, room);
        if can_change { Ok(room) } else { Err(Forbidden) }
    }

    /// Of open rooms only guests are members by name.
    fn by_name(&self, who: usize, room: usize, user: usize) -> Result<usize, RejectionCode> {
        let room = self.seen(who, room)?;
        match self.rooms[room].kind {
            RoomKind::Closed => Ok(room),
            RoomKind::Open if user == GUEST => Ok(room),
            _ => Err(Forbidden),
        }
    }

    fn post(&mut self, who: usize, room: usize, key: u8, text: u8) -> Outcome {
        let room = room % self.rooms.len();
        let same = |message: &&Message| (message.room, message.author, message.key) == (room, who, key);
        if let Some(first) = self.messages.iter().find(same) {
            return if first.first == text { Ok(Vec::new()) } else { Err(IdempotencyConflict) };
        }
        self.seen(who, room)?;
        if matches!(self.rooms[room].kind, RoomKind::Inbox | RoomKind::Commons) {
            return Err(Forbidden);
        }
        let event = self.event("message.posted", room);
        self.messages.push(Message {
            id: self.last_id,
            room,
            seq: self.rooms[room].head,
            author: who,
            key,
            first: text,
            text,
            version: 1,
            editor: None,
            deleted: false,
        });
        Ok(vec![event])
    }

    fn may_change(&self, who: usize, at: usize) -> Result<(), RejectionCode> {
        let message = &self.messages[at];
        self.seen(who, message.room)?;
        if message.author == who || self.runs(who, message.room) { Ok(()) } else { Err(Forbidden) }
    }

    fn edit(&mut self, who: usize, message: usize, behind: i32, text: u8) -> Outcome {
        if self.messages.is_empty() {
            return Err(self.nowhere(who));
        }
        let at = message % self.messages.len();
        self.may_change(who, at)?;
        let found = &mut self.messages[at];
        if found.deleted {
            return Err(NotFound);
        }
        if behind != 0 {
            let done = behind == 1 && found.editor == Some(who) && found.text == text;
            return if done { Ok(Vec::new()) } else { Err(VersionConflict) };
        }
        found.text = text;
        found.version += 1;
        found.editor = Some(who);
        let room = found.room;
        Ok(vec![self.event("message.edited", room)])
    }

    fn create(&mut self, who: usize, kind: RoomKind, members: &[usize]) -> Outcome {
        not_for_guests(who)?;
        let mut members: BTreeSet<usize> = members.iter().copied().collect();
        members.insert(who);
        if kind == RoomKind::Open {
            members.clear();
        }
        let same = |room: &Room| room.kind == RoomKind::Direct && room.members == members;
        if kind == RoomKind::Direct && self.rooms.iter().any(same) {
            return Ok(Vec::new());
        }
        self.rooms.push(Room {
            kind,
            name: "new".to_owned(),
            creator: Some(who),
            members: members.clone(),
            deleted: false,
            head: 0,
            marks: BTreeMap::new(),
        });
        let mut events = vec![self.event("room.created", self.rooms.len() - 1)];
        if kind == RoomKind::Open {
            events.push(self.event("room.listed", self.commons));
        }
        events.extend(self.in_inboxes("membership.granted", &members));
        Ok(events)
    }
}

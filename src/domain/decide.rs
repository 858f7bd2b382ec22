//! The rules: which command becomes which event, and which is refused and why.
//!
//! The same function runs twice: in the room's actor on memory, to refuse early, and inside the transaction on rows,
//! where it is final. It reads no clock and no store.

use super::command::Command;
use super::event::EventBody;
use super::ids::{MessageId, UserId};
use super::person::{Person, Role};
use super::rejection::Rejection;
use super::room::{Room, RoomKind};
use std::sync::Arc;

/// The message a command is about, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    pub id: MessageId,
    pub author: UserId,
    pub version: i32,
    pub deleted: bool,
}

/// What the command is about beyond the room. The actor doesn't hold messages and people and says `Unknown`: what
/// hangs on them is then left to the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Unknown,
    /// `None`: the room has no such message.
    Message(Option<MessageFacts>),
    /// `None`: there is no such active user.
    Person(Option<Person>),
}

/// What a permitted command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This happens.
    Record(EventBody),
    /// It is so already.
    Unchanged,
    /// Nothing speaks against it here; only the store knows the rest.
    Defer,
}

impl Room {
    /// Decides `command` of `actor`. Rejections are worded for the asker; a room one may not see is `not_found`.
    pub fn decide(
        &self,
        actor: &Person,
        command: &Command,
        subject: &Subject,
    ) -> Result<Decision, Rejection> {
        if self.deleted || !self.is_member(actor) {
            return Err(Rejection::not_found("room"));
        }
        match command {
            Command::PostMessage { client_message_id, body, .. } => {
                self.must_be_for_talk()?;
                Ok(Decision::Record(EventBody::MessagePosted {
                    author: actor.clone(),
                    client_message_id: *client_message_id,
                    body: body.shared(),
                }))
            }
            Command::EditMessage { version, body, .. } => self.on_message(actor, subject, |message| {
                if message.deleted {
                    return Err(Rejection::not_found("message"));
                }
                if message.version != *version {
                    return Err(Rejection::version_conflict(message.version));
                }
                Ok(Decision::Record(EventBody::MessageEdited {
                    message: message.id,
                    body: body.shared(),
                    version: message.version + 1,
                    editor: actor.id,
                }))
            }),
            Command::DeleteMessage { .. } => self.on_message(actor, subject, |message| {
                if message.deleted {
                    return Ok(Decision::Unchanged);
                }
                Ok(Decision::Record(EventBody::MessageDeleted { message: message.id, deleted_by: actor.id }))
            }),
            Command::RenameRoom { name, .. } => {
                self.must_be_run_by(actor)?;
                if self.name.as_deref() == Some(name.as_str()) {
                    return Ok(Decision::Unchanged);
                }
                Ok(Decision::Record(EventBody::RoomUpdated { name: name.shared(), updated_by: actor.id }))
            }
            Command::DeleteRoom { .. } => {
                self.must_be_run_by(actor)?;
                Ok(Decision::Record(EventBody::RoomDeleted { deleted_by: actor.id }))
            }
            Command::AddMember { user, .. } => self.add_member(actor, *user, subject),
            Command::RemoveMember { user, .. } => self.remove_member(actor, *user),
            // The commands of the commons change people and rooms, not this room: its events come of their effects.
            Command::MarkRead { .. } | Command::UpdateProfile { .. } => Ok(Decision::Defer),
            Command::UpdateAccount { .. } => {
                if actor.is_admin() {
                    Ok(Decision::Defer)
                } else {
                    Err(Rejection::forbidden("only admins change the account"))
                }
            }
            Command::CreateRoom { .. } => match actor.role {
                Role::Admin | Role::Member => Ok(Decision::Defer),
                Role::Guest | Role::Bot | Role::Assistant => {
                    Err(Rejection::forbidden("only members make rooms"))
                }
            },
        }
    }

    fn on_message(
        &self,
        actor: &Person,
        subject: &Subject,
        then: impl FnOnce(&MessageFacts) -> Result<Decision, Rejection>,
    ) -> Result<Decision, Rejection> {
        self.must_be_for_talk()?;
        match subject {
            Subject::Message(Some(message)) => {
                if message.author != actor.id && !self.is_run_by(actor) {
                    return Err(Rejection::forbidden("this message is somebody else's"));
                }
                then(message)
            }
            Subject::Message(None) => Err(Rejection::not_found("message")),
            Subject::Unknown | Subject::Person(_) => Ok(Decision::Defer),
        }
    }

    fn add_member(&self, actor: &Person, user: UserId, subject: &Subject) -> Result<Decision, Rejection> {
        self.must_have_members_by_name()?;
        if self.members.0.contains(&user) {
            return Ok(Decision::Unchanged);
        }
        match subject {
            Subject::Person(Some(person)) => {
                Ok(Decision::Record(EventBody::MemberAdded { user: person.clone(), added_by: actor.id }))
            }
            Subject::Person(None) => Err(Rejection::invalid("user_id", "is nobody's")),
            Subject::Unknown | Subject::Message(_) => Ok(Decision::Defer),
        }
    }

    fn remove_member(&self, actor: &Person, user: UserId) -> Result<Decision, Rejection> {
        self.must_have_members_by_name()?;
        if user != actor.id && !self.is_run_by(actor) {
            return Err(Rejection::forbidden("only the room's creator and admins remove others"));
        }
        if !self.members.0.contains(&user) {
            return Ok(Decision::Unchanged);
        }
        Ok(Decision::Record(EventBody::MemberRemoved { user, removed_by: actor.id }))
    }

    fn must_be_for_talk(&self) -> Result<(), Rejection> {
        if self.kind.is_system() {
            return Err(Rejection::forbidden("nobody posts in a system room"));
        }
        Ok(())
    }

    fn must_be_run_by(&self, actor: &Person) -> Result<(), Rejection> {
        match self.kind {
            RoomKind::Open | RoomKind::Closed if self.is_run_by(actor) => Ok(()),
            RoomKind::Open | RoomKind::Closed => {
                Err(Rejection::forbidden("only the room's creator and admins do this"))
            }
            RoomKind::Direct | RoomKind::Inbox | RoomKind::Commons => {
                Err(Rejection::forbidden("a room of this kind stays as it is"))
            }
        }
    }

    fn must_have_members_by_name(&self) -> Result<(), Rejection> {
        match self.kind {
            RoomKind::Closed => Ok(()),
            RoomKind::Open => Err(Rejection::forbidden("everybody is a member of an open room")),
            RoomKind::Direct | RoomKind::Inbox | RoomKind::Commons => {
                Err(Rejection::forbidden("the members of this room are fixed"))
            }
        }
    }
}

/// The key that makes a direct room unique: its people's ids, ascending.
pub fn direct_key(members: &[UserId]) -> Arc<str> {
    let mut ids: Vec<i64> = members.iter().map(|user| user.get()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join("-").into()
}

//! The rules: which command becomes which event, and which is refused and why. Who may send it the policy says.
//!
//! The same function runs twice: in the room's actor on memory, to refuse early, and inside the transaction on rows,
//! where it is final. It reads no clock and no store.

use super::command::Command;
use super::event::EventBody;
use super::ids::{MessageId, UserId};
use super::person::{Person, Role};
use super::policy::{Target, may};
use super::rejection::Rejection;
use super::room::Room;
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
    /// A run of the room, by who asked for it.
    Run {
        asker: Option<UserId>,
    },
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
        may(actor, command.action(), self.target(actor, command, subject))?;
        match command {
            Command::PostMessage { client_message_id, body, .. } => {
                Ok(Decision::Record(EventBody::MessagePosted {
                    author: actor.clone(),
                    client_message_id: *client_message_id,
                    body: body.shared(),
                    run: None,
                }))
            }
            Command::EditMessage { version, body, .. } => on_message(subject, |message| {
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
            Command::DeleteMessage { .. } => on_message(subject, |message| {
                if message.deleted {
                    return Ok(Decision::Unchanged);
                }
                Ok(Decision::Record(EventBody::MessageDeleted { message: message.id, deleted_by: actor.id }))
            }),
            Command::RenameRoom { name, .. } => {
                if self.name.as_deref() == Some(name.as_str()) {
                    return Ok(Decision::Unchanged);
                }
                Ok(Decision::Record(EventBody::RoomUpdated { name: name.shared(), updated_by: actor.id }))
            }
            Command::DeleteRoom { .. } => {
                Ok(Decision::Record(EventBody::RoomDeleted { deleted_by: actor.id }))
            }
            Command::AddMember { user, .. } => self.add_member(actor, *user, subject),
            Command::RemoveMember { user, .. } => self.remove_member(actor, *user, subject),
            // Read marks and runs aren't the room's; the others change people and rooms, and what is heard of it comes of their effects.
            Command::MarkRead { .. }
            | Command::AskAssistant { .. }
            | Command::Summarise { .. }
            | Command::StopRun { .. }
            | Command::EndRun { .. }
            | Command::CreateRoom { .. }
            | Command::SyncSettings { .. }
            | Command::UpdateProfile { .. }
            | Command::UpdateAccount { .. }
            | Command::UpdateBot { .. }
            | Command::CreateTransfer(_)
            | Command::RemoveBot { .. }
            | Command::UpdateAssistant { .. }
            | Command::RemoveAssistant { .. }
            | Command::SetBudget { .. }
            | Command::UpdateUser { .. }
            | Command::BanUser { .. }
            | Command::LiftBan { .. }
            | Command::CreateInvite { .. }
            | Command::RevokeInvite { .. }
            | Command::RotateJoinCode { .. } => Ok(Decision::Defer),
        }
    }

    /// What the policy has to know. The commons only carries the commands that are about no room: who may send them doesn't hang
    /// on hearing it.
    fn target(&self, actor: &Person, command: &Command, subject: &Subject) -> Target {
        let place = self.seen_by(actor);
        match (command, subject) {
            (
                Command::UpdateUser { user, .. } | Command::BanUser { user, .. } | Command::LiftBan { user },
                _,
            ) => Target::User { user: *user, is_near: true },
            (command, _) if command.room().is_none() => Target::Nothing,
            (Command::RemoveMember { user, .. } | Command::AddMember { user, .. }, _) => {
                Target::Member { place, user: *user }
            }
            (Command::StopRun { .. }, Subject::Run { asker }) => Target::Run { place, asker: *asker },
            (_, Subject::Message(Some(message))) => Target::Message { place, author: message.author },
            _ => Target::Room(place),
        }
    }

    fn add_member(&self, actor: &Person, user: UserId, subject: &Subject) -> Result<Decision, Rejection> {
        if let Subject::Person(Some(person)) = subject
            && self.is_theirs_anyway(person)
        {
            return Err(everybodys());
        }
        if self.members.0.contains(&user) {
            return Ok(Decision::Unchanged);
        }
        match subject {
            Subject::Person(Some(person)) => {
                Ok(Decision::Record(EventBody::MemberAdded { user: person.clone(), added_by: actor.id }))
            }
            Subject::Person(None) => Err(Rejection::invalid("user_id", "is nobody's")),
            Subject::Unknown | Subject::Message(_) | Subject::Run { .. } => Ok(Decision::Defer),
        }
    }

    fn remove_member(&self, actor: &Person, user: UserId, subject: &Subject) -> Result<Decision, Rejection> {
        match subject {
            Subject::Person(Some(person)) if self.is_theirs_anyway(person) => return Err(everybodys()),
            // Whether it is a guest only the store knows.
            Subject::Unknown | Subject::Message(_) | Subject::Run { .. } if self.kind.is_for_all() => {
                return Ok(Decision::Defer);
            }
            _ => {}
        }
        if !self.members.0.contains(&user) {
            return Ok(Decision::Unchanged);
        }
        Ok(Decision::Record(EventBody::MemberRemoved { user, removed_by: actor.id }))
    }

    /// Whether `person` is in without having been added: in open rooms all but guests.
    fn is_theirs_anyway(&self, person: &Person) -> bool {
        self.kind.is_for_all() && person.role != Role::Guest
    }
}

fn everybodys() -> Rejection {
    Rejection::forbidden("everybody is a member of an open room")
}

fn on_message(
    subject: &Subject,
    then: impl FnOnce(&MessageFacts) -> Result<Decision, Rejection>,
) -> Result<Decision, Rejection> {
    match subject {
        Subject::Message(Some(message)) => then(message),
        Subject::Message(None) => Err(Rejection::not_found("message")),
        Subject::Unknown | Subject::Person(_) | Subject::Run { .. } => Ok(Decision::Defer),
    }
}

/// The key that makes a direct room unique: its people's ids, ascending.
pub fn direct_key(members: &[UserId]) -> Arc<str> {
    let mut ids: Vec<i64> = members.iter().map(|user| user.get()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join("-").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::ids::{EventId, RoomId, Seq};
    use crate::domain::message::{MessageBody, Name};
    use crate::domain::room::{Gap, Members, RoomKind};
    use crate::domain::time::Timestamp;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use uuid::Uuid;

    const ROOM: RoomId = RoomId::new(1);

    fn person(id: i64) -> Person {
        let role = match id {
            1 => Role::Admin,
            5 => Role::Guest,
            _ => Role::Member,
        };
        Person { id: UserId::new(id), name: format!("user {id}").into(), role }
    }

    fn room(kind: RoomKind) -> Room {
        Room {
            id: ROOM,
            kind,
            name: Some("Room".into()),
            created_by: Some(UserId::new(2)),
            created_at: Timestamp::default(),
            deleted: false,
            head: Seq::new(1),
            members: Members([1, 2, 3].into_iter().map(UserId::new).collect()),
        }
    }

    fn event(room: &Room, actor: &Person, body: EventBody) -> Event {
        let seq = room.head.next();
        Event {
            id: EventId::new(seq.get() + 100),
            room: ROOM,
            seq,
            at: Timestamp::default(),
            actor: Some(actor.id),
            body,
        }
    }

    fn commands() -> impl Strategy<Value = Command> {
        let message = (1i64..8).prop_map(MessageId::new);
        let user = (1i64..6).prop_map(UserId::new);
        let body = || MessageBody::parse("hello").expect("valid");
        prop_oneof![
            any::<u128>().prop_map(move |id| Command::PostMessage {
                room: ROOM,
                client_message_id: Uuid::from_u128(id),
                body: body(),
                settings: None
            }),
            (message.clone(), 1..4).prop_map(move |(message, version)| Command::EditMessage {
                room: ROOM,
                message,
                version,
                body: body()
            }),
            message.prop_map(|message| Command::DeleteMessage { room: ROOM, message }),
            user.clone().prop_map(|user| Command::AddMember { room: ROOM, user }),
            user.prop_map(|user| Command::RemoveMember { room: ROOM, user }),
            "[a-c]".prop_map(|name| Command::RenameRoom {
                room: ROOM,
                name: Name::parse("name", &name).expect("valid")
            }),
            Just(Command::DeleteRoom { room: ROOM }),
        ]
    }

    fn kinds() -> impl Strategy<Value = RoomKind> {
        prop::sample::select(RoomKind::ALL.to_vec())
    }

    /// Who looks after the room: admins, and who made it.
    fn runs(room: &Room, person: &Person) -> bool {
        person.role == Role::Admin || room.created_by == Some(person.id)
    }

    proptest! {
        #[test]
        fn what_is_decided_applies_and_what_is_refused_changes_nothing(
            kind in kinds(),
            steps in prop::collection::vec((1i64..6, commands()), 0..60),
        ) {
            let mut room = room(kind);
            let mut messages: HashMap<MessageId, MessageFacts> = HashMap::new();
            for (who, command) in steps {
                let actor = person(who);
                let before = room.clone();
                let subject = match &command {
                    Command::EditMessage { message, .. } | Command::DeleteMessage { message, .. } =>
                        Subject::Message(messages.get(message).cloned()),
                    Command::AddMember { user, .. } => Subject::Person(Some(person(user.get()))),
                    _ => Subject::Unknown,
                };
                let early = room.decide(&actor, &command, &Subject::Unknown);
                let decision = room.decide(&actor, &command, &subject);
                // The actor, which knows less, never refuses what the transaction would record.
                if early.is_err() {
                    prop_assert!(decision.is_err(), "{command:?}");
                }
                let Ok(Decision::Record(body)) = decision else {
                    prop_assert_eq!(&room, &before);
                    continue;
                };
                prop_assert!(!before.deleted && before.is_member(&actor));
                prop_assert!(!kind.is_system(), "nobody changes a system room");
                let happened = event(&room, &actor, body);
                prop_assert_eq!(room.apply(&happened), Ok(true));
                prop_assert_eq!(room.head, before.head.next());
                let after = room.clone();
                prop_assert_eq!(room.apply(&happened), Ok(false), "an event counts once");
                prop_assert_eq!(&room, &after);
                match happened.body {
                    EventBody::MessagePosted { author, .. } => {
                        let id = MessageId::new(i64::try_from(messages.len()).expect("few") + 1);
                        messages.insert(id, MessageFacts { id, author: author.id, version: 1, deleted: false });
                    }
                    EventBody::MessageEdited { message, version, .. } => {
                        let facts = messages.get_mut(&message).expect("was there");
                        prop_assert_eq!(version, facts.version + 1);
                        prop_assert!(!facts.deleted);
                        prop_assert!(facts.author == actor.id || runs(&before, &actor));
                        facts.version = version;
                    }
                    EventBody::MessageDeleted { message, .. } => {
                        let facts = messages.get_mut(&message).expect("was there");
                        prop_assert!(!facts.deleted, "deleted once");
                        facts.deleted = true;
                    }
                    EventBody::MemberAdded { user, .. } => {
                        prop_assert!(!before.members.0.contains(&user.id) && room.is_member(&user));
                    }
                    EventBody::MemberRemoved { user, .. } => {
                        prop_assert!(before.members.0.contains(&user));
                        prop_assert!(user == actor.id || runs(&before, &actor));
                        prop_assert!(!room.members.0.contains(&user));
                    }
                    _ => {}
                }
            }
        }

        #[test]
        fn an_event_out_of_order_is_a_gap(ahead in 2i64..100) {
            let mut room = room(RoomKind::Open);
            let mut late = event(&room, &person(1), EventBody::RoomDeleted { deleted_by: UserId::new(1) });
            late.seq = Seq::new(room.head.get() + ahead);
            let before = room.clone();
            prop_assert_eq!(room.apply(&late), Err(Gap { head: before.head, got: late.seq }));
            prop_assert_eq!(room, before);
        }
    }

    #[test]
    fn guests_see_only_where_they_were_added() {
        let guest = person(5);
        let mut open = room(RoomKind::Open);
        assert!(!open.is_member(&guest));
        open.members.0.insert(guest.id);
        assert!(open.is_member(&guest));
    }

    #[test]
    fn a_direct_room_is_named_by_its_people() {
        let key = direct_key(&[UserId::new(9), UserId::new(10), UserId::new(9)]);
        assert_eq!(&*key, "9-10");
    }
}

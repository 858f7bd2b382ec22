//! The `data` of events: encoded once, inside the commit, stored and sent as these bytes.

use super::view::{PersonView, RoomCardView, UsageView};
use crate::domain::{EventBody, RunState, is_retryable};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    MessagePosted {
        author: PersonView<'a>,
        client_message_id: Uuid,
        body: &'a str,
        version: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<RunView>,
    },
    AnswerEnded {
        run_id: i64,
        message_id: i64,
        state: &'static str,
        body: Option<&'a str>,
        reason: Option<&'a str>,
        retryable: Option<bool>,
        truncated: bool,
        usage: UsageView,
    },
    MessageEdited {
        message_id: i64,
        body: &'a str,
        version: i32,
        editor_id: i64,
    },
    MessageDeleted {
        message_id: i64,
        deleted_by: i64,
    },
    RoomCreated {
        kind: &'static str,
        name: Option<&'a str>,
        created_by: Option<i64>,
    },
    RoomUpdated {
        name: &'a str,
        updated_by: i64,
    },
    RoomDeleted {
        deleted_by: i64,
    },
    MemberAdded {
        user: PersonView<'a>,
        added_by: i64,
    },
    MemberRemoved {
        user_id: i64,
        removed_by: i64,
    },
    ReadMarked {
        room_id: i64,
        read: i64,
    },
    Settings {
        version: i64,
        settings: Option<&'a RawValue>,
    },
    RoomId {
        room_id: i64,
    },
    Room {
        room: RoomCardView<'a>,
    },
    User {
        user: PersonView<'a>,
    },
    UserId {
        user_id: i64,
    },
    Name {
        name: &'a str,
    },
    Session {
        session: BegunView<'a>,
    },
    SessionId {
        session_id: i64,
    },
}

/// A run, as its message's readers are told.
#[derive(Serialize)]
struct RunView {
    id: i64,
    kind: &'static str,
    state: &'static str,
    asker_id: Option<i64>,
    prompt_id: i64,
}

/// A new session, as the other devices of its user are told.
#[derive(Serialize)]
struct BegunView<'a> {
    id: i64,
    device: &'a str,
    begun_by: &'static str,
    created_at: String,
}

impl<'a> From<&'a EventBody> for Data<'a> {
    fn from(body: &'a EventBody) -> Self {
        match body {
            EventBody::MessagePosted { author, client_message_id, body, run } => Self::MessagePosted {
                author: author.into(),
                client_message_id: *client_message_id,
                body,
                version: 1,
                run: run.as_ref().map(|run| RunView {
                    id: run.id.get(),
                    kind: run.kind.as_str(),
                    state: RunState::Queued.as_str(),
                    asker_id: run.asker.map(|asker| asker.get()),
                    prompt_id: run.prompt.get(),
                }),
            },
            EventBody::AnswerEnded { run } => Self::AnswerEnded {
                run_id: run.id.get(),
                message_id: run.message.get(),
                state: run.state.as_str(),
                body: run.body.as_deref(),
                reason: run.reason.as_deref(),
                retryable: run.reason.as_deref().map(is_retryable),
                truncated: run.truncated,
                usage: UsageView::new(run.usage, run.cost_micros),
            },
            EventBody::MessageEdited { message, body, version, editor } => Self::MessageEdited {
                message_id: message.get(),
                body,
                version: *version,
                editor_id: editor.get(),
            },
            EventBody::MessageDeleted { message, deleted_by } => {
                Self::MessageDeleted { message_id: message.get(), deleted_by: deleted_by.get() }
            }
            EventBody::RoomCreated { kind, name, created_by } => Self::RoomCreated {
                kind: kind.as_str(),
                name: name.as_deref(),
                created_by: created_by.map(|user| user.get()),
            },
            EventBody::RoomUpdated { name, updated_by } => {
                Self::RoomUpdated { name, updated_by: updated_by.get() }
            }
            EventBody::RoomDeleted { deleted_by } => Self::RoomDeleted { deleted_by: deleted_by.get() },
            EventBody::MemberAdded { user, added_by } => {
                Self::MemberAdded { user: user.into(), added_by: added_by.get() }
            }
            EventBody::MemberRemoved { user, removed_by } => {
                Self::MemberRemoved { user_id: user.get(), removed_by: removed_by.get() }
            }
            EventBody::ReadMarked { room, read } => {
                Self::ReadMarked { room_id: room.get(), read: read.get() }
            }
            EventBody::MembershipRevoked { room } | EventBody::RoomUnlisted { room } => {
                Self::RoomId { room_id: room.get() }
            }
            EventBody::MembershipGranted { room } | EventBody::RoomListed { room } => {
                Self::Room { room: room.as_ref().into() }
            }
            EventBody::UserJoined { user } | EventBody::UserUpdated { user } => {
                Self::User { user: user.into() }
            }
            EventBody::UserLeft { user } => Self::UserId { user_id: user.get() },
            EventBody::AccountUpdated { name } => Self::Name { name },
            EventBody::SettingsSynced { version, settings } => {
                Self::Settings { version: *version, settings: serde_json::from_str(settings).ok() }
            }
            EventBody::SessionBegun { session } => Self::Session {
                session: BegunView {
                    id: session.id.get(),
                    device: &session.device,
                    begun_by: session.begun_by.as_str(),
                    created_at: session.created_at.to_string(),
                },
            },
            EventBody::SessionEnded { session } => Self::SessionId { session_id: session.get() },
        }
    }
}

/// The event's `data` as JSON text.
pub fn encode(body: &EventBody) -> String {
    // Strings, numbers and vectors of them: there is nothing in here that JSON can't hold.
    serde_json::to_string(&Data::from(body)).unwrap_or_else(|_| String::from("{}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Person, Role, UserId};

    #[test]
    fn a_posted_message_looks_like_the_document() {
        let body = EventBody::MessagePosted {
            author: Person { id: UserId::new(1), name: "Ann".into(), role: Role::Admin },
            client_message_id: Uuid::nil(),
            body: "hi \"there\"".into(),
            run: None,
        };
        assert_eq!(
            encode(&body),
            r#"{"author":{"id":1,"name":"Ann","role":"admin"},"client_message_id":"00000000-0000-0000-0000-000000000000","body":"hi \"there\"","version":1}"#
        );
    }
}

//! The JSON of REST answers that the socket doesn't have.

use crate::domain::{MessageId, RunId, Session, SessionId, Summoned, UserId, is_retryable};
use crate::protocol::encode::SummonedView;
use crate::protocol::view::{PersonView, RoomView, UsageView};
use crate::storage::{Account, Message, Profile, RoomView as Room, Run};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// A message as it stands.
#[derive(Serialize)]
pub(super) struct MessageView<'a> {
    id: i64,
    room_id: i64,
    seq: i64,
    author: PersonView<'a>,
    client_message_id: Uuid,
    body: &'a str,
    version: i32,
    at: String,
    edited_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunView<'a>>,
    /// What came of mentioning assistants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<SummonedView<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// A run, as it is shown with its message and by itself.
#[derive(Serialize)]
pub(super) struct RunView<'a> {
    id: i64,
    kind: &'static str,
    state: &'static str,
    room_id: i64,
    assistant_id: i64,
    asker_id: Option<i64>,
    prompt_id: i64,
    message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regenerates: Option<i64>,
    /// What was said so far, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopping: bool,
    reason: Option<&'a str>,
    retryable: Option<bool>,
    truncated: bool,
    model: &'a str,
    usage: UsageView,
    settings_version: i64,
    created_at: String,
    started_at: Option<String>,
    first_token_at: Option<String>,
    ended_at: Option<String>,
}

impl<'a> From<&'a Run> for RunView<'a> {
    fn from(run: &'a Run) -> Self {
        Self {
            id: run.id.get(),
            kind: run.kind.as_str(),
            state: run.state.as_str(),
            room_id: run.room.get(),
            assistant_id: run.assistant.get(),
            asker_id: run.asker.map(UserId::get),
            prompt_id: run.prompt.get(),
            message_id: run.message.map(MessageId::get),
            regenerates: run.regenerates.map(RunId::get),
            text: run.state.is_open().then_some(&run.partial),
            stopping: run.stopping && run.state.is_open(),
            reason: run.reason.as_deref(),
            retryable: run.reason.as_deref().map(is_retryable),
            truncated: run.truncated,
            model: &run.model,
            usage: UsageView::new(run.usage, run.cost_micros),
            settings_version: run.settings_version,
            created_at: run.created_at.to_string(),
            started_at: run.started_at.map(|at| at.to_string()),
            first_token_at: run.first_token_at.map(|at| at.to_string()),
            ended_at: run.ended_at.map(|at| at.to_string()),
        }
    }
}

impl MessageView<'_> {
    /// The same, marked as posted before.
    pub(super) fn repeated(self) -> Self {
        Self { duplicate: true, ..self }
    }
}

impl<'a> MessageView<'a> {
    /// The same, with what came of mentioning assistants.
    pub(super) fn asking(self, runs: &'a [Summoned]) -> Self {
        Self { runs: runs.iter().map(SummonedView::from).collect(), ..self }
    }
}

impl<'a> From<&'a Message> for MessageView<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            id: message.id.get(),
            room_id: message.room.get(),
            seq: message.seq.get(),
            author: (&message.author).into(),
            client_message_id: message.client_message_id,
            body: &message.body,
            version: message.version,
            at: message.at.to_string(),
            edited_at: message.edited_at.map(|at| at.to_string()),
            run: message.run.as_deref().map(RunView::from),
            runs: Vec::new(),
            duplicate: false,
        }
    }
}

/// `{id, name, email, role, bio, created_at}`: a user as they see themselves.
#[derive(Serialize)]
pub(super) struct Me<'a> {
    #[serde(flatten)]
    person: PersonView<'a>,
    email: Option<&'a str>,
    bio: &'a str,
    created_at: String,
}

impl<'a> From<&'a Profile> for Me<'a> {
    fn from(profile: &'a Profile) -> Self {
        Self {
            person: (&profile.person).into(),
            email: profile.email.as_deref(),
            bio: &profile.bio,
            created_at: profile.created_at.to_string(),
        }
    }
}

/// A session, seen from the one of session `current`.
#[derive(Serialize)]
pub(super) struct SessionView<'a> {
    id: i64,
    device: &'a str,
    address: Option<String>,
    begun_by: &'static str,
    created_at: String,
    last_active_at: String,
    expires_at: String,
    current: bool,
}

impl<'a> SessionView<'a> {
    pub(super) fn new(session: &'a Session, current: Option<SessionId>) -> Self {
        Self {
            id: session.id.get(),
            device: &session.device,
            address: session.address.map(|address| address.to_string()),
            begun_by: session.begun_by.as_str(),
            created_at: session.created_at.to_string(),
            last_active_at: session.last_active_at.to_string(),
            expires_at: session.expires_at.to_string(),
            current: current == Some(session.id),
        }
    }
}

/// The account; the code that invites is for some only.
#[derive(Serialize)]
pub(super) struct AccountView<'a> {
    name: &'a str,
    settings: Box<RawValue>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_code: Option<&'a str>,
}

impl<'a> AccountView<'a> {
    pub(super) fn new(account: &'a Account, with_code: bool) -> Self {
        let settings = RawValue::from_string(account.settings.clone());
        Self {
            name: &account.name,
            settings: settings.unwrap_or_else(|_| RawValue::NULL.to_owned()),
            created_at: account.created_at.to_string(),
            join_code: with_code.then_some(&account.join_code),
        }
    }
}

/// A room with its reader's place.
pub(super) fn room(view: &Room) -> RoomView<'_> {
    RoomView::new(&view.card, view.head.get(), view.read.get(), view.unread)
}

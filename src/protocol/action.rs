//! Settings and action requests on the wire: what comes in is checked here, for socket and REST alike.

use super::view::PersonView;
use crate::domain::action::ACTION_BYTES;
use crate::domain::{ActionId, ActionRequest, ActionResult, ActionState, Command, Rejection, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The most bytes of somebody's settings, as JSON text.
pub const SETTINGS_BYTES: usize = 4 * 1024;

/// `settings.sync` and the body of `PUT /me/settings`.
#[derive(Debug, Deserialize)]
pub struct SyncSettings {
    version: i64,
    settings: Map<String, Value>,
}

impl SyncSettings {
    /// The command, with its fields checked. Written anew: the same settings are the same text.
    pub fn into_command(self) -> Result<Command, Rejection> {
        if self.version < 0 {
            return Err(Rejection::invalid("version", "is negative"));
        }
        let settings = sized("settings", Value::Object(self.settings).to_string(), SETTINGS_BYTES)?;
        Ok(Command::SyncSettings { version: self.version, settings })
    }
}

/// `action.result` and the body of `POST /actions/{id}/result`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answered {
    pub request_id: ActionId,
    status: String,
    #[serde(default)]
    result: Value,
}

impl Answered {
    /// The result, as `user` says it.
    pub fn of(self, user: UserId) -> Result<ActionResult, Rejection> {
        let done = match self.status.as_str() {
            "done" => true,
            "failed" => false,
            _ => return Err(Rejection::invalid("status", "is not done or failed")),
        };
        let result = sized("result", self.result.to_string(), ACTION_BYTES)?;
        Ok(ActionResult { id: self.request_id, user, done, result })
    }
}

/// The arguments of a request, as text.
pub fn arguments(arguments: Map<String, Value>) -> Result<Arc<str>, Rejection> {
    sized("arguments", Value::Object(arguments).to_string(), ACTION_BYTES)
}

fn sized(field: &'static str, text: String, limit: usize) -> Result<Arc<str>, Rejection> {
    if text.len() > limit {
        return Err(Rejection::too_large(field, limit));
    }
    Ok(text.into())
}

#[derive(Serialize)]
struct Offer<'a> {
    request_id: ActionId,
    kind: &'a str,
    arguments: Option<&'a RawValue>,
    room_id: Option<i64>,
    from: PersonView<'a>,
    deadline: String,
}

/// `action.request`.
pub fn request(request: &ActionRequest) -> String {
    let data = serde_json::to_string(&Offer {
        request_id: request.id,
        kind: &request.kind,
        arguments: serde_json::from_str(&request.arguments).ok(),
        room_id: request.room.map(|room| room.get()),
        from: (&request.requester).into(),
        deadline: request.deadline.to_string(),
    });
    // Strings, numbers and what was JSON when it came: there is nothing in here that JSON can't hold.
    format!(r#"{{"type":"action.request","data":{}}}"#, data.unwrap_or_default())
}

/// `action.ended`.
pub fn ended(id: ActionId, state: ActionState) -> String {
    let state = state.as_str();
    format!(r#"{{"type":"action.ended","data":{{"request_id":"{id}","state":"{state}"}}}}"#)
}

/// A request as its requester and its user see it.
#[derive(Debug, Serialize)]
pub struct ActionView<'a> {
    id: ActionId,
    state: &'static str,
    kind: &'a str,
    arguments: Option<&'a RawValue>,
    from: PersonView<'a>,
    user_id: i64,
    room_id: Option<i64>,
    created_at: String,
    deadline: String,
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
}

impl<'a> ActionView<'a> {
    /// As it is at `now`.
    pub fn new(request: &'a ActionRequest, now: crate::domain::Timestamp) -> Self {
        Self {
            id: request.id,
            state: request.state_at(now).as_str(),
            kind: &request.kind,
            arguments: serde_json::from_str(&request.arguments).ok(),
            from: (&request.requester).into(),
            user_id: request.user.get(),
            room_id: request.room.map(|room| room.get()),
            created_at: request.created_at.to_string(),
            deadline: request.deadline.to_string(),
            ended_at: request.ended_at.map(|at| at.to_string()),
            result: request.result.as_deref().and_then(|result| serde_json::from_str(result).ok()),
        }
    }
}

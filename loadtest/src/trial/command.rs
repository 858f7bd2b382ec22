//! A command as either door takes it.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, ClientError};
use crate::history::What;

/// Something to ask for, over the socket or over REST.
pub(super) struct Command {
    /// Type and data of the frame; none where only REST has it.
    pub(super) frame: Option<(&'static str, Value)>,
    method: Method,
    path: String,
    body: Option<Value>,
    /// `If-Match`.
    version: Option<u64>,
}

impl Command {
    pub(super) fn post(room_id: u64, id: Uuid, body: &str) -> Command {
        let data = json!({"room_id": room_id, "client_message_id": id, "body": body});
        Command {
            frame: Some(("message.post", data)),
            method: Method::POST,
            path: format!("/rooms/{room_id}/messages"),
            body: Some(json!({"client_message_id": id, "body": body})),
            version: None,
        }
    }

    /// None for what is no single request, or for an admin's client to do.
    pub(super) fn of(what: &What, name_of_reuse: &str) -> Command {
        let rest = |frame, method, path: String, body| Command { frame, method, path, body, version: None };
        match what {
            What::Reuse { post, room_id } => Command::post(*room_id, *post, name_of_reuse),
            What::Edit { room_id, message, version, body } => Command {
                frame: Some((
                    "message.edit",
                    json!({"room_id": room_id, "message_id": message, "version": version, "body": body}),
                )),
                method: Method::PATCH,
                path: format!("/messages/{message}"),
                body: Some(json!({"body": body})),
                version: Some(*version),
            },
            What::Delete { room_id, message } => rest(
                Some(("message.delete", json!({"room_id": room_id, "message_id": message}))),
                Method::DELETE,
                format!("/messages/{message}"),
                None,
            ),
            What::Add { room_id, user } => rest(
                Some(("member.add", json!({"room_id": room_id, "user_id": user}))),
                Method::PUT,
                format!("/rooms/{room_id}/members/{user}"),
                None,
            ),
            What::Remove { room_id, user } => rest(
                Some(("member.remove", json!({"room_id": room_id, "user_id": user}))),
                Method::DELETE,
                format!("/rooms/{room_id}/members/{user}"),
                None,
            ),
            What::Create { name } => rest(
                Some(("room.create", json!({"kind": "open", "name": name}))),
                Method::POST,
                "/rooms".to_owned(),
                Some(json!({"kind": "open", "name": name})),
            ),
            What::Rename { room_id, name } => {
                rest(None, Method::PATCH, format!("/rooms/{room_id}"), Some(json!({"name": name})))
            }
            What::DeleteRoom { room_id } => rest(None, Method::DELETE, format!("/rooms/{room_id}"), None),
            What::Mark { room_id, seq } => rest(
                Some(("read.mark", json!({"room_id": room_id, "seq": seq}))),
                Method::PUT,
                format!("/rooms/{room_id}/read"),
                Some(json!({"seq": seq})),
            ),
        }
    }

    /// What REST answered, as the socket would have said it. An edited message has its own id and seq, not the edit's.
    pub(super) fn reply(&self, data: Value) -> Value {
        match self.version {
            Some(_) if data.get("duplicate").is_some_and(|it| *it == true) => {
                json!({"version": data.get("version"), "duplicate": true})
            }
            Some(_) => json!({"version": data.get("version")}),
            None => data,
        }
    }

    /// Over REST.
    pub(super) async fn call(&self, client: &Client) -> Result<Value, ClientError> {
        let answer =
            client.call_on(self.method.clone(), &self.path, &[], self.body.as_ref(), self.version).await;
        Ok(answer?.1)
    }
}

//! What one wants assistants to go by.

use super::call::{Call, ok};
use super::problem::Answer;
use crate::auth::identity::refusal;
use crate::domain::{Ack, Rejection};
use crate::protocol::action::SyncSettings;
use serde_json::{Value, json};

/// `GET /me/settings`
pub(super) async fn show(call: Call) -> Answer {
    let (version, body) = call.state.store.settings(call.me().id).await.map_err(refusal)?;
    let settings: Value = serde_json::from_str(&body).map_err(|_damaged| Rejection::internal())?;
    ok(&json!({ "version": version, "settings": settings }))
}

/// `PUT /me/settings`
pub(super) async fn sync(mut call: Call) -> Answer {
    let command = call.read::<SyncSettings>().await?.into_command()?;
    match call.submit(command).await? {
        Ack::Settings { version, duplicate } => ok(&json!({ "version": version, "duplicate": duplicate })),
        _ => Err(Rejection::internal().into()),
    }
}

//! The account: its name, its settings, its invitation.

use super::call::{Call, ok};
use super::problem::{Answer, Problem};
use super::view::AccountView;
use crate::auth::identity::refusal;
use crate::domain::{Action, Command, Name, Rejection};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Bytes of all settings together.
const SETTINGS_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
struct Change {
    name: Option<String>,
    settings: Option<Map<String, Value>>,
}

/// `GET /account`
pub(super) async fn show(call: Call) -> Answer {
    let account = call.state.store.account().await.map_err(refusal)?.ok_or_else(Rejection::internal)?;
    ok(&AccountView::new(&account, call.may(Action::ReadJoinCode)))
}

/// `PATCH /account`
pub(super) async fn change(mut call: Call) -> Answer {
    let Change { name, settings } = call.read().await?;
    let name = name.map(|name| Name::parse("name", &name)).transpose()?;
    let settings = settings.map(|settings| Value::Object(settings).to_string());
    if settings.as_ref().is_some_and(|settings| settings.len() > SETTINGS_BYTES) {
        return Err(Rejection::too_large("settings", SETTINGS_BYTES).into());
    }
    call.submit(Command::UpdateAccount { name, settings }).await?;
    show(call).await.map_err(Problem::after_commit)
}

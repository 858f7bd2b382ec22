//! Bots and their keys, for admins.

use super::call::{Call, created, ok};
use super::idempotency;
use super::problem::{Answer, Problem};
use crate::actors::Ended;
use crate::auth::bot_key;
use crate::auth::identity::refusal;
use crate::auth::token::Token;
use crate::domain::{Ack, Command, Enrolment, Name, Rejection, WebhookUrl};
use crate::protocol::CloseCode;
use crate::storage::{BotView, Profile, Rotation};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Create {
    name: String,
    webhook_url: Option<String>,
}

#[derive(Deserialize)]
struct Change {
    name: Option<String>,
    /// Missing: as it is; null: none.
    #[serde(default, deserialize_with = "given")]
    webhook_url: Option<Option<String>>,
}

/// Tells a null from a missing field.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// A bot, the one time that its key is shown.
#[derive(Serialize)]
struct WithKey {
    #[serde(flatten)]
    bot: Value,
    key: String,
}

/// `GET /bots`
pub(super) async fn list(call: Call) -> Answer {
    let bots = call.state.store.bots().await.map_err(refusal)?;
    let bots: Vec<_> = bots.iter().map(view).collect();
    ok(&json!({ "bots": bots, "next": null }))
}

fn view(bot: &BotView) -> Value {
    let BotView { profile: Profile { person, created_at, .. }, webhook_url } = bot;
    json!({
        "id": person.id.get(),
        "name": &*person.name,
        "created_at": created_at.to_string(),
        "webhook_url": webhook_url,
    })
}

/// `POST /bots`
pub(super) async fn create(mut call: Call) -> Answer {
    let Create { name, webhook_url } = call.read().await?;
    let name = Name::parse("name", &name)?;
    let key = idempotency::key(call.headers())?;
    let webhook = webhook_url.map(|url| WebhookUrl::parse(&url)).transpose()?;
    let token = Token::random();
    let enrolment = Enrolment::Bot { by: call.me().clone(), name, key_hash: token.hash(), webhook, key };
    let ack = call
        .state
        .bus
        .enrol(enrolment, call.identity.principal().origin, call.trace)
        .await
        .map_err(Problem::counted)?;
    let (ack, replayed) = idempotency::original(ack);
    let Ack::Enrolled { person, .. } = ack else { return Err(Rejection::internal().into()) };
    let made = call.state.store.bot(person.id).await.map_err(refusal)?.ok_or_else(Rejection::internal)?;
    let bot = json!({
        "id": person.id.get(),
        "name": &*person.name,
        "role": person.role.as_str(),
        "created_at": made.profile.created_at.to_string(),
        "webhook_url": made.webhook_url,
    });
    if replayed {
        // The key was shown once; nothing but its hash is known any more.
        return idempotency::replayed(ok(&bot));
    }
    created(&WithKey { bot, key: bot_key::format(person.id, &token) })
}

/// `PATCH /bots/{id}`
pub(super) async fn change(mut call: Call) -> Answer {
    let bot = call.user()?;
    let Change { name, webhook_url } = call.read().await?;
    let name = name.map(|name| Name::parse("name", &name)).transpose()?;
    let webhook = webhook_url.map(|url| url.map(|url| WebhookUrl::parse(&url)).transpose()).transpose()?;
    call.submit(Command::UpdateBot { bot, name, webhook }).await?;
    let bot =
        call.state.store.bot(bot).await.map_err(|error| Problem::from(refusal(error)).after_commit())?;
    ok(&view(&bot.ok_or_else(|| Rejection::not_found("bot"))?))
}

/// `POST /bots/{id}/key`
pub(super) async fn rotate(call: Call) -> Answer {
    let (bot, token) = (call.user()?, Token::random());
    let key = idempotency::key(call.headers())?;
    let rotation = call.state.store.rotate_bot_key(call.me().id, bot, token.hash(), key, super::now()).await;
    match rotation.map_err(refusal)? {
        Rotation::Done => {}
        Rotation::Repeated => return idempotency::replayed(ok(&json!({ "id": bot.get() }))),
        Rotation::Refused(rejection) => return Err(rejection.into()),
    }
    // Whoever is connected with the old key has to show the new one.
    call.state.bus.end_sessions(Ended::User(bot), CloseCode::SessionRevoked);
    created(&json!({ "id": bot.get(), "key": bot_key::format(bot, &token) }))
}

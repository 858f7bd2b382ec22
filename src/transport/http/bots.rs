//! Bots and their keys, for admins.

use super::call::{Call, created, ok};
use super::idempotency;
use super::problem::{Answer, Problem};
use crate::actors::bus::Ended;
use crate::auth::bot_key;
use crate::auth::identity::refusal;
use crate::auth::token::Token;
use crate::domain::{Ack, Enrolment, Name, Rejection};
use crate::protocol::CloseCode;
use crate::storage::Rotation;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Create {
    name: String,
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
    call.must_be_admin()?;
    let bots = call.state.store.bots().await.map_err(refusal)?;
    let bots: Vec<_> = bots
        .iter()
        .map(|bot| {
            json!({
                "id": bot.person.id.get(),
                "name": &*bot.person.name,
                "created_at": bot.created_at.to_string(),
            })
        })
        .collect();
    ok(&json!({ "bots": bots, "next": null }))
}

/// `POST /bots`
pub(super) async fn create(mut call: Call) -> Answer {
    call.must_be_admin()?;
    let Create { name } = call.read().await?;
    let name = Name::parse("name", &name)?;
    let key = idempotency::key(call.headers())?;
    let token = Token::random();
    let enrolment = Enrolment::Bot { by: call.me().clone(), name, key_hash: token.hash(), key };
    let ack = call.state.bus.enrol(enrolment, call.trace).await.map_err(Problem::counted)?;
    let (ack, replayed) = idempotency::original(ack);
    let Ack::Enrolled { person, .. } = ack else { return Err(Rejection::internal().into()) };
    let profile = call.state.store.person(person.id).await.map_err(refusal)?;
    let profile = profile.ok_or_else(Rejection::internal)?;
    let bot = json!({
        "id": person.id.get(),
        "name": &*person.name,
        "role": person.role.as_str(),
        "created_at": profile.created_at.to_string(),
    });
    if replayed {
        // The key was shown once; nothing but its hash is known any more.
        return idempotency::replayed(ok(&bot));
    }
    created(&WithKey { bot, key: bot_key::format(person.id, &token) })
}

/// `POST /bots/{id}/key`
pub(super) async fn rotate(call: Call) -> Answer {
    call.must_be_admin()?;
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

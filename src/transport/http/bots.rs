//! Bots and their keys, for admins.

use super::State;
use super::call::{Call, created, nothing, ok};
use super::idempotency;
use super::problem::{Answer, Problem};
use crate::actors::Ended;
use crate::auth::bot_key;
use crate::auth::identity::refusal;
use crate::auth::token::Token;
use crate::domain::{Ack, BotKeyId, Command, Enrolment, Name, Rejection, Timestamp, WebhookUrl};
use crate::protocol::CloseCode;
use crate::storage::{BotView, KeyView, KnownKey, NextKey, Profile, Rotation, StoreError};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[derive(Deserialize)]
struct Create {
    name: String,
    webhook_url: Option<String>,
    expires_in_s: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Rotate {
    overlap_s: Option<u64>,
    expires_in_s: Option<u64>,
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
    key_id: i64,
    key: String,
}

/// Keys are good for ten years, or without end.
const LONGEST: u64 = 10 * 366 * 24 * 3600;
/// An old key goes on for a week at most beside a new one.
const LONGEST_OVERLAP: u64 = 7 * 24 * 3600;

fn expiry(seconds: Option<u64>) -> Result<Option<Duration>, Rejection> {
    match seconds {
        None => Ok(None),
        Some(seconds @ 1..=LONGEST) => Ok(Some(Duration::from_secs(seconds))),
        Some(_) => Err(Rejection::invalid("expires_in_s", &format!("is not between 1 and {LONGEST}"))),
    }
}

fn overlap(seconds: Option<u64>) -> Result<Duration, Rejection> {
    match seconds.unwrap_or_default() {
        seconds @ 0..=LONGEST_OVERLAP => Ok(Duration::from_secs(seconds)),
        _ => Err(Rejection::invalid("overlap_s", &format!("is longer than {LONGEST_OVERLAP}"))),
    }
}

/// `GET /bots`
pub(super) async fn list(call: Call) -> Answer {
    let bots = call.state.store.bots(super::now()).await.map_err(refusal)?;
    let bots: Vec<_> = bots.iter().map(view).collect();
    ok(&json!({ "bots": bots, "next": null }))
}

fn view(bot: &BotView) -> Value {
    let BotView { profile: Profile { person, created_at, .. }, webhook_url, keys } = bot;
    let keys: Vec<_> = keys
        .iter()
        .map(|KeyView { id, created_at, expires_at }| {
            let expires_at = expires_at.map(|at| at.to_string());
            json!({ "id": id.get(), "created_at": created_at.to_string(), "expires_at": expires_at })
        })
        .collect();
    json!({
        "id": person.id.get(),
        "name": &*person.name,
        "created_at": created_at.to_string(),
        "webhook_url": webhook_url,
        "keys": keys,
    })
}

/// `POST /bots`
pub(super) async fn create(mut call: Call) -> Answer {
    let Create { name, webhook_url, expires_in_s } = call.read().await?;
    let name = Name::parse("name", &name)?;
    let key = idempotency::key(call.headers())?;
    let webhook = webhook_url.map(|url| WebhookUrl::parse(&url)).transpose()?;
    let expires_in = expiry(expires_in_s)?;
    let token = Token::random();
    let (by, key_hash) = (call.me().clone(), token.hash());
    let enrolment = Enrolment::Bot { by, name, key_hash, webhook, expires_in, key };
    call.must_hold()?;
    let ack = call
        .state
        .bus
        .enrol(enrolment, call.identity.principal().origin, call.trace)
        .await
        .map_err(Problem::counted)?;
    let (ack, replayed) = idempotency::original(ack);
    let Ack::Enrolled { person, .. } = ack else { return Err(Rejection::internal().into()) };
    let made = call.state.store.bot(person.id, super::now()).await.map_err(lost)?;
    let made = made.ok_or_else(|| Rejection::not_found("bot"))?;
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
    let keys = call.state.store.bot_keys_of(person.id, super::now()).await.map_err(lost)?;
    let its =
        |keys: Arc<[KnownKey]>| keys.iter().find(|key| key.hash == token.hash()).map(|key| key.id.get());
    let key_id = keys.and_then(|(_, keys)| its(keys)).ok_or_else(|| Rejection::not_found("bot"))?;
    created(&WithKey { bot, key_id, key: bot_key::format(person.id, &token) })
}

/// `PATCH /bots/{id}`
pub(super) async fn change(mut call: Call) -> Answer {
    let bot = call.user()?;
    let Change { name, webhook_url } = call.read().await?;
    let name = name.map(|name| Name::parse("name", &name)).transpose()?;
    let webhook = webhook_url.map(|url| url.map(|url| WebhookUrl::parse(&url)).transpose()).transpose()?;
    call.submit(Command::UpdateBot { bot, name, webhook }).await?;
    let bot = call.state.store.bot(bot, super::now()).await.map_err(lost)?;
    ok(&view(&bot.ok_or_else(|| Rejection::not_found("bot"))?))
}

/// `POST /bots/{id}/key`
pub(super) async fn rotate(mut call: Call) -> Answer {
    let (bot, token) = (call.user()?, Token::random());
    let Rotate { overlap_s, expires_in_s } = call.read_if_any().await?.unwrap_or_default();
    let next = NextKey {
        hash: token.hash(),
        expires_in: expiry(expires_in_s)?,
        overlap: overlap(overlap_s)?,
        key: idempotency::key(call.headers())?,
    };
    call.must_hold()?;
    let (state, by, now) = (call.state.clone(), call.identity.principal(), super::now());
    let rotated = to_the_end(async move {
        let rotation = state.store.rotate_bot_key(by, bot, next, now).await;
        match &rotation {
            // Whoever is connected with an old key has to show the new one, when the time has come.
            Ok(Rotation::Done { old, .. }) => {
                old.iter().for_each(|(old, ends_at)| end_key(&state, *old, *ends_at, now));
            }
            Ok(Rotation::Repeated | Rotation::Refused(_)) => {}
            // The keys may have ended: whoever is connected by one comes back and shows it again.
            Err(StoreError::OutcomeUnknown(_)) => {
                state.bus.end_sessions(Ended::User(bot), CloseCode::IdentityChanged);
            }
            Err(_) => {}
        }
        rotation
    });
    let (key, expires_at) = match rotated.await.map_err(refusal)? {
        Rotation::Done { key, expires_at, .. } => {
            call.state.bus.settled().await;
            (key, expires_at)
        }
        Rotation::Repeated => return idempotency::replayed(ok(&json!({ "id": bot.get() }))),
        Rotation::Refused(rejection) => return Err(rejection.into()),
    };
    created(&json!({
        "id": bot.get(),
        "key_id": key.get(),
        "key": bot_key::format(bot, &token),
        "expires_at": expires_at.map(|at| at.to_string()),
    }))
}

/// `DELETE /bots/{id}`
pub(super) async fn remove(call: Call) -> Answer {
    let bot = call.user()?;
    call.submit(Command::RemoveBot { bot }).await?;
    // Once this is answered, it hears nothing more.
    call.state.bus.settled().await;
    nothing()
}

/// `DELETE /bots/{id}/keys/{key_id}`
pub(super) async fn revoke(call: Call) -> Answer {
    let (bot, key, now) = (call.user()?, call.bot_key()?, super::now());
    let (state, by) = (call.state.clone(), call.identity.principal());
    let revoked = to_the_end(async move {
        let revoked = state.store.revoke_bot_key(by, bot, key, now).await;
        match &revoked {
            Ok(Ok(())) => end_key(&state, key, now, now),
            Ok(Err(_)) => {}
            // It may have ended: whoever is connected by it comes back and shows it again.
            Err(StoreError::OutcomeUnknown(_)) => {
                state.bus.end_sessions(Ended::BotKey(key), CloseCode::IdentityChanged);
            }
            Err(_) => {}
        }
        revoked
    });
    revoked.await.map_err(refusal)??;
    // Once this is answered, nobody hears anything more by this key.
    call.state.bus.settled().await;
    nothing()
}

/// Goes on even if whoever asked for it goes: what was opened with a key that ends has to end with it.
async fn to_the_end<T: 'static>(
    work: impl Future<Output = Result<T, StoreError>> + 'static,
) -> Result<T, StoreError> {
    let done = actix_rt::spawn(work).await;
    done.unwrap_or_else(|failed| Err(StoreError::OutcomeUnknown(failed.to_string())))
}

/// Lets what was opened with a key end with it.
fn end_key(state: &State, key: BotKeyId, ends_at: Timestamp, now: Timestamp) {
    if ends_at <= now {
        state.bus.end_sessions(Ended::BotKey(key), CloseCode::SessionRevoked);
    } else {
        state.bus.limit_key(key, ends_at);
    }
}

/// It is done, but what came of it can't be read.
fn lost(error: StoreError) -> Problem {
    Problem::from(refusal(error)).after_commit()
}

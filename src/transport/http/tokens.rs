//! `POST /tokens`: what API clients sign in by. An access token for each request, and a refresh token for the next pair.

use super::call::Visit;
use super::problem::{Answer, Problem};
use super::proving::proven;
use super::signing_in::new_session;
use super::view::Me;
use crate::auth::access;
use crate::auth::identity::{refusal, token_revoked};
use crate::auth::token::{self, Token};
use crate::domain::{Ack, BegunBy, NewRefresh, NewSession, Person, Rejection, Session, SessionChange};
use actix_web::HttpResponse;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Either what the grant `password` needs, or what `refresh` does.
#[derive(Deserialize)]
struct Grant {
    grant: String,
    email: Option<String>,
    password: Option<String>,
    device: Option<String>,
    refresh_token: Option<String>,
}

/// `POST /tokens`
pub(super) async fn grant(mut visit: Visit) -> Answer {
    let Grant { grant, email, password, device, refresh_token } = visit.read().await?;
    match grant.as_str() {
        "password" => {
            by_password(&visit, &given("email", email)?, given("password", password)?, device).await
        }
        "refresh" => by_refresh(&visit, &given("refresh_token", refresh_token)?).await,
        _ => Err(Rejection::invalid("grant", "is neither password nor refresh").into()),
    }
}

fn given(field: &'static str, value: Option<String>) -> Result<String, Rejection> {
    value.ok_or_else(|| Rejection::invalid(field, "is missing"))
}

async fn by_password(visit: &Visit, email: &str, password: String, device: Option<String>) -> Answer {
    visit.state.must_have_room()?;
    let found = proven(visit, email, password).await?;
    let (refresh, next) = fresh(visit);
    // A session needs a token of its own; this one is nobody's.
    let new = new_session(visit, &found.person, BegunBy::Tokens, Token::random().hash());
    let new = NewSession {
        device: device.unwrap_or_else(|| visit.device()),
        lifetime: visit.state.config.auth.refresh_token,
        ..new
    };
    let change = SessionChange::Begin { new, password_hash: Some(found.password_hash), refresh: Some(next) };
    match visit
        .state
        .bus
        .change_sessions(change, visit.origin(), visit.trace)
        .await
        .map_err(Problem::counted)?
    {
        Ack::SessionBegun(session) => pair(visit, &session, &found.person, &refresh).await,
        _ => Err(Rejection::internal().into()),
    }
}

async fn by_refresh(visit: &Visit, shown: &str) -> Answer {
    let (refresh, next) = fresh(visit);
    let overlap = visit.state.config.auth.refresh_overlap;
    let change = SessionChange::Refresh { shown: token::hash(shown), next, overlap };
    match visit
        .state
        .bus
        .change_sessions(change, visit.origin(), visit.trace)
        .await
        .map_err(Problem::counted)?
    {
        Ack::Refreshed { session, person } => pair(visit, &session, &person, &refresh).await,
        Ack::TokenReused => Err(token_revoked().into()),
        _ => Err(Rejection::internal().into()),
    }
}

/// A refresh token, and what is stored of it.
fn fresh(visit: &Visit) -> (Token, NewRefresh) {
    let token = Token::random();
    let next = NewRefresh { token_hash: token.hash(), lifetime: visit.state.config.auth.refresh_token };
    (token, next)
}

/// The answer: both tokens, shown once.
async fn pair(visit: &Visit, session: &Session, person: &Person, refresh: &Token) -> Answer {
    let (state, auth) = (&visit.state, &visit.state.config.auth);
    let profile = state.store.person(person.id).await.map_err(refusal)?.ok_or_else(Rejection::internal)?;
    let access_token = access::issue(&state.keys, session.id, super::now().after(auth.access_token));
    Ok(HttpResponse::Created().json(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": seconds(auth.access_token),
        "refresh_token": refresh.reveal(),
        "refresh_expires_in": seconds(auth.refresh_token),
        "session_id": session.id.get(),
        "user": Me::from(&profile),
    })))
}

const fn seconds(span: Duration) -> u64 {
    span.as_secs()
}

//! What every way in ends with: a session, and the cookie that carries it.

use super::call::Visit;
use super::problem::Problem;
use crate::auth::cookie::SessionCookie;
use crate::auth::email;
use crate::auth::identity::{refusal, unauthenticated};
use crate::auth::token::{Token, TokenHash};
use crate::domain::{Ack, BegunBy, NewSession, Person, Rejection, Session, SessionChange};
use crate::storage::{Credentials, Profile, Status};
use std::sync::Arc;

/// Whose e-mail address and password these are.
pub(super) async fn proven(visit: &Visit, email: &str, password: String) -> Result<Credentials, Rejection> {
    let state = &visit.state;
    let found = match email::normalise(email) {
        Ok(email) => state.store.credentials(&email).await.map_err(refusal)?,
        Err(_) => None,
    };
    let found = found.filter(|found| found.status == Status::Active);
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let is_right = state.hasher.verify(password, hash).await?;
    // The same for a wrong password, an unknown address and a closed account.
    found
        .filter(|_| is_right)
        .ok_or_else(|| Rejection { message: "wrong e-mail address or password".into(), ..unauthenticated() })
}

/// A new session and the header that carries it. `password_hash` is what was checked, where a password was.
pub(super) async fn begin_session(
    visit: &Visit,
    person: &Person,
    begun_by: BegunBy,
    password_hash: Option<String>,
) -> Result<(Profile, Arc<Session>, String), Problem> {
    let state = &visit.state;
    let profile = state.store.person(person.id).await.map_err(refusal)?.ok_or_else(Rejection::internal)?;
    let token = Token::random();
    let new = new_session(visit, person, begun_by, token.hash());
    let change = SessionChange::Begin { new, password_hash, refresh: None };
    let ack = state.bus.change_sessions(change, visit.origin(), visit.trace).await;
    match ack.map_err(Problem::counted)? {
        Ack::SessionBegun(session) => Ok((profile, session, SessionCookie::of(&state.config).set(&token))),
        _ => Err(Rejection::internal().into()),
    }
}

/// A session of a browser, as the settings want it.
pub(super) fn new_session(
    visit: &Visit,
    person: &Person,
    begun_by: BegunBy,
    token_hash: TokenHash,
) -> NewSession {
    let auth = &visit.state.config.auth;
    NewSession {
        user: person.id,
        token_hash,
        device: visit.device(),
        begun_by,
        lifetime: auth.session,
        most: auth.sessions_per_user,
    }
}

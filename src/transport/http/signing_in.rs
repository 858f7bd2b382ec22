//! What every way in ends with: a session, and the cookie that carries it.

use super::call::Visit;
use super::problem::Problem;
use crate::auth::cookie::SessionCookie;
use crate::auth::identity::refusal;
use crate::auth::token::{Token, TokenHash};
use crate::domain::{Ack, BegunBy, NewSession, Person, Rejection, Session, SessionChange};
use crate::storage::Profile;
use std::sync::Arc;

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

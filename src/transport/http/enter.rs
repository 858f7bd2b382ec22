//! Coming in: first run and sign-in. Each ends with a session cookie.

use super::call::{Visit, ok};
use super::problem::{Answer, Problem};
use super::proving::proven;
use super::signing_in::begin_session;
use super::view::{AccountView, Me, SessionView, room};
use crate::auth::identity::refusal;
use crate::auth::password::Password;
use crate::auth::{email, join_code};
use crate::domain::{Ack, BegunBy, Enrolment, Name, Person, Rejection, RejectionCode, RoomCard};
use crate::storage::RoomFilter;
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
struct SetUp {
    account_name: String,
    name: String,
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct Newcomer {
    name: String,
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct SignIn {
    email: String,
    password: String,
}

/// `GET /setup`
pub(super) async fn needs_setup(visit: Visit) -> Answer {
    let account = visit.state.store.account().await.map_err(refusal)?;
    ok(&json!({ "needed": account.is_none() }))
}

/// `POST /setup`
pub(super) async fn set_up(mut visit: Visit) -> Answer {
    visit.state.must_have_room()?;
    let SetUp { account_name, name, email, password } = visit.read().await?;
    let account_name = Name::parse("account_name", &account_name)?;
    let (name, email, password) = Newcomer { name, email, password }.checked()?;
    if visit.state.store.account().await.map_err(refusal)?.is_some() {
        // Said before the password costs anything; the transaction has the last word.
        return Err(Rejection::new(RejectionCode::AlreadySetUp, "the first run is over").into());
    }
    let password_hash = visit.state.hasher.hash(password).await?;
    let join_code = join_code::random();
    let enrolment = Enrolment::SetUp { account_name, join_code, name, email, password_hash };
    let (person, first_room) = enrol(&visit, enrolment).await?;
    let account = visit.state.store.account().await.map_err(refusal)?.ok_or_else(Rejection::internal)?;
    let first_room = first_room.ok_or_else(Rejection::internal)?;
    let filter = RoomFilter { ids: Some(vec![first_room.id]), system: false };
    let rooms = visit.state.store.room_views(&person, filter, None, 1).await.map_err(refusal)?;
    let first_room = rooms.first().ok_or_else(Rejection::internal)?;
    let (profile, _, cookie) = begin_session(&visit, &person, BegunBy::SetUp, None).await?;
    Ok(HttpResponse::Created().insert_header((header::SET_COOKIE, cookie)).json(json!({
        "account": AccountView::new(&account, true),
        "user": Me::from(&profile),
        "room": room(first_room),
    })))
}

/// `POST /sessions`
pub(super) async fn sign_in(mut visit: Visit) -> Answer {
    visit.state.must_have_room()?;
    let SignIn { email, password } = visit.read().await?;
    let found = proven(&visit, &email, password).await?;
    let (person, hash) = (found.person, Some(found.password_hash));
    let (profile, session, cookie) = begin_session(&visit, &person, BegunBy::Password, hash).await?;
    Ok(HttpResponse::Created().insert_header((header::SET_COOKIE, cookie)).json(json!({
        "session": SessionView::new(&session, Some(session.id)),
        "user": Me::from(&profile),
    })))
}

impl Newcomer {
    fn checked(self) -> Result<(Name, String, Password), Rejection> {
        let name = Name::parse("name", &self.name)?;
        Ok((name, email::normalise(&self.email)?, Password::parse(self.password)?))
    }
}

pub(super) async fn enrol(
    visit: &Visit,
    enrolment: Enrolment,
) -> Result<(Person, Option<Arc<RoomCard>>), Problem> {
    match visit.state.bus.enrol(enrolment, visit.origin(), visit.trace).await.map_err(Problem::counted)? {
        Ack::Enrolled { person, room } => Ok((person, room)),
        _ => Err(Rejection::internal().into()),
    }
}

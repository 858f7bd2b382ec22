//! Coming in by a code: the account's standing one, or an invitation. It ends with a session cookie.

use super::call::{Visit, ok};
use super::enter::enrol;
use super::problem::{Answer, Problem};
use super::signing_in::begin_session;
use super::view::Me;
use crate::auth::email;
use crate::auth::identity::refusal;
use crate::auth::password::Password;
use crate::domain::{BegunBy, Enrolment, InviteCode, Name, Rejection, Role};
use crate::storage::{Account, Invite, StoreError};
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

#[derive(Deserialize)]
struct Newcomer {
    name: String,
    email: Option<String>,
    password: Option<String>,
}

/// `GET /join/{code}`
pub(super) async fn invitation(visit: Visit) -> Answer {
    let (account, role) = invited(&visit).await?;
    ok(&json!({ "account": { "name": account.name }, "role": role.as_str() }))
}

/// `POST /join/{code}`
pub(super) async fn join(mut visit: Visit) -> Answer {
    let (_, role) = invited(&visit).await?;
    visit.state.must_have_room()?;
    let newcomer: Newcomer = visit.read().await?;
    let (name, credentials) = newcomer.checked(role)?;
    let credentials = match credentials {
        Some((email, password)) => Some((email, visit.state.hasher.hash(password).await?)),
        None => None,
    };
    let code = InviteCode::new(visit.part("code"));
    let (person, _) = enrol(&visit, Enrolment::Join { code, name, credentials }).await?;
    let (profile, _, cookie) = begin_session(&visit, &person, BegunBy::Join, None).await?;
    let mut response = HttpResponse::Created();
    Ok(response.insert_header((header::SET_COOKIE, cookie)).json(json!({ "user": Me::from(&profile) })))
}

impl Newcomer {
    /// A guest may come with nothing but a name; with an address there has to be a password.
    fn checked(self, role: Role) -> Result<(Name, Option<(String, Password)>), Rejection> {
        let name = Name::of(role, &self.name)?;
        let missing = |field: &'static str| Rejection::invalid(field, "is missing");
        match (self.email, self.password) {
            (None, None) if role == Role::Guest => Ok((name, None)),
            (None, _) => Err(missing("email")),
            (Some(_), None) => Err(missing("password")),
            (Some(email), Some(password)) => {
                Ok((name, Some((email::normalise(&email)?, Password::parse(password)?))))
            }
        }
    }
}

/// The account, and as what one comes in, for those who know a code that holds. Codes can't be guessed at leisure.
async fn invited(visit: &Visit) -> Result<(Account, Role), Problem> {
    let limits = visit.state.bus.limits();
    let attempt = limits.guess(visit.address(), Instant::now())?;
    let found = look_up(visit).await;
    // What failed for reasons of ours was no guess either.
    if !matches!(found, Ok(None)) {
        limits.succeeded(attempt, Instant::now());
    }
    let (account, invite) = found.map_err(refusal)?.ok_or_else(|| Rejection::not_found("invitation"))?;
    let Some(invite) = invite else { return Ok((account, Role::Member)) };
    invite.state.must_hold(super::now())?;
    Ok((account, invite.role))
}

/// What the code in the path is for: without an invitation it is the standing code.
async fn look_up(visit: &Visit) -> Result<Option<(Account, Option<Invite>)>, StoreError> {
    let (store, code) = (&visit.state.store, visit.part("code"));
    let Some(account) = store.account().await? else { return Ok(None) };
    if account.join_code.as_bytes().ct_eq(code.as_bytes()).into() {
        return Ok(Some((account, None)));
    }
    let invite = store.invite_by_code(InviteCode::new(code)).await?;
    Ok(invite.map(|invite| (account, Some(invite))))
}

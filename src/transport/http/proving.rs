//! Passwords shown at the door: whose they are, how many wrong ones are too many, and that neither the answer nor the time it takes tells
//! which addresses are known here.

use super::call::{Call, Visit};
use crate::auth::email;
use crate::auth::identity::{refusal, unauthenticated};
use crate::domain::{Rejection, UserId};
use crate::limits::{Address, Attempt};
use crate::storage::{Credentials, RefusedFor, Status};
use crate::telemetry::metrics;
use std::net::IpAddr;
use tokio::time::Instant;

/// Whose e-mail address and password these are.
pub(super) async fn proven(visit: &Visit, email: &str, password: String) -> Result<Credentials, Rejection> {
    let (state, from) = (&visit.state, visit.address());
    let attempt = state.bus.limits().guess(from, Instant::now())?;
    // What is no address is nobody's, and is looked up like one.
    let address = email::normalise(email).unwrap_or_default();
    let facts = state.store.sign_in_facts(&address, super::now()).await;
    let (found, places) = or_give_back(visit, facts.map_err(refusal), &attempt)?;
    let familiar = from.filter(|from| is_among(*from, &places));
    let attempt =
        state.bus.limits().for_account(attempt, &email.trim().to_lowercase(), familiar, Instant::now())?;
    let (found, inactive) = match found {
        Some(found) if found.status == Status::Active => (Some(found), None),
        Some(closed) => (None, Some(closed.person.id)),
        None => (None, None),
    };
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let is_right = or_give_back(visit, check(visit, password, hash).await, &attempt)?;
    let (user, why) = match (found, inactive) {
        (Some(found), _) if is_right => {
            state.bus.limits().succeeded(attempt, Instant::now());
            return Ok(found);
        }
        (Some(found), _) => (Some(found.person.id), RefusedFor::WrongPassword),
        (None, Some(closed)) => (Some(closed), RefusedFor::Inactive),
        (None, None) => (None, RefusedFor::UnknownAddress),
    };
    note(visit, user, why).await;
    // The same for a wrong password, an unknown address and a closed account.
    Err(Rejection { message: "wrong e-mail address or password".into(), ..unauthenticated() })
}

/// Whether this is the password of the caller, whose hash is `stored`. Whoever holds a session can't try at leisure either.
pub(super) async fn is_own(call: &Call, password: String, stored: Option<String>) -> Result<bool, Rejection> {
    let limits = call.state.bus.limits();
    let attempt = limits.guess(call.address(), Instant::now())?;
    let attempt = limits.for_user(attempt, call.me().id, Instant::now())?;
    let is_right = or_give_back(call, check(call, password, stored).await, &attempt)?;
    if is_right {
        limits.succeeded(attempt, Instant::now());
    } else {
        note(call, Some(call.me().id), RefusedFor::WrongPassword).await;
    }
    Ok(is_right)
}

async fn check(visit: &Visit, password: String, hash: Option<String>) -> Result<bool, Rejection> {
    metrics::password_checked();
    visit.state.hasher.verify(password, hash).await
}

/// What failed for reasons of ours was no guess.
fn or_give_back<T>(visit: &Visit, outcome: Result<T, Rejection>, attempt: &Attempt) -> Result<T, Rejection> {
    if outcome.is_err() {
        visit.state.bus.limits().give_back(attempt, Instant::now());
    }
    outcome
}

fn is_among<'a>(from: IpAddr, places: impl IntoIterator<Item = &'a IpAddr>) -> bool {
    let here = Address::of(from);
    places.into_iter().any(|place| Address::of(*place) == here)
}

/// Every failure is in the audit trail, and there are no more of them than the limits let through.
async fn note(visit: &Visit, user: Option<UserId>, why: RefusedFor) {
    let noted = visit.state.store.note_refusal(user, why, visit.origin(), super::now()).await;
    if let Err(error) = noted {
        tracing::warn!(%error, "a refused sign-in could not be noted");
    }
}

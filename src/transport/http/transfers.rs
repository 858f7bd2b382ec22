//! Links that sign in once: on another device, or somebody whom an admin lets back in. The token is in the link's fragment, which browsers send to
//! nobody: it is in no log and no `Referer`, and whoever only fetches the link, a preview or a scanner, uses nothing up.

use super::call::{Call, Visit, created, ok};
use super::problem::{Answer, Problem};
use super::signing_in::new_session;
use super::view::{Me, SessionView};
use crate::auth::cookie::SessionCookie;
use crate::auth::identity::refusal;
use crate::auth::origin;
use crate::auth::signing::Purpose;
use crate::auth::token::{self, Token};
use crate::domain::{
    Ack, Command, NewTransfer, Rejection, RejectionCode, SessionChange, TransferKind, UserId,
};
use crate::storage::Transfer;
use crate::transport::qr;
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

/// Where the client reads the token.
const PAGE: &str = "/transfer#";

/// A token as it is shown; never in a log.
#[derive(Deserialize)]
struct Shown {
    token: String,
}

/// `POST /transfers`
pub(super) async fn create(call: Call) -> Answer {
    let me = call.me().id;
    make(&call, me, TransferKind::Device).await
}

/// `POST /users/{id}/transfers`
pub(super) async fn recover(call: Call) -> Answer {
    make(&call, call.user()?, TransferKind::Recovery).await
}

async fn make(call: &Call, user: UserId, kind: TransferKind) -> Answer {
    let state = &call.state;
    let from = super::provenance(call.headers());
    let base = origin::of_links(from, state.config.server.public_url.as_ref(), &state.url)?;
    // What is signed is chance alone: 256 bits of it, so that nobody who learns the key can tell the tokens there are.
    let chance: [u8; 32] = rand::random();
    let token = state.keys.sign(Purpose::TransferLink, &chance);
    let url = format!("{base}{PAGE}{token}");
    let picture = qr::svg(&url).ok_or_else(Rejection::internal)?;
    let lifetime = state.config.auth.transfer;
    let new = NewTransfer { user, kind, token_hash: token::hash(&token), lifetime };
    match call.submit(Command::CreateTransfer(new)).await? {
        Ack::TransferCreated { expires_at } => created(&json!({
            "url": url,
            "qr": picture,
            "kind": kind.as_str(),
            "expires_at": expires_at.to_string(),
        })),
        _ => Err(Rejection::internal().into()),
    }
}

/// `POST /transfers/look`
pub(super) async fn look(mut visit: Visit) -> Answer {
    let Shown { token } = visit.read().await?;
    let transfer = known(&visit, &token).await?;
    let account = visit.state.store.account().await.map_err(refusal)?.ok_or_else(Rejection::internal)?;
    ok(&json!({
        "user": { "id": transfer.user.id.get(), "name": &*transfer.user.name },
        "account": { "name": account.name },
        "kind": transfer.kind.as_str(),
        "expires_at": transfer.expires_at.to_string(),
    }))
}

/// `POST /transfers/redeem`
pub(super) async fn redeem(mut visit: Visit) -> Answer {
    visit.state.must_have_room()?;
    let Shown { token } = visit.read().await?;
    let link_hash = token::hash(&token);
    let answer = let_in(&visit, &token, link_hash).await;
    if answer.as_ref().is_err_and(|problem| problem.rejection.code == RejectionCode::Gone) {
        note_refused(&visit, link_hash).await;
    }
    answer
}

async fn let_in(visit: &Visit, token: &str, link_hash: [u8; 32]) -> Answer {
    let transfer = known(visit, token).await?;
    let state = &visit.state;
    let profile = state.store.person(transfer.user.id).await.map_err(refusal)?;
    let profile = profile.ok_or_else(Rejection::internal)?;
    let token = Token::random();
    let new = new_session(visit, &transfer.user, transfer.kind.begun_by(), token.hash());
    let change = SessionChange::Redeem { new, link_hash };
    let ack = state.bus.change_sessions(change, visit.origin(), visit.trace).await;
    let Ack::SessionBegun(session) = ack.map_err(Problem::counted)? else {
        return Err(Rejection::internal().into());
    };
    let cookie = SessionCookie::of(&state.config).set(&token);
    Ok(HttpResponse::Created().insert_header((header::SET_COOKIE, cookie)).json(json!({
        "session": SessionView::new(&session, Some(session.id)),
        "user": Me::from(&profile),
    })))
}

/// Somebody wanted in by a link of ours that lets nobody in any more: maybe whoever it was taken from, or whoever took it.
async fn note_refused(visit: &Visit, link_hash: [u8; 32]) {
    if !visit.state.bus.limits().is_told_of(&link_hash, Instant::now()) {
        return;
    }
    if let Err(error) = visit.state.store.note_refused_link(link_hash, visit.origin(), super::now()).await {
        tracing::warn!(%error, "a refused link could not be noted");
    }
}

/// The link of a token. What we never signed is unknown, and the store isn't asked; what we signed and isn't there to be used is over, whatever
/// became of it.
async fn known(visit: &Visit, token: &str) -> Result<Transfer, Problem> {
    let limits = visit.state.bus.limits();
    let attempt = limits.guess(visit.address(), Instant::now())?;
    let opened = visit.state.keys.open(Purpose::TransferLink, token);
    opened.map_err(|_forged| Rejection::not_found("link"))?;
    limits.succeeded(attempt, Instant::now());
    let found = visit.state.store.transfer(token::hash(token), super::now()).await.map_err(refusal)?;
    Ok(found.ok_or_else(|| Rejection::gone("link"))?)
}

//! One's own browser sessions: where one is signed in, and signing out.

use super::call::{Call, nothing, ok};
use super::problem::Answer;
use super::view::SessionView;
use crate::actors::bus::Ended;
use crate::auth::cookie::SessionCookie;
use crate::auth::identity::refusal;
use crate::domain::{Rejection, SessionId};
use crate::protocol::CloseCode;
use actix_web::HttpResponse;
use actix_web::http::header;
use serde_json::json;

/// `GET /sessions`
pub(super) async fn list(call: Call) -> Answer {
    let sessions = call.state.store.sessions_of(call.me().id, super::now()).await.map_err(refusal)?;
    let current = call.identity.session();
    let views: Vec<_> = sessions.iter().map(|session| SessionView::new(session, current)).collect();
    ok(&json!({ "sessions": views, "next": null }))
}

/// `DELETE /sessions/{id|current}`
pub(super) async fn end(call: Call) -> Answer {
    let current = call.identity.session();
    let session = match call.part("session") {
        "current" => current.ok_or_else(|| Rejection::not_found("session"))?,
        _ => SessionId::new(call.session()?),
    };
    let ended = call.state.store.revoke_session(call.me().id, session, super::now()).await;
    if !ended.map_err(refusal)? {
        return Err(Rejection::not_found("session").into());
    }
    call.state.bus.end_sessions(Ended::Session(session), CloseCode::SessionRevoked);
    if current != Some(session) {
        return nothing();
    }
    let mut response = HttpResponse::NoContent();
    Ok(response.insert_header((header::SET_COOKIE, SessionCookie::of(&call.state.config).clear())).finish())
}

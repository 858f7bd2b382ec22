//! One's own sessions: where one is signed in, and signing out.

use super::call::{Call, nothing, ok};
use super::problem::{Answer, Problem};
use super::view::SessionView;
use crate::auth::cookie::SessionCookie;
use crate::auth::identity::refusal;
use crate::domain::{Ending, Rejection, SessionChange, SessionId};
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
    end_sessions(&call, Ending::One(session)).await?;
    if current != Some(session) {
        return nothing();
    }
    let mut response = HttpResponse::NoContent();
    Ok(response.insert_header((header::SET_COOKIE, SessionCookie::of(&call.state.config).clear())).finish())
}

/// `DELETE /sessions`: all others.
pub(super) async fn end_others(call: Call) -> Answer {
    let current = call.identity.session().ok_or_else(|| Rejection::forbidden("only people have sessions"))?;
    end_sessions(&call, Ending::AllBut(Some(current))).await?;
    nothing()
}

async fn end_sessions(call: &Call, which: Ending) -> Result<(), Problem> {
    let change = SessionChange::End { user: call.me().id, which };
    let origin = call.identity.principal().origin;
    call.state.bus.change_sessions(change, origin, call.trace).await.map_err(Problem::counted)?;
    Ok(())
}

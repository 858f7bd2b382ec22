//! Action requests: made by programs, asked after, and answered by clients whose socket is down.

use super::call::{Call, ok};
use super::poll::Waiting;
use super::problem::{Answer, Problem};
use crate::actors::actions::Made;
use crate::auth::identity::{refusal, token_revoked};
use crate::domain::{
    Ack, ActionId, ActionKind, ActionRequest, ActionState, NewAction, Outcome, Rejection, RejectionCode,
    RoomId, UserId,
};
use crate::protocol::action::{ActionView, Answered, arguments};
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

#[derive(Deserialize)]
struct Ask {
    user_id: i64,
    kind: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    room_id: Option<i64>,
    timeout_ms: Option<u64>,
}

impl Ask {
    fn of(self, call: &Call) -> Result<NewAction, Rejection> {
        let config = &call.state.config.actions;
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let (least, most) = (millis(config.timeout_min), millis(config.timeout_max));
        let timeout = match self.timeout_ms {
            None => config.timeout,
            Some(millis) if (least..=most).contains(&millis) => Duration::from_millis(millis),
            Some(_) => {
                return Err(Rejection::invalid("timeout_ms", &format!("is not between {least} and {most}")));
            }
        };
        Ok(NewAction {
            by: call.identity.principal(),
            user: UserId::new(self.user_id),
            room: self.room_id.map(RoomId::new),
            run: None,
            kind: ActionKind::parse(&self.kind)?,
            arguments: arguments(self.arguments)?,
            timeout,
        })
    }
}

/// `POST /actions`
pub(super) async fn ask(mut call: Call) -> Answer {
    let most = call.state.config.actions.wait;
    let wait = call.query()?.parsed("wait", "a number of seconds")?.map(Duration::from_secs);
    if wait.is_some_and(|wait| wait > most) {
        return Err(Rejection::invalid("wait", &format!("is longer than {} s", most.as_secs())).into());
    }
    let wait = wait.unwrap_or_default();
    let new = call.read::<Ask>().await?.of(&call)?;
    if wait > Duration::ZERO {
        call.state.must_stay()?;
        call.state.must_have_room()?;
    }
    if call.state.bus.has_ended(&call.identity, call.began) {
        return Err(token_revoked().into());
    }
    call.state.bus.limits().action(call.me(), Instant::now())?;
    // Before anything is stored: who can't wait is told so, and may ask without.
    let _place = if wait > Duration::ZERO { Some(Waiting::take(&call.state)?) } else { None };
    let mut made = call.state.bus.actions().ask(new).await?;
    if wait > Duration::ZERO
        && let Some(end) = outcome(&call, &mut made, Instant::now() + wait).await
    {
        if call.state.bus.has_ended(&call.identity, call.began) {
            return Err(token_revoked().into());
        }
        let Outcome { state, result } = end?;
        let request = ActionRequest { state, result: Some(result), ..made.request };
        let ended = call.state.store.action(request.id).await.ok().flatten().unwrap_or(request);
        return ok(&ActionView::new(&ended, super::now()));
    }
    let location = format!("/api/v1/actions/{}", made.request.id);
    let view = ActionView::new(&made.request, super::now());
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(view))
}

/// How the request ends; none when the wait is over before, or the server is about to leave.
async fn outcome(call: &Call, made: &mut Made, until: Instant) -> Option<Result<Outcome, Rejection>> {
    tokio::select! {
        end = timeout_at(until, made.outcome()) => end.ok(),
        () = call.state.bus.leaving() => None,
    }
}

/// `GET /actions/{id}`
pub(super) async fn show(call: Call) -> Answer {
    let id = call.action()?;
    let found = call.state.store.action(id).await.map_err(refusal)?;
    let me = call.me().id;
    let found = found.filter(|request| request.user == me || request.requester.id == me);
    ok(&ActionView::new(&found.ok_or_else(unknown)?, super::now()))
}

/// `POST /actions/{id}/result`
pub(super) async fn answer(mut call: Call) -> Answer {
    let id = call.action()?;
    let body = call.read::<Map<String, Value>>().await?;
    if !body.contains_key("request_id") {
        return Err(Problem::unreadable(Rejection::invalid("request_id", "is missing")));
    }
    let answered: Answered = call.shape(&Value::Object(body))?;
    if answered.request_id != id {
        return Err(Rejection::invalid("request_id", "is not the one of the path").into());
    }
    if call.state.bus.has_ended(&call.identity, call.began) {
        return Err(token_revoked().into());
    }
    let result = answered.of(call.me().id)?;
    match call.state.bus.actions().take(result, call.trace).await.map_err(Problem::counted)? {
        Ack::ActionAnswered { id, state, duplicate } => answered_as(id, state, duplicate),
        _ => Err(Rejection::internal().into()),
    }
}

fn answered_as(id: ActionId, state: ActionState, duplicate: bool) -> Answer {
    ok(&json!({ "request_id": id, "state": state.as_str(), "duplicate": duplicate }))
}

fn unknown() -> Rejection {
    Rejection::new(RejectionCode::NotFound, "no such action request")
}

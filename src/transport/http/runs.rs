//! Answers of assistants: asking for one, looking at them, stopping one.

use super::call::{Call, nothing, ok};
use super::problem::{Answer, Problem};
use super::query::one_more;
use super::rooms;
use super::view::RunView;
use crate::auth::identity::refusal;
use crate::domain::{Ack, Command, MessageId, Rejection, RoomId, RunId, UserId};
use crate::protocol::cursor::Cursor;
use crate::storage::{Run, StoreError};
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Runs of a page.
const USUAL: u32 = 50;
const MOST: u32 = 100;

#[derive(Deserialize)]
struct Ask {
    message_id: i64,
    assistant_id: i64,
    regenerates: Option<i64>,
    settings_version: Option<i64>,
}

/// A run, as whoever asked for it is told.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    run: RunView<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// `POST /rooms/{id}/runs`
pub(super) async fn ask(mut call: Call) -> Answer {
    let room = call.room()?;
    let Ask { message_id, assistant_id, regenerates, settings_version } = call.read().await?;
    let command = Command::AskAssistant {
        room,
        assistant: UserId::new(assistant_id),
        message: MessageId::new(message_id),
        regenerates: regenerates.map(RunId::new),
        settings: settings_version,
    };
    let Ack::Asked(started) = call.submit(command).await? else {
        return Err(Rejection::internal().into());
    };
    // It is asked for, but it may be out of reach.
    let lost = |error: StoreError| Problem::from(refusal(error)).after_commit();
    let run = call.state.store.run(room, started.run).await.map_err(lost)?;
    let run = run.ok_or_else(Rejection::internal)?;
    let asked = Asked { run: (&run).into(), duplicate: started.duplicate };
    if started.duplicate {
        return ok(&asked);
    }
    let location = format!("/api/v1/rooms/{room}/runs/{}", run.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(asked))
}

/// `GET /rooms/{id}/runs`
pub(super) async fn list(call: Call) -> Answer {
    let room = call.room()?;
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let only_open = match query.text("state") {
        None | Some("all") => false,
        Some("open") => true,
        Some(_) => return Err(Rejection::invalid("state", "is not open or all").into()),
    };
    let before = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => RunId::new(i64::MAX),
        Some(Cursor::Runs { room: of, before }) if of == room => before,
        Some(_) => return Err(Cursor::foreign().into()),
    };
    rooms::head(&call, room).await?;
    let load = |limit| call.state.store.runs_of_room(room, before, only_open, limit);
    let (runs, more) = one_more(limit, load).await?;
    let last = runs.last().filter(|_| more);
    let next = last.map(|last| Cursor::Runs { room, before: last.id }.encode());
    let runs: Vec<_> = runs.iter().map(RunView::from).collect();
    ok(&json!({ "runs": runs, "next": next }))
}

/// `GET /rooms/{id}/runs/{run}`
pub(super) async fn show(call: Call) -> Answer {
    let (room, run) = (call.room()?, call.run()?);
    rooms::head(&call, room).await?;
    let run: Option<Run> = call.state.store.run(room, run).await.map_err(refusal)?;
    ok(&RunView::from(&run.ok_or_else(|| Rejection::not_found("run"))?))
}

/// `DELETE /rooms/{id}/runs/{run}`
pub(super) async fn stop(call: Call) -> Answer {
    let (room, run): (RoomId, RunId) = (call.room()?, call.run()?);
    match call.submit(Command::StopRun { room, run }).await? {
        // Whoever works at it is told; it ends within a moment.
        Ack::RunStopping { .. } => Ok(HttpResponse::Accepted().finish()),
        _ => nothing(),
    }
}

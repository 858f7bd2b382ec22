//! Summaries of rooms: asking for one, and those there are.

use super::call::{Call, ok};
use super::problem::{Answer, Problem};
use super::query::one_more;
use super::rooms;
use super::view::RunView;
use crate::actors::inference::stretch;
use crate::auth::identity::refusal;
use crate::domain::{Ack, Command, MessageId, Rejection, RoomId, UserId};
use crate::protocol::cursor::Cursor;
use crate::storage::{AssistantView, StoreError, Summary};
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Summaries of a page.
const USUAL: u32 = 20;
const MOST: u32 = 100;

#[derive(Deserialize, Default)]
struct Wanted {
    assistant_id: Option<i64>,
    after: Option<i64>,
    before: Option<i64>,
}

/// A run, as whoever asked for it is told.
#[derive(Serialize)]
struct Begun<'a> {
    #[serde(flatten)]
    run: RunView<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

#[derive(Serialize)]
struct View<'a> {
    id: i64,
    room_id: i64,
    assistant_id: i64,
    run_id: i64,
    start_id: i64,
    end_id: i64,
    whole: bool,
    body: &'a str,
    created_at: String,
}

/// `POST /rooms/{id}/summaries`
pub(super) async fn begin(mut call: Call) -> Answer {
    let room = call.room()?;
    let wanted: Wanted = call.read_if_any().await?.unwrap_or_default();
    // Who may not read it learns nothing of it, not even what is wrong with the request.
    rooms::head(&call, room).await?;
    let assistant = chosen(&call, room, wanted.assistant_id).await?;
    let store = &call.state.store;
    let after = match wanted.after {
        Some(after) => MessageId::new(after),
        None => store.summed_up_until(room).await.map_err(refusal)?,
    };
    let before = MessageId::new(wanted.before.unwrap_or(i64::MAX));
    let found = stretch::first(store, &call.state.config.ai, &assistant.terms, room, after, before);
    let Some(found) = found.await.map_err(refusal)? else {
        return Err(Rejection::invalid("after", "leaves nothing to sum up").into());
    };
    let command =
        Command::Summarise { room, assistant: assistant.person.id, start: found.start, end: found.end };
    let Ack::Summarising { run, duplicate } = call.submit(command).await? else {
        return Err(Rejection::internal().into());
    };
    // It is asked for, but it may be out of reach.
    let lost = |error: StoreError| Problem::from(refusal(error)).after_commit();
    let run = call.state.store.run(room, run).await.map_err(lost)?;
    let run = run.ok_or_else(Rejection::internal)?;
    let begun = Begun { run: (&run).into(), duplicate };
    if duplicate {
        return ok(&begun);
    }
    let location = format!("/api/v1/rooms/{room}/runs/{}", run.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(begun))
}

/// The assistant that is named, or the only one there is in the room.
async fn chosen(call: &Call, room: RoomId, named: Option<i64>) -> Result<AssistantView, Problem> {
    let store = &call.state.store;
    let Some(place) = store.load_room(room).await.map_err(refusal)? else {
        return Err(Rejection::not_found("room").into());
    };
    let all = store.assistants().await.map_err(refusal)?;
    let mut here = all.into_iter().filter(|one| place.is_member(&one.person));
    if let Some(named) = named {
        let named = here.find(|one| one.person.id == UserId::new(named));
        return Ok(named.ok_or_else(|| Rejection::not_found("assistant"))?);
    }
    let mut able = here.filter(|one| one.terms.enabled);
    match (able.next(), able.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            Err(Rejection::invalid("assistant_id", "is missing: no assistant is in this room").into())
        }
        (Some(_), Some(_)) => {
            Err(Rejection::invalid("assistant_id", "is missing: several assistants are in this room").into())
        }
    }
}

/// `GET /rooms/{id}/summaries`
pub(super) async fn list(call: Call) -> Answer {
    let room = call.room()?;
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let before = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => i64::MAX,
        Some(Cursor::Summaries { room: of, before }) if of == room => before,
        Some(_) => return Err(Cursor::foreign().into()),
    };
    rooms::head(&call, room).await?;
    let (found, more) = one_more(limit, |limit| call.state.store.summaries(room, before, limit)).await?;
    let last = found.last().filter(|_| more);
    let next = last.map(|last| Cursor::Summaries { room, before: last.id }.encode());
    let summaries: Vec<_> = found.iter().map(|summary| View::new(room, summary)).collect();
    ok(&json!({ "summaries": summaries, "next": next }))
}

impl<'a> View<'a> {
    fn new(room: RoomId, summary: &'a Summary) -> Self {
        Self {
            id: summary.id,
            room_id: room.get(),
            assistant_id: summary.assistant.get(),
            run_id: summary.run.get(),
            start_id: summary.start.get(),
            end_id: summary.end.get(),
            whole: summary.whole,
            body: &summary.body,
            created_at: summary.created_at.to_string(),
        }
    }
}

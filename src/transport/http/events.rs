//! A room's log, page by page: what fills the hole that a gap left.

use super::call::Call;
use super::problem::Answer;
use super::rooms;
use crate::auth::identity::refusal;
use crate::domain::Seq;
use crate::protocol::cursor::Cursor;
use crate::protocol::encode;
use crate::storage::StoredEvent;
use actix_web::HttpResponse;
use actix_web::http::header::ContentType;

/// Events of a page.
pub(super) const USUAL: u32 = 100;
pub(super) const MOST: u32 = 500;

/// `GET /rooms/{id}/events`
pub(super) async fn of_room(call: Call) -> Answer {
    let room = call.room()?;
    let query = call.query()?;
    let limit = usize::try_from(query.limit(USUAL, MOST)?).unwrap_or_default();
    let after = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => Seq::new(query.number("after")?.unwrap_or_default()),
        Some(Cursor::Events { room: of, after }) if of == room => after,
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let head = rooms::head(&call, room).await?;
    let events = call.state.store.room_events(room, after, limit).await.map_err(refusal)?;
    let last = events.last().map_or(after, |event| event.seq);
    let next = (last < head && !events.is_empty()).then(|| Cursor::Events { room, after: last }.encode());
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let head = events.last().map_or(head, |event| head.max(event.seq));
    let epoch = call.state.store.epoch();
    Ok(json(format!(r#"{{"events":[{}],"next":{next},"head":{head},"epoch":"{epoch}"}}"#, joined(&events))))
}

/// The frames of `events`, byte for byte as the socket sends them, with commas between.
pub(super) fn joined(events: &[StoredEvent]) -> String {
    let frames = events
        .iter()
        .map(|event| encode::event(&event.kind, event.id, event.seq, event.room, event.at, &event.payload));
    frames.collect::<Vec<_>>().join(",")
}

/// 200 with JSON that is text already.
pub(super) fn json(text: String) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(text)
}

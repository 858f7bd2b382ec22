//! Messages: history, posting, changing.

use super::call::{Call, nothing, ok};
use super::idempotency;
use super::problem::{Answer, Problem};
use super::query::Query;
use super::rooms;
use super::view::MessageView;
use crate::auth::identity::refusal;
use crate::domain::{Ack, Command, MessageBody, MessageId, Rejection, RoomId};
use crate::protocol::cursor::Cursor;
use crate::storage::{HistoryPage, Message, Page};
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// Messages of a page.
const USUAL: u32 = 50;
const MOST: u32 = 100;

#[derive(Deserialize)]
struct Post {
    body: String,
    client_message_id: Option<Uuid>,
    settings_version: Option<i64>,
}

#[derive(Deserialize)]
struct Edit {
    body: String,
}

/// `GET /rooms/{id}/messages`
pub(super) async fn history(call: Call) -> Answer {
    let room = call.room()?;
    let query = call.query()?;
    let limit = usize::try_from(query.limit(USUAL, MOST)?).unwrap_or_default();
    let page = which_page(room, &query)?;
    let head = rooms::head(&call, room).await?;
    let found = call.state.store.history(room, page, limit).await.map_err(refusal)?;
    let next = next_page(room, page, &found).map(Cursor::encode);
    let messages: Vec<_> = found.messages.iter().map(MessageView::from).collect();
    ok(&json!({ "messages": messages, "next": next, "head": head.get() }))
}

fn which_page(room: RoomId, query: &Query) -> Result<HistoryPage, Rejection> {
    if let Some(cursor) = query.text("cursor") {
        return match Cursor::decode(cursor)? {
            Cursor::Older { room: of, before } if of == room => Ok(HistoryPage::Before(before)),
            Cursor::Newer { room: of, after } if of == room => Ok(HistoryPage::After(after)),
            _ => Err(Cursor::foreign()),
        };
    }
    let message = |name| Ok::<_, Rejection>(query.number(name)?.map(MessageId::new));
    match (message("before")?, message("after")?, message("around")?) {
        (None, None, None) => Ok(HistoryPage::Newest),
        (Some(before), None, None) => Ok(HistoryPage::Before(before)),
        (None, Some(after), None) => Ok(HistoryPage::After(after)),
        (None, None, Some(around)) => Ok(HistoryPage::Around(around)),
        (None, Some(_), Some(_)) => Err(Rejection::invalid("around", "and after exclude each other")),
        (Some(_), Some(_), _) => Err(Rejection::invalid("after", "and before exclude each other")),
        (Some(_), None, Some(_)) => Err(Rejection::invalid("around", "and before exclude each other")),
    }
}

fn next_page(room: RoomId, page: HistoryPage, found: &Page) -> Option<Cursor> {
    if !found.more {
        return None;
    }
    match page {
        HistoryPage::After(_) => found.messages.last().map(|last| Cursor::Newer { room, after: last.id }),
        _ => found.messages.first().map(|first| Cursor::Older { room, before: first.id }),
    }
}

/// `POST /rooms/{id}/messages`
pub(super) async fn post(mut call: Call) -> Answer {
    let room = call.room()?;
    let Post { body, client_message_id, settings_version } = call.read().await?;
    let body = MessageBody::parse(&body)?;
    let key = idempotency::key(call.headers())?;
    let named = key.is_some();
    let client_message_id = idempotency::message_id(call.me().id, room, key.as_ref(), client_message_id)?;
    let command =
        Command::PostMessage { room, client_message_id, body: body.clone(), settings: settings_version };
    let Ack::Posted { position, duplicate, runs, .. } = call.submit(command).await? else {
        return Err(Rejection::internal().into());
    };
    let posted = Message {
        id: position.id,
        room,
        seq: position.seq,
        author: call.me().clone(),
        client_message_id,
        body: body.as_str().to_owned(),
        version: 1,
        at: position.at,
        edited_at: None,
        run: None,
    };
    if !duplicate {
        let mut response = with_version(HttpResponse::Created(), &posted);
        response.insert_header((header::LOCATION, format!("/api/v1/messages/{}", posted.id)));
        return Ok(response.json(MessageView::from(&posted).asking(&runs)));
    }
    // It may have been edited since. If it was deleted, the author gets back what was posted.
    let stored = call.state.store.message(position.id).await.map_err(refusal)?.unwrap_or(posted);
    let mut response = with_version(HttpResponse::Ok(), &stored);
    let answer = Ok(response.json(MessageView::from(&stored).asking(&runs).repeated()));
    if named { idempotency::replayed(answer) } else { answer }
}

/// `GET /messages/{id}`
pub(super) async fn show(call: Call) -> Answer {
    let message = find(&call).await?;
    Ok(with_version(HttpResponse::Ok(), &message).json(MessageView::from(&message)))
}

/// `PATCH /messages/{id}`
pub(super) async fn edit(mut call: Call) -> Answer {
    let version = if_match(call.header(&header::IF_MATCH))?;
    let Edit { body } = call.read().await?;
    let body = MessageBody::parse(&body)?;
    let found = find(&call).await?;
    let (message, room) = (found.id, found.room);
    let ack = call.submit(Command::EditMessage { room, message, version, body: body.clone() }).await?;
    let Ack::Edited { position, version, duplicate, .. } = ack else {
        return Err(Rejection::internal().into());
    };
    // Told from what was committed: a look at the rows may find the message deleted or the editor removed from its room,
    // and a refusal would say that nothing was stored.
    let body = body.as_str().to_owned();
    let edited = Message { body, version, edited_at: Some(position.at), ..found };
    let view = MessageView::from(&edited);
    let view = if duplicate { view.repeated() } else { view };
    Ok(with_version(HttpResponse::Ok(), &edited).json(view))
}

/// `DELETE /messages/{id}`
pub(super) async fn delete(call: Call) -> Answer {
    let message = call.message()?;
    let room = call.state.store.room_of_message(call.me(), message).await.map_err(refusal)?;
    let room = room.ok_or_else(|| Rejection::not_found("message"))?;
    call.submit(Command::DeleteMessage { room, message }).await?;
    nothing()
}

/// The message in the path, if the caller may read its room.
async fn find(call: &Call) -> Result<Message, Problem> {
    let id = call.message()?;
    let missing = || Rejection::not_found("message");
    let message = call.state.store.message(id).await.map_err(refusal)?.ok_or_else(missing)?;
    if call.state.store.readable_head(call.me(), message.room).await.map_err(refusal)?.is_none() {
        return Err(missing().into());
    }
    Ok(message)
}

fn with_version(mut response: HttpResponseBuilder, message: &Message) -> HttpResponseBuilder {
    response.insert_header((header::ETAG, format!("\"{}\"", message.version)));
    response
}

/// The version in `If-Match`: `3`, `"3"` or `W/"3"`.
fn if_match(header: Option<&str>) -> Result<i32, Rejection> {
    let wrong = |problem| Rejection::invalid("If-Match", problem);
    let text = header.ok_or_else(|| wrong("is missing"))?.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    bare.parse().map_err(|_no_number| wrong("is not a version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_understood_in_three_ways() {
        for text in ["3", "\"3\"", "W/\"3\"", " 3 "] {
            assert_eq!(if_match(Some(text)), Ok(3), "{text}");
        }
        for text in [None, Some(""), Some("*"), Some("\"3"), Some("x"), Some("99999999999")] {
            let rejection = if_match(text).expect_err("refused");
            assert_eq!(rejection.field.as_deref(), Some("If-Match"), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_of_another_room_is_foreign() {
        let room = RoomId::new(1);
        let cursor = Cursor::Older { room: RoomId::new(2), before: MessageId::new(9) }.encode();
        let query = Query::parse(&format!("cursor={cursor}")).expect("a query");
        assert_eq!(which_page(room, &query), Err(Cursor::foreign()));
        let query = Query::parse("before=3&after=4").expect("a query");
        assert_eq!(which_page(room, &query).expect_err("refused").field.as_deref(), Some("after"));
    }
}

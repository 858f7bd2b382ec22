//! Rooms, who is in them, and how far one has read.

use super::call::{Call, nothing, ok};
use super::idempotency;
use super::problem::{Answer, Problem};
use super::view::room as room_view;
use crate::auth::identity::refusal;
use crate::domain::{Ack, Command, Name, Rejection, RoomId, RoomKind, Seq};
use crate::protocol::client_frame::CreateRoom;
use crate::protocol::cursor::{Cursor, List};
use crate::protocol::view::RoomView as NewRoom;
use crate::storage::{RoomFilter, RoomView};
use actix_web::HttpResponse;
use actix_web::http::header;
use serde::Deserialize;
use serde_json::json;

/// Entries of a page.
const USUAL: u32 = 100;
const MOST: u32 = 100;

#[derive(Deserialize)]
struct Rename {
    name: String,
}

#[derive(Deserialize)]
struct MarkRead {
    seq: i64,
}

/// `GET /rooms`
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let after = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::List { list: List::Rooms, after }) => Some(RoomId::new(after)),
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let load = |limit| call.state.store.room_views(call.me(), RoomFilter::default(), after, limit);
    let (rooms, more) = super::query::one_more(limit, load).await?;
    let last = rooms.last().filter(|_| more);
    let next = last.map(|last| Cursor::List { list: List::Rooms, after: last.card.id.get() }.encode());
    let rooms: Vec<_> = rooms.iter().map(room_view).collect();
    ok(&json!({ "rooms": rooms, "next": next }))
}

/// `POST /rooms`
pub(super) async fn create(mut call: Call) -> Answer {
    let header = idempotency::key(call.headers())?;
    let mut command = call.read::<CreateRoom>().await?.into_command()?;
    if let Command::CreateRoom { key, .. } = &mut command {
        *key = idempotency::agreed(header, key.take())?;
    }
    let (ack, replayed) = idempotency::original(call.submit(command).await?);
    let Ack::RoomCreated { room, duplicate } = ack else {
        return Err(Rejection::internal().into());
    };
    let answer = if duplicate {
        ok(&room_view(&find(&call, room.id).await?))
    } else {
        let location = format!("/api/v1/rooms/{}", room.id);
        let made = NewRoom::new(&room, 1, 0, 0);
        Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(made))
    };
    if replayed { idempotency::replayed(answer) } else { answer }
}

/// `GET /rooms/{id}`
pub(super) async fn show(call: Call) -> Answer {
    let room = call.room()?;
    ok(&room_view(&find(&call, room).await?))
}

/// `PATCH /rooms/{id}`
pub(super) async fn rename(mut call: Call) -> Answer {
    let room = call.room()?;
    let Rename { name } = call.read().await?;
    let name = Name::parse("name", &name)?;
    let mut view = find(&call, room).await?;
    // Told from what was committed: a look at the rows afterwards may find the room deleted, and a refusal would say that
    // nothing was stored.
    if let Ack::Recorded(position) = call.submit(Command::RenameRoom { room, name: name.clone() }).await? {
        view.head = view.head.max(position.seq);
    }
    view.card.name = Some(name.shared());
    ok(&room_view(&view))
}

/// `DELETE /rooms/{id}`
pub(super) async fn delete(call: Call) -> Answer {
    let room = call.room()?;
    call.submit(Command::DeleteRoom { room }).await?;
    nothing()
}

/// `PUT /rooms/{id}/members/{user_id}`
pub(super) async fn add_member(call: Call) -> Answer {
    let (room, user) = (call.room()?, call.user()?);
    call.submit(Command::AddMember { room, user }).await?;
    nothing()
}

/// `DELETE /rooms/{id}/members/{user_id}`
pub(super) async fn remove_member(call: Call) -> Answer {
    let (room, user) = (call.room()?, call.user()?);
    call.submit(Command::RemoveMember { room, user }).await?;
    nothing()
}

/// `PUT /rooms/{id}/read`
pub(super) async fn mark_read(mut call: Call) -> Answer {
    let room = call.room()?;
    let MarkRead { seq } = call.read().await?;
    if seq < 0 {
        return Err(Rejection::invalid("seq", "is negative").into());
    }
    match call.submit(Command::MarkRead { room, seq: Seq::new(seq) }).await? {
        Ack::Read { room, read, unread } => {
            ok(&json!({ "room_id": room.get(), "read": read.get(), "unread": unread }))
        }
        _ => Err(Rejection::internal().into()),
    }
}

/// A room the caller may read, its members too where they are known by name.
async fn find(call: &Call, room: RoomId) -> Result<RoomView, Problem> {
    let mut view = place(call, room).await?;
    if view.card.kind == RoomKind::Closed {
        view.card.members = call.state.store.members(room).await.map_err(refusal)?;
    }
    Ok(view)
}

/// The head of a room the caller may read.
pub(super) async fn head(call: &Call, room: RoomId) -> Result<Seq, Problem> {
    let found = call.state.store.readable_head(call.me(), room).await.map_err(refusal)?;
    Ok(found.ok_or_else(|| Rejection::not_found("room"))?)
}

/// A room the caller may read, and how far they have.
pub(super) async fn place(call: &Call, room: RoomId) -> Result<RoomView, Problem> {
    let filter = RoomFilter { ids: Some(vec![room]), system: true };
    let found = call.state.store.room_views(call.me(), filter, None, 1).await.map_err(refusal)?;
    Ok(found.into_iter().next().ok_or_else(|| Rejection::not_found("room"))?)
}

//! Invitations: made, shown and taken back by admins; and the account's standing code.

use super::call::{Call, created, nothing, ok};
use super::idempotency;
use super::problem::{Answer, Problem};
use crate::auth::identity::refusal;
use crate::auth::join_code;
use crate::auth::origin;
use crate::domain::{Ack, Command, InviteCode, InviteId, InviteTerms, Person, Rejection, Role, RoomId};
use crate::protocol::cursor::{Cursor, List};
use crate::protocol::view::PersonView;
use crate::storage::Invite;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Entries of a page.
const USUAL: u32 = 100;
const MOST: u32 = 100;

#[derive(Deserialize)]
struct Create {
    role: Option<String>,
    #[serde(default)]
    room_ids: Vec<i64>,
    expires_in_s: Option<u64>,
    max_uses: Option<u32>,
}

/// `GET /invites`
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let before = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::List { list: List::Invites, after }) => Some(InviteId::new(after)),
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let load = |limit| call.state.store.invites(before, limit);
    let (invites, more) = super::query::one_more(limit, load).await?;
    let last = invites.last().filter(|_| more);
    let next = last.map(|(last, _)| Cursor::List { list: List::Invites, after: last.id.get() }.encode());
    let base = base(&call)?;
    let invites: Vec<_> = invites.iter().map(|(invite, by)| view(invite, by, base.as_deref())).collect();
    ok(&json!({ "invites": invites, "next": next }))
}

/// `POST /invites`
pub(super) async fn create(mut call: Call) -> Answer {
    let key = idempotency::key(call.headers())?;
    // Before anything is made, as it may be refused.
    let base = base(&call)?;
    let Create { role, room_ids, expires_in_s, max_uses } = call.read().await?;
    let unknown = || Rejection::invalid("role", "is not member or guest");
    let role = role.map_or(Ok(Role::Member), |role| Role::parse(&role).ok_or_else(unknown))?;
    let rooms = room_ids.into_iter().map(RoomId::new).collect();
    let lifetime = expires_in_s.map(Duration::from_secs);
    let terms = InviteTerms { role, rooms, lifetime, max_uses }.checked()?;
    let code = InviteCode::new(join_code::random());
    let ack = call.submit(Command::CreateInvite { code, terms, key }).await?;
    let (ack, replayed) = idempotency::original(ack);
    let Ack::Invited { invite } = ack else {
        return Err(Rejection::internal().into());
    };
    let made = call
        .state
        .store
        .invite(invite)
        .await
        .map_err(|error| Problem::from(refusal(error)).after_commit())?;
    let Some((invite, by)) = made else {
        // A repetition may come when it was taken back already.
        return Err(if replayed { Rejection::gone("invite") } else { Rejection::unavailable() }.into());
    };
    let base = base.unwrap_or_else(|| call.state.url.to_string());
    let answer = created(&view(&invite, &by, Some(&base)));
    if replayed { idempotency::replayed(answer) } else { answer }
}

/// `DELETE /invites/{id}`
pub(super) async fn revoke(call: Call) -> Answer {
    let invite = InviteId::new(call.invite()?);
    call.submit(Command::RevokeInvite { invite }).await?;
    nothing()
}

/// `POST /account/join-code`
pub(super) async fn rotate_join_code(call: Call) -> Answer {
    call.submit(Command::RotateJoinCode { code: InviteCode::new(join_code::random()) }).await?;
    super::account::show(call).await.map_err(Problem::after_commit)
}

/// What the links of whoever asks begin with: the configured address, or the one that a page of ours shows by `Origin`. Browsers
/// leave that out when they only read, and `Host` by itself proves nothing: then nobody knows.
fn base(call: &Call) -> Result<Option<String>, Rejection> {
    let (from, public_url) =
        (super::provenance(call.headers()), call.state.config.server.public_url.as_ref());
    let is_known = public_url.is_some() || from.origin.is_some();
    is_known.then(|| origin::of_links(from, public_url, &call.state.url)).transpose()
}

fn view(invite: &Invite, by: &Person, base: Option<&str>) -> Value {
    let (code, state) = (invite.code.reveal(), &invite.state);
    json!({
        "id": invite.id.get(),
        "code": code,
        "url": base.map(|base| format!("{base}/join/{code}")),
        "role": invite.role.as_str(),
        "room_ids": invite.rooms.iter().map(|room| room.get()).collect::<Vec<_>>(),
        "created_by": PersonView::from(by),
        "created_at": invite.created_at.to_string(),
        "expires_at": state.expires_at.map(|at| at.to_string()),
        "max_uses": state.max_uses,
        "uses": state.uses,
    })
}

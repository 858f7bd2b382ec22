//! Oneself and the others.

use super::call::{Call, ok};
use super::problem::{Answer, Problem};
use super::view::Me;
use crate::auth::identity::refusal;
use crate::domain::{Command, Name, Rejection, UserId};
use crate::protocol::cursor::{Cursor, List};
use crate::protocol::view::PersonView;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Entries of a page.
const USUAL: u32 = 100;
const MOST: u32 = 100;

#[derive(Deserialize)]
struct Change {
    name: Option<String>,
}

#[derive(Serialize)]
struct Present<'a> {
    #[serde(flatten)]
    person: PersonView<'a>,
    presence: &'static str,
    last_seen_at: Option<String>,
}

/// `GET /me`
pub(super) async fn me(call: Call) -> Answer {
    let profile = call.state.store.person(call.me().id).await.map_err(refusal)?;
    ok(&Me::from(&profile.ok_or_else(Rejection::internal)?))
}

/// `PATCH /me`
pub(super) async fn change_me(mut call: Call) -> Answer {
    let Change { name } = call.read().await?;
    if let Some(name) = name {
        let name = Name::parse("name", &name)?;
        call.submit(Command::UpdateProfile { name }).await?;
    }
    me(call).await.map_err(Problem::after_commit)
}

/// `GET /users`
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let after = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::List { list: List::Users, after }) => Some(UserId::new(after)),
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let load = |limit| call.state.store.people(after, limit);
    let (people, more) = super::query::one_more(limit, load).await?;
    let last = people.last().filter(|_| more);
    let next = last.map(|last| Cursor::List { list: List::Users, after: last.person.id.get() }.encode());
    let users: Vec<_> = people
        .iter()
        .map(|profile| {
            let presence = call.state.bus.presence(profile.person.id).as_str();
            let last_seen_at = profile.last_seen_at.map(|at| at.to_string());
            Present { person: (&profile.person).into(), presence, last_seen_at }
        })
        .collect();
    ok(&json!({ "users": users, "next": next }))
}

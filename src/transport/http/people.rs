//! Oneself and the others; for admins: who may come in, and as what.

use super::call::{Call, ok};
use super::problem::{Answer, Problem};
use super::view::Me;
use crate::auth::identity::refusal;
use crate::domain::{
    Action, Bio, Command, Name, Rejection, Role, StandingChange, Status, Target, UserId, may,
};
use crate::protocol::cursor::{Cursor, List};
use crate::protocol::view::PersonView;
use crate::storage::Profile;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Entries of a page.
const USUAL: u32 = 100;
const MOST: u32 = 100;

#[derive(Deserialize)]
struct Change {
    name: Option<String>,
    bio: Option<String>,
}

#[derive(Deserialize)]
struct ChangeOf {
    role: Option<String>,
    status: Option<String>,
}

#[derive(Deserialize, Default)]
struct Reason {
    #[serde(default)]
    reason: String,
}

/// A user as the others see them.
#[derive(Serialize)]
struct Present<'a> {
    #[serde(flatten)]
    person: PersonView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bio: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    presence: &'static str,
    last_seen_at: Option<String>,
}

impl<'a> Present<'a> {
    fn listed(call: &Call, profile: &'a Profile) -> Self {
        let presence = call.state.bus.presence(profile.person.id).as_str();
        let last_seen_at = profile.last_seen_at.map(|at| at.to_string());
        Self { person: (&profile.person).into(), bio: None, status: None, presence, last_seen_at }
    }

    fn whole(call: &Call, profile: &'a Profile) -> Self {
        let status = Some(profile.status.as_str());
        Self { bio: Some(&profile.bio), status, ..Self::listed(call, profile) }
    }
}

/// `GET /me`
pub(super) async fn me(call: Call) -> Answer {
    let profile = call.state.store.person(call.me().id).await.map_err(refusal)?;
    ok(&Me::from(&profile.ok_or_else(Rejection::internal)?))
}

/// `PATCH /me`
pub(super) async fn change_me(mut call: Call) -> Answer {
    let Change { name, bio } = call.read().await?;
    let name = name.map(|name| Name::of(call.me().role, &name)).transpose()?;
    let bio = bio.map(|bio| Bio::parse("bio", &bio)).transpose()?;
    if name.is_some() || bio.is_some() {
        call.submit(Command::UpdateProfile { name, bio }).await?;
    }
    me(call).await.map_err(Problem::after_commit)
}

/// `GET /users`
pub(super) async fn list(call: Call) -> Answer {
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let former = match query.text("status") {
        None | Some("active") => false,
        Some("all") => {
            may(call.me(), Action::ReadFormerUsers, Target::Nothing)?;
            true
        }
        Some(_) => return Err(Rejection::invalid("status", "is not active or all").into()),
    };
    let after = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::List { list: List::Users, after }) => Some(UserId::new(after)),
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let load = |limit| call.state.store.people(call.me(), former, after, limit);
    let (people, more) = super::query::one_more(limit, load).await?;
    let last = people.last().filter(|_| more);
    let next = last.map(|last| Cursor::List { list: List::Users, after: last.person.id.get() }.encode());
    let users: Vec<_> = people
        .iter()
        .map(|profile| Present {
            status: former.then(|| profile.status.as_str()),
            ..Present::listed(&call, profile)
        })
        .collect();
    ok(&json!({ "users": users, "next": next }))
}

/// `GET /users/{id}`
pub(super) async fn show(call: Call) -> Answer {
    let user = call.user()?;
    let found = call.state.store.person_known_to(call.me(), user).await.map_err(refusal)?;
    may(call.me(), Action::ReadUser, Target::User { user, is_near: found.is_some() })?;
    let profile = found.ok_or_else(|| Rejection::not_found("user"))?;
    ok(&Present::whole(&call, &profile))
}

/// `PATCH /users/{id}`
pub(super) async fn change(mut call: Call) -> Answer {
    let user = call.user()?;
    let ChangeOf { role, status } = call.read().await?;
    let no_role = || Rejection::invalid("role", "is not admin, member or guest");
    let role = role.map(|role| Role::parse(&role).ok_or_else(no_role)).transpose()?;
    let no_status = || Rejection::invalid("status", "is not active or deactivated");
    let status = status.map(|status| Status::parse(&status).ok_or_else(no_status)).transpose()?;
    call.submit(Command::UpdateUser { user, change: StandingChange { role, status } }).await?;
    // Once this is answered, nobody hears what isn't for them any more.
    call.state.bus.settled().await;
    changed(&call, user).await
}

/// `PUT /users/{id}/ban`
pub(super) async fn ban(mut call: Call) -> Answer {
    let user = call.user()?;
    let Reason { reason } = call.read_if_any().await?.unwrap_or_default();
    let reason = Bio::parse("reason", &reason)?;
    call.submit(Command::BanUser { user, reason }).await?;
    call.state.bus.settled().await;
    call.state.bus.learn_bans().await;
    changed(&call, user).await
}

/// `DELETE /users/{id}/ban`
pub(super) async fn lift_ban(call: Call) -> Answer {
    let user = call.user()?;
    call.submit(Command::LiftBan { user }).await?;
    call.state.bus.learn_bans().await;
    changed(&call, user).await
}

/// `GET /bans`
pub(super) async fn bans(call: Call) -> Answer {
    let query = call.query()?;
    let limit = query.limit(USUAL, MOST)?;
    let before = match query.text("cursor").map(Cursor::decode).transpose()? {
        None => None,
        Some(Cursor::List { list: List::Bans, after }) => Some(after),
        Some(_) => return Err(Cursor::foreign().into()),
    };
    let (bans, more) = super::query::one_more(limit, |limit| call.state.store.bans(before, limit)).await?;
    let last = bans.last().filter(|_| more);
    let next = last.map(|last| Cursor::List { list: List::Bans, after: last.id }.encode());
    let bans: Vec<_> = bans
        .iter()
        .map(|ban| {
            json!({
                "user": PersonView::from(&ban.user),
                "reason": ban.reason,
                "banned_by": PersonView::from(&ban.banned_by),
                "created_at": ban.created_at.to_string(),
                "addresses": ban.addresses,
            })
        })
        .collect();
    ok(&json!({ "bans": bans, "next": next }))
}

/// Somebody as they are after a change.
async fn changed(call: &Call, user: UserId) -> Answer {
    let found =
        call.state.store.person(user).await.map_err(|error| Problem::from(refusal(error)).after_commit())?;
    ok(&Present::whole(call, &found.ok_or_else(Rejection::unavailable)?))
}

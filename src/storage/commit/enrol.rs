//! How people and bots come to be: first run, invitation, operator, bot.

use super::once::{Fingerprint, Request};
use super::tx::Tx;
use super::{Done, Halt, members, people, reading, rooms};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, Action, Enrolment, EventBody, Name, Person, Rejection, RejectionCode, Role, RoomCard, RoomId,
    RoomKind, Target, UserId, may,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::queries::people::{self as people_queries, Account};
use crate::storage::schema::{accounts, bot_keys, users};
use diesel::prelude::*;
use rooms::NewRoom;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The account's name when an operator makes the first user.
const DEFAULT_ACCOUNT: &str = "Hearth";

/// The first room.
const FIRST_ROOM: &str = "General";

/// How a user signs in.
struct Credentials<'a> {
    email: &'a str,
    password_hash: &'a str,
}

/// Makes a user, and the account with the first one.
pub(super) fn enrol(tx: &mut Tx<'_>, enrolment: &Enrolment) -> Done {
    let account = people_queries::account(tx.conn)?;
    match enrolment {
        Enrolment::SetUp { account_name, join_code, name, email, password_hash } => {
            if account.is_some() {
                return Err(Rejection::new(RejectionCode::AlreadySetUp, "the first run is over").into());
            }
            begin(
                tx,
                account_name.as_str(),
                join_code,
                name,
                Role::Admin,
                &Credentials { email, password_hash },
            )
        }
        Enrolment::Join { code, name, email, password_hash } => {
            let invited = |account: Account| account.join_code.as_bytes().ct_eq(code.as_bytes()).into();
            if !account.is_some_and(invited) {
                return Err(Rejection::not_found("invite").into());
            }
            join(tx, name, Role::Member, Some(&Credentials { email, password_hash }))
        }
        Enrolment::Operator { name, email, password_hash, role } => {
            if matches!(role, Role::Bot | Role::Assistant) {
                return Err(Rejection::invalid("role", "has no password").into());
            }
            let credentials = Credentials { email, password_hash };
            if account.is_some() {
                return join(tx, name, *role, Some(&credentials));
            }
            if *role != Role::Admin {
                let problem = "has to be admin for the first user: nobody else could make the next";
                return Err(Rejection::invalid("role", problem).into());
            }
            let join_code = Uuid::new_v4().simple().to_string();
            begin(tx, DEFAULT_ACCOUNT, &join_code, name, *role, &credentials)
        }
        Enrolment::Bot { by, name, key_hash, webhook, key } => {
            // As the store has them now, whoever they were when they asked.
            let by = tx.active_person(by.id)?.ok_or_else(|| Rejection::forbidden("only admins do this"))?;
            may(&by, Action::CreateBot, Target::Nothing)?;
            let route = "bot.create";
            let url = webhook.as_ref().map_or("", |url| url.reveal());
            let digest =
                Fingerprint::of(route).field(name.as_str().as_bytes()).field(url.as_bytes()).digest();
            let request = key.as_ref().map(|key| Request { user: by.id, key, route, digest });
            tx.once(request.as_ref(), |tx| {
                let done = join(tx, name, Role::Bot, None)?;
                if let Ack::Enrolled { person, .. } = &done.0 {
                    insert_key(tx, person.id, key_hash)?;
                    if let Some(url) = webhook {
                        people::set_webhook(tx, person.id, Some(url))?;
                    }
                }
                Ok(done)
            })
        }
    }
}

/// The account with its commons, its first user and its first room.
fn begin(
    tx: &mut Tx<'_>,
    account: &str,
    join_code: &str,
    name: &Name,
    role: Role,
    credentials: &Credentials<'_>,
) -> Done {
    if join_code.is_empty() {
        return Err(Rejection::invalid("join_code", "is blank").into());
    }
    let query = diesel::insert_into(accounts::table).values((
        accounts::id.eq(1),
        accounts::name.eq(account),
        accounts::join_code.eq(join_code),
        accounts::created_at.eq(tx.now.as_millis()),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    let commons = NewRoom {
        kind: RoomKind::Commons,
        name: None,
        direct_key: None,
        owner: None,
        created_by: None,
        members: &[],
    };
    let (commons, mut events) = rooms::insert(tx, None, commons)?;
    let (person, joined) = insert_user(tx, commons, name, role, Some(credentials))?;
    events.extend(joined);
    let general = NewRoom {
        kind: RoomKind::Open,
        name: Some(FIRST_ROOM.into()),
        direct_key: None,
        owner: None,
        created_by: Some(person.id),
        members: &[],
    };
    let (general, created) = rooms::insert(tx, Some(person.id), general)?;
    events.extend(created);
    let room: Arc<RoomCard> = members::card(tx.room(general)?, Vec::new());
    events.push(tx.record(commons, Some(person.id), EventBody::RoomListed { room: Arc::clone(&room) })?);
    Ok((Ack::Enrolled { person, room: Some(room) }, events))
}

/// One user more.
fn join(tx: &mut Tx<'_>, name: &Name, role: Role, credentials: Option<&Credentials<'_>>) -> Done {
    let commons = tx.commons()?;
    let (person, events) = insert_user(tx, commons, name, role, credentials)?;
    Ok((Ack::Enrolled { person, room: None }, events))
}

/// A user with an inbox, announced in the commons. Refuses, before anything is written, an address that is taken.
fn insert_user(
    tx: &mut Tx<'_>,
    commons: RoomId,
    name: &Name,
    role: Role,
    credentials: Option<&Credentials<'_>>,
) -> Result<(Person, Vec<Recorded>), Halt> {
    let email = credentials.map(|credentials| people_queries::normalised(credentials.email));
    if let Some(email) = &email {
        let query = users::table.filter(users::email.eq(email)).select(users::id);
        let taken: Option<i64> = on!(&mut *tx.conn, |c| query.first(c)).optional()?;
        if taken.is_some() {
            return Err(Rejection {
                field: Some("email".into()),
                ..Rejection::new(RejectionCode::EmailTaken, "somebody signs in with this address")
            }
            .into());
        }
    }
    let query = diesel::insert_into(users::table)
        .values((
            users::name.eq(name.as_str()),
            users::role.eq(role.as_str()),
            users::email.eq(email.as_deref()),
            users::password_hash.eq(credentials.map(|credentials| credentials.password_hash)),
            users::created_at.eq(tx.now.as_millis()),
        ))
        .returning(users::id);
    let id: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    let person = Person { id: UserId::new(id), name: name.shared(), role };
    tx.facts.put_person(person.clone());
    reading::begin(tx, &person)?;
    let inbox = NewRoom {
        kind: RoomKind::Inbox,
        name: None,
        direct_key: None,
        owner: Some(person.id),
        created_by: None,
        members: &[person.id],
    };
    let (_, mut events) = rooms::insert(tx, Some(person.id), inbox)?;
    events.push(tx.record(commons, Some(person.id), EventBody::UserJoined { user: person.clone() })?);
    Ok((person, events))
}

fn insert_key(tx: &mut Tx<'_>, bot: UserId, key_hash: &[u8; 32]) -> Result<(), StoreError> {
    let query = diesel::insert_into(bot_keys::table).values((
        bot_keys::user_id.eq(bot.get()),
        bot_keys::key_hash.eq(key_hash.as_slice()),
        bot_keys::created_at.eq(tx.now.as_millis()),
    ));
    on!(&mut *tx.conn, |c| query.execute(c))?;
    Ok(())
}

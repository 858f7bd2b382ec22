//! How people and bots come to be: first run, invitation, operator, bot.

use super::bots::{self, NewBot};
use super::tx::Tx;
use super::{Done, Halt, assistants, invites, members, reading, rooms};
use crate::domain::command::Recorded;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Enrolment, EventBody, InviteCode, Name, Person, Rejection,
    RejectionCode, Role, RoomCard, RoomId, RoomKind, UserId, Via,
};
use crate::storage::conn::on;
use crate::storage::queries::people::{self as people_queries, Account};
use crate::storage::schema::{accounts, users};
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
pub(super) struct Credentials<'a> {
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
            let done = begin(
                tx,
                account_name.as_str(),
                join_code,
                name,
                Role::Admin,
                &Credentials { email, password_hash },
            )?;
            joined(tx, done, "setup")
        }
        Enrolment::Join { code, name, credentials } => {
            let credentials = credentials.as_ref();
            let credentials = credentials.map(|(email, password_hash)| Credentials { email, password_hash });
            join_by(tx, account.as_ref(), code, name, credentials.as_ref())
        }
        Enrolment::Operator { name, email, password_hash, role } => {
            if matches!(role, Role::Bot | Role::Assistant) {
                return Err(Rejection::invalid("role", "has no password").into());
            }
            let credentials = Credentials { email, password_hash };
            if account.is_some() {
                let done = join(tx, name, *role, Some(&credentials))?;
                return joined(tx, done, "operator");
            }
            if *role != Role::Admin {
                let problem = "has to be admin for the first user: nobody else could make the next";
                return Err(Rejection::invalid("role", problem).into());
            }
            let join_code = Uuid::new_v4().simple().to_string();
            let done = begin(tx, DEFAULT_ACCOUNT, &join_code, name, *role, &credentials)?;
            joined(tx, done, "operator")
        }
        Enrolment::Bot { by, name, key_hash, webhook, expires_in, key } => {
            let (webhook, key, expires_in) = (webhook.as_ref(), key.as_ref(), *expires_in);
            bots::create(tx, &NewBot { by, name, key_hash, webhook, expires_in, key })
        }
        Enrolment::Assistant { by, name, terms } => assistants::create(tx, Some(by), name, terms),
        Enrolment::OperatorsAssistant { name, terms } => {
            if account.is_none() {
                return Err(Rejection::not_found("account: make the first admin before").into());
            }
            assistants::create(tx, None, name, terms)
        }
    }
}

/// Notes that somebody became a user: by their own doing, or the operator's.
fn joined(tx: &mut Tx<'_>, (ack, events): (Ack, Vec<Recorded>), by: &str) -> Done {
    if let Ack::Enrolled { person, .. } = &ack {
        let actor = (tx.origin.via != Via::Operator).then_some(person.id);
        let note = AuditNote::new(AuditAction::UserJoined, AuditTarget::User(person.id));
        tx.audit(actor, &note.with("by", by).with("role", person.role.as_str()))?;
    }
    Ok((ack, events))
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

/// By the standing code of the account, or by an invitation.
fn join_by(
    tx: &mut Tx<'_>,
    account: Option<&Account>,
    code: &InviteCode,
    name: &Name,
    credentials: Option<&Credentials<'_>>,
) -> Done {
    let Some(account) = account else { return Err(Rejection::not_found("invite").into()) };
    let is_standing: bool = account.join_code.as_bytes().ct_eq(code.reveal().as_bytes()).into();
    let invite = if is_standing { None } else { Some(invites::find(tx, code)?) };
    let role = invite.as_ref().map_or(Role::Member, |invite| invite.role);
    if role != Role::Guest && credentials.is_none() {
        return Err(Rejection::invalid("email", "is missing").into());
    }
    let (ack, mut events) = join(tx, name, role, credentials)?;
    let Ack::Enrolled { person, .. } = &ack else { return Ok((ack, events)) };
    let note = AuditNote::new(AuditAction::UserJoined, AuditTarget::User(person.id));
    let note = note.with("role", role.as_str());
    let note = match &invite {
        Some(invite) => note.with("invite", invite.id.to_string()),
        None => note,
    };
    tx.audit(Some(person.id), &note)?;
    if let Some(invite) = invite {
        invites::count(tx, invite.id)?;
        events.extend(invites::admit(tx, person, &invite.rooms, invite.created_by)?);
    }
    Ok((ack, events))
}

/// One user more.
pub(super) fn join(tx: &mut Tx<'_>, name: &Name, role: Role, credentials: Option<&Credentials<'_>>) -> Done {
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

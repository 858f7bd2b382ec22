//! Sending somebody away, with the addresses they came from, and undoing it.

use super::Done;
use super::standing;
use super::tx::Tx;
use crate::domain::{
    Ack, AuditAction, AuditNote, AuditTarget, Bio, Command, Network, Person, Rejection, Role, Status,
    Subject, Timestamp, UserId,
};
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{banned_addresses, bans, sessions, users};
use diesel::prelude::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Sessions of somebody banned that are looked at (count), the latest first.
const SESSIONS: i64 = 500;
/// Addresses of one ban (count).
const ADDRESSES: usize = 50;
/// What was used longer ago may belong to somebody else by now.
const RECENT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Bans somebody: their sessions end, and nothing is taken from where they were any more.
pub(super) fn ban(tx: &mut Tx<'_>, actor: &Person, command: &Command, user: UserId, reason: &Bio) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let Some(target) = standing::find(tx, user)? else { return Err(Rejection::not_found("user").into()) };
    if !target.ban()? {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let query = diesel::insert_into(bans::table)
        .values((
            bans::user_id.eq(user.get()),
            bans::banned_by.eq(actor.id.get()),
            bans::reason.eq(reason.as_str()),
            bans::created_at.eq(tx.now.as_millis()),
            bans::status_before.eq(target.status.as_str()),
        ))
        .returning(bans::id);
    let ban: i64 = on!(&mut *tx.conn, |c| query.get_result(c))?;
    for network in addresses_of(tx, user)? {
        let query = diesel::insert_into(banned_addresses::table)
            .values((banned_addresses::ban_id.eq(ban), banned_addresses::address.eq(network.to_string())));
        on!(&mut *tx.conn, |c| query.execute(c))?;
    }
    let note = AuditNote::new(AuditAction::UserBanned, AuditTarget::User(user));
    tx.audit(Some(actor.id), &note.with("reason", reason.as_str()))?;
    if target.status != Status::Active {
        // They had left before: nobody has to hear of it.
        standing::set_status(tx, user, Status::Banned)?;
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let left = standing::leave(tx, actor, user, Status::Banned)?;
    Ok((standing::recorded(&left), left))
}

/// Lifts a ban: the account is as it was, which may be deactivated, and the addresses are let in again unless another ban has them.
pub(super) fn lift(tx: &mut Tx<'_>, actor: &Person, command: &Command, user: UserId) -> Done {
    let commons = tx.commons()?;
    tx.decide(commons, actor, command, None, &Subject::Unknown)?;
    let Some(target) = standing::find(tx, user)? else { return Err(Rejection::not_found("user").into()) };
    if target.status != Status::Banned {
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let living = bans::table.filter(bans::user_id.eq(user.get())).filter(bans::lifted_at.is_null());
    let query = diesel::update(living)
        .set((bans::lifted_at.eq(tx.now.as_millis()), bans::lifted_by.eq(actor.id.get())))
        .returning(bans::status_before);
    let before: Option<String> = on!(&mut *tx.conn, |c| query.get_result(c)).optional()?;
    tx.audit(Some(actor.id), &AuditNote::new(AuditAction::UserUnbanned, AuditTarget::User(user)))?;
    if before.as_deref() == Some(Status::Deactivated.as_str()) {
        // They aren't there: nobody has to hear of it.
        standing::set_status(tx, user, Status::Deactivated)?;
        return Ok((Ack::Unchanged, Vec::new()));
    }
    let joined = standing::come_back(tx, actor, &target.person)?;
    Ok((Ack::Recorded(joined.event.position()), vec![joined]))
}

/// The public networks that were lately used by sessions of `user` and aren't those of an admin who is signed in.
fn addresses_of(tx: &mut Tx<'_>, user: UserId) -> Result<BTreeSet<Network>, StoreError> {
    let since: Timestamp = tx.now.before(RECENT);
    let query = sessions::table
        .filter(sessions::user_id.eq(user.get()))
        .filter(sessions::address.is_not_null())
        .filter(sessions::last_active_at.gt(since.as_millis()))
        .order(sessions::last_active_at.desc())
        .limit(SESSIONS)
        .select(sessions::address);
    let used: Vec<Option<String>> = on!(&mut *tx.conn, |c| query.load(c))?;
    let query = sessions::table
        .inner_join(users::table)
        .filter(users::role.eq(Role::Admin.as_str()))
        .filter(users::status.eq(Status::Active.as_str()))
        .filter(users::id.ne(user.get()))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::expires_at.gt(tx.now.as_millis()))
        .filter(sessions::address.is_not_null())
        .select(sessions::address);
    let admins: Vec<Option<String>> = on!(&mut *tx.conn, |c| query.load(c))?;
    let network = |address: Option<String>| Network::of(address?.parse::<IpAddr>().ok()?);
    let mut spared: BTreeSet<Network> = admins.into_iter().filter_map(network).collect();
    // Where the admin is right now their session needn't have noted yet.
    spared.extend(tx.origin.address.and_then(Network::of));
    let mut found = BTreeSet::new();
    for network in used.into_iter().filter_map(network).filter(|network| !spared.contains(network)) {
        if found.len() < ADDRESSES {
            found.insert(network);
        }
    }
    Ok(found)
}

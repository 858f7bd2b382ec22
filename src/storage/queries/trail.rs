//! Reading the audit trail (AUD-03), by the order of time and number, and giving up what is too old (AUD-02).

use super::audit;
use super::limited;
use super::people::{PersonRow, person};
use crate::domain::{AuditAction, AuditNote, Person, Principal, RoomId, Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::{audit as rows, users};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

/// Which entries; what is none asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub actor: Option<UserId>,
    pub action: Option<AuditAction>,
    /// A kind, and a number of it.
    pub target: Option<(&'static str, Option<i64>)>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

/// Where in the trail: it goes by time, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    pub at: Timestamp,
    pub id: i64,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub place: AuditPlace,
    /// Whoever did it; none when nobody was known.
    pub actor: Option<UserId>,
    /// The actor as they are now; none when they are no more.
    pub person: Option<Person>,
    pub via: String,
    pub credential_id: Option<i64>,
    pub action: String,
    /// Kind and number.
    pub target: Option<(String, i64)>,
    pub room: Option<RoomId>,
    pub address: Option<String>,
    /// An object, as JSON text.
    pub detail: String,
}

type Columns = (
    (rows::id, rows::at, rows::actor_id),
    (rows::via, rows::credential_id, rows::action, rows::target_kind, rows::target_id),
    (rows::room_id, rows::address, rows::detail),
);

const COLUMNS: Columns = (
    (rows::id, rows::at, rows::actor_id),
    (rows::via, rows::credential_id, rows::action, rows::target_kind, rows::target_id),
    (rows::room_id, rows::address, rows::detail),
);

type Found = (
    (
        (i64, i64, Option<i64>),
        (String, Option<i64>, String, Option<String>, Option<i64>),
        (Option<i64>, Option<String>, String),
    ),
    Option<PersonRow>,
);

/// The entries of `$filter`, of whichever database the statement is for.
macro_rules! entries {
    ($filter:expr) => {{
        let AuditFilter { actor, action, target, since, until } = $filter;
        let mut query = rows::table
            .left_join(users::table.on(rows::actor_id.eq(users::id.nullable())))
            .select((COLUMNS, (users::id, users::name, users::role).nullable()))
            .into_boxed();
        if let Some(actor) = actor {
            query = query.filter(rows::actor_id.eq(actor.get()));
        }
        if let Some(action) = action {
            query = query.filter(rows::action.eq(action.as_str()));
        }
        if let Some((kind, id)) = target {
            query = query.filter(rows::target_kind.eq(*kind));
            if let Some(id) = id {
                query = query.filter(rows::target_id.eq(*id));
            }
        }
        if let Some(since) = since {
            query = query.filter(rows::at.ge(since.as_millis()));
        }
        if let Some(until) = until {
            query = query.filter(rows::at.lt(until.as_millis()));
        }
        query
    }};
}

impl Store {
    /// Entries before `before`, the newest first.
    pub async fn audit(
        &self,
        filter: AuditFilter,
        before: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |conn| newest(conn, &filter, before, limit)).await
    }

    /// Entries after `after` that were there when `last` was written, the oldest first.
    pub async fn audit_up_to(
        &self,
        filter: AuditFilter,
        after: Option<AuditPlace>,
        last: i64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |conn| oldest(conn, &filter, after, last, limit)).await
    }

    /// Writes an entry of its own, for what changes nothing else; its number.
    pub async fn note(&self, by: Principal, note: AuditNote, now: Timestamp) -> Result<i64, StoreError> {
        self.write(move |conn| {
            let row = audit::NewRow::new(Some(by.person.id), by.origin, &note, now);
            let query = diesel::insert_into(rows::table).values(&row).returning(rows::id);
            Ok(on!(conn, |c| query.get_result(c))?)
        })
        .await
    }

    /// Gives up entries from before `before`, at most `batch` of them, in one transaction; how many it were. None younger than
    /// what the database keeps by itself goes, whatever is asked.
    pub async fn trim_audit(&self, before: Timestamp, batch: usize) -> Result<usize, StoreError> {
        self.write(move |conn| {
            // The newest stays, however old it is: SQLite gives the number after the highest one there is, and none may mean two things.
            let query = rows::table.order(rows::id.desc()).select(rows::id);
            let newest: Option<i64> = on!(&mut *conn, |c| query.first(c)).optional()?;
            let kept = match conn {
                Conn::Pg(_) => "(extract(epoch FROM now())::bigint - 2592000) * 1000",
                Conn::Sqlite(_) => "(unixepoch() - 2592000) * 1000",
            };
            let query = rows::table
                .filter(rows::at.lt(before.as_millis()))
                .filter(rows::at.le(sql::<BigInt>(kept)))
                .filter(rows::id.lt(newest.unwrap_or_default()))
                .order((rows::at, rows::id))
                .limit(limited(batch))
                .select(rows::id);
            let old: Vec<i64> = on!(&mut *conn, |c| query.load(c))?;
            let query = diesel::delete(rows::table.filter(rows::id.eq_any(&old)));
            Ok(on!(conn, |c| query.execute(c))?)
        })
        .await
    }
}

fn newest(
    conn: &mut Conn,
    filter: &AuditFilter,
    before: Option<AuditPlace>,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let found: Vec<Found> = on!(conn, |c| {
        let mut query = entries!(filter);
        if let Some(AuditPlace { at, id }) = before {
            // The first half is what the index can do.
            query = query
                .filter(rows::at.le(at.as_millis()))
                .filter(rows::at.lt(at.as_millis()).or(rows::id.lt(id)));
        }
        query.order((rows::at.desc(), rows::id.desc())).limit(limited(limit)).load(c)
    })?;
    found.into_iter().map(entry).collect()
}

fn oldest(
    conn: &mut Conn,
    filter: &AuditFilter,
    after: Option<AuditPlace>,
    last: i64,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let found: Vec<Found> = on!(conn, |c| {
        let mut query = entries!(filter).filter(rows::id.le(last));
        if let Some(AuditPlace { at, id }) = after {
            query = query
                .filter(rows::at.ge(at.as_millis()))
                .filter(rows::at.gt(at.as_millis()).or(rows::id.gt(id)));
        }
        query.order((rows::at.asc(), rows::id.asc())).limit(limited(limit)).load(c)
    })?;
    found.into_iter().map(entry).collect()
}

fn entry((row, known): Found) -> Result<AuditEntry, StoreError> {
    let ((id, at, actor), (via, credential_id, action, kind, target), (room, address, detail)) = row;
    Ok(AuditEntry {
        place: AuditPlace { at: Timestamp::from_millis(at), id },
        actor: actor.map(UserId::new),
        person: known.map(person).transpose()?,
        via,
        credential_id,
        action,
        target: kind.zip(target),
        room: room.map(RoomId::new),
        address,
        detail,
    })
}

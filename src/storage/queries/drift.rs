//! Reconciliation: what is derived is compared with what it is derived from, page by page, and repaired where one follows from
//! the other (DB-15). Each question is one statement, so it sees one moment.

use crate::storage::Store;
use crate::storage::cache::Touched;
use crate::storage::conn::{Conn, on};
use crate::storage::error::StoreError;
use crate::storage::schema::log_head;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;

/// What may have drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drift {
    /// A room's events aren't numbered 1, 2, 3, …: nothing can give a lost event back.
    Hole,
    /// `log_head.last_id` is below the last event's id.
    LogHead,
    /// `rooms.last_seq` isn't the last event's.
    RoomHead,
    /// A message without its event, an event without its message, or the two disagree on room or seq.
    Message,
    /// SQLite: a message is missing in the search index, or a deleted one is in it. PostgreSQL derives the column itself.
    Search,
    /// A read mark is above the room's head.
    ReadMark,
}

impl Drift {
    /// In the order in which one repair is the ground of the next.
    pub const ALL: [Self; 6] =
        [Self::Hole, Self::LogHead, Self::RoomHead, Self::Message, Self::Search, Self::ReadMark];

    /// The name in metrics and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::LogHead => "log_head",
            Self::RoomHead => "room_head",
            Self::Message => "message",
            Self::Search => "search",
            Self::ReadMark => "read_mark",
        }
    }
}

/// What one kind came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Drift,
    pub found: usize,
    pub repaired: usize,
    /// The first few: ids of rooms, or of messages.
    pub examples: Vec<i64>,
}

/// Rooms and events looked at with one statement.
const ROOMS: i64 = 200;
const EVENTS: i64 = 5_000;
/// More examples than anybody reads.
const EXAMPLES: usize = 5;

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

impl Store {
    /// Compares everything, a page at a time on a reader, and repairs through the writer if asked to.
    pub async fn reconcile(&self, repair: bool) -> Result<Vec<Finding>, StoreError> {
        let mut findings = Vec::with_capacity(Drift::ALL.len());
        for kind in Drift::ALL {
            let mut finding = Finding { kind, found: 0, repaired: 0, examples: Vec::new() };
            let last = self.read(move |conn| last(conn, kind)).await?;
            let step = page(kind);
            let mut after = 0;
            while after < last {
                let upto = after.saturating_add(step);
                let wrong = self.read(move |conn| wrong(conn, kind, after, upto)).await?;
                after = upto;
                if wrong.is_empty() {
                    continue;
                }
                finding.found += wrong.len();
                let missing = EXAMPLES.saturating_sub(finding.examples.len());
                finding.examples.extend(wrong.iter().take(missing));
                if repair {
                    finding.repaired +=
                        self.write_to(Touched::Anything, move |conn| mend(conn, kind, &wrong)).await?;
                }
            }
            findings.push(finding);
        }
        Ok(findings)
    }
}

const fn page(kind: Drift) -> i64 {
    match kind {
        Drift::LogHead => i64::MAX,
        Drift::Hole | Drift::RoomHead | Drift::ReadMark => ROOMS,
        Drift::Message | Drift::Search => EVENTS,
    }
}

/// The last id there is to look at.
fn last(conn: &mut Conn, kind: Drift) -> Result<i64, StoreError> {
    let table = match kind {
        Drift::Hole | Drift::RoomHead | Drift::ReadMark => "rooms",
        Drift::LogHead | Drift::Message | Drift::Search => "events",
    };
    let query = sql_query(format!("SELECT coalesce(max(id), 0) AS id FROM {table}"));
    let row: Id = on!(conn, |c| query.get_result(c))?;
    Ok(row.id)
}

/// The ids that are wrong among those after `after` up to `upto`.
fn wrong(conn: &mut Conn, kind: Drift, after: i64, upto: i64) -> Result<Vec<i64>, StoreError> {
    let within = |column: &str| format!("{column} > {after} AND {column} <= {upto}");
    let sql = match kind {
        Drift::Hole => format!(
            "SELECT room_id AS id FROM events WHERE {} GROUP BY room_id HAVING count(*) <> max(seq)",
            within("room_id")
        ),
        Drift::LogHead => {
            "SELECT last_id AS id FROM log_head WHERE last_id < (SELECT coalesce(max(id), 0) FROM events)"
                .to_owned()
        }
        Drift::RoomHead => format!("SELECT id FROM rooms WHERE {} AND last_seq <> {LAST_SEQ}", within("id")),
        Drift::Message => format!(
            "SELECT e.id FROM events e LEFT JOIN messages m ON m.id = e.id WHERE {} AND (
                 (e.kind = 'message.posted') <> (m.id IS NOT NULL) OR m.room_id <> e.room_id OR m.seq <> e.seq
             )",
            within("e.id")
        ),
        Drift::Search => match conn {
            Conn::Pg(_) => return Ok(Vec::new()),
            Conn::Sqlite(_) => format!(
                "SELECT m.id FROM messages m LEFT JOIN search_docsize d ON d.id = m.id
                 WHERE {} AND (m.deleted_at IS NULL) <> (d.id IS NOT NULL)",
                within("m.id")
            ),
        },
        Drift::ReadMark => format!(
            "SELECT DISTINCT r.id FROM rooms r JOIN read_marks k ON k.room_id = r.id
             WHERE {} AND k.seq > r.last_seq AND r.last_seq > 0",
            within("r.id")
        ),
    };
    let rows: Vec<Id> = on!(conn, |c| sql_query(sql).load(c))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// What `rooms.last_seq` has to be.
const LAST_SEQ: &str = "(SELECT coalesce(max(seq), 0) FROM events WHERE room_id = rooms.id)";

/// Derives anew what `ids` have wrong, and what of it is still wrong; gives how many were repaired.
fn mend(conn: &mut Conn, kind: Drift, ids: &[i64]) -> Result<usize, StoreError> {
    if let Conn::Pg(c) = conn {
        // Nobody commits events meanwhile.
        log_head::table.find(1).select(log_head::last_id).for_update().first::<i64>(c)?;
    }
    let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let statements = match (kind, &*conn) {
        (Drift::Hole | Drift::Message, _) | (Drift::Search, Conn::Pg(_)) => return Ok(0),
        (Drift::LogHead, _) => vec![
            "UPDATE log_head SET last_id = (SELECT max(id) FROM events)
             WHERE last_id < (SELECT coalesce(max(id), 0) FROM events)"
                .to_owned(),
        ],
        (Drift::RoomHead, _) => vec![format!(
            "UPDATE rooms SET last_seq = {LAST_SEQ} WHERE id IN ({list}) AND last_seq <> {LAST_SEQ}"
        )],
        (Drift::Search, Conn::Sqlite(_)) => vec![
            // A body that is taken out of the index has to be the one that was put in: the row still has it.
            format!(
                "INSERT INTO search (search, rowid, body) SELECT 'delete', m.id, m.body FROM messages m
                 JOIN search_docsize d ON d.id = m.id WHERE m.id IN ({list}) AND m.deleted_at IS NOT NULL"
            ),
            format!(
                "INSERT INTO search (rowid, body) SELECT m.id, m.body FROM messages m
                 LEFT JOIN search_docsize d ON d.id = m.id
                 WHERE m.id IN ({list}) AND m.deleted_at IS NULL AND d.id IS NULL"
            ),
        ],
        (Drift::ReadMark, _) => vec![format!(
            "UPDATE read_marks SET seq = (SELECT last_seq FROM rooms WHERE rooms.id = read_marks.room_id)
             WHERE room_id IN ({list})
               AND seq > (SELECT last_seq FROM rooms WHERE rooms.id = read_marks.room_id)"
        )],
    };
    for sql in statements {
        on!(&mut *conn, |c| sql_query(sql).execute(c))?;
    }
    Ok(ids.len())
}

//! Compares the live schema with the one the migrations make on a scratch database.

use super::{known, replay};
use crate::storage::conn::Conn;
use crate::storage::error::StoreError;
use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use std::collections::BTreeMap;

/// What there is, by kind and name ("index rooms_one_commons"), with its definition.
type Snapshot = BTreeMap<String, String>;

#[derive(QueryableByName)]
struct Entry {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    definition: String,
}

/// One line per difference between the live schema and what the migrations in `applied` make.
pub(super) fn differences(conn: &mut Conn, applied: &[String]) -> Result<Vec<String>, StoreError> {
    let known = known()?;
    let unknown = applied.iter().filter(|version| !known.contains(version));
    let mut lines: Vec<String> = unknown
        .map(|version| format!("migration {version} is applied but not known to this program"))
        .collect();
    let live = snapshot(conn)?;
    let wanted = match conn {
        Conn::Sqlite(_) => scratch_sqlite(applied)?,
        Conn::Pg(_) => scratch_postgres(conn, applied)?,
    };
    for (name, definition) in &wanted {
        match live.get(name) {
            None => lines.push(format!("{name} is missing")),
            Some(is) if is != definition => lines.push(format!("{name} is {is:?}, not {definition:?}")),
            Some(_) => {}
        }
    }
    let surplus = live.keys().filter(|name| !wanted.contains_key(*name));
    lines.extend(surplus.map(|name| format!("{name} is not from a migration")));
    Ok(lines)
}

fn scratch_sqlite(applied: &[String]) -> Result<Snapshot, StoreError> {
    let scratch = SqliteConnection::establish(":memory:")
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let mut scratch = Conn::Sqlite(scratch);
    replay(&mut scratch, applied)?;
    snapshot(&mut scratch)
}

/// The schema the migrations make, in a schema of its own that is rolled back.
fn scratch_postgres(conn: &mut Conn, applied: &[String]) -> Result<Snapshot, StoreError> {
    conn.begin()?;
    let wanted = conn
        .run("CREATE SCHEMA hearth_scratch; SET LOCAL search_path TO hearth_scratch")
        .and_then(|()| replay(conn, applied))
        .and_then(|()| snapshot(conn));
    conn.rollback()?;
    wanted
}

/// What there is; whitespace says nothing.
fn snapshot(conn: &mut Conn) -> Result<Snapshot, StoreError> {
    let rows = match conn {
        Conn::Sqlite(c) => of_sqlite(c)?,
        Conn::Pg(c) => of_postgres(c)?,
    };
    let squeeze = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(rows.into_iter().map(|entry| (entry.name, squeeze(entry.definition))).collect())
}

/// SQLite keeps each object's own text, constraints included.
fn of_sqlite(conn: &mut SqliteConnection) -> Result<Vec<Entry>, StoreError> {
    let rows = sql_query(
        "SELECT type || ' ' || name AS name, sql AS definition FROM sqlite_schema
         WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' AND name NOT GLOB 'search_*'
           AND name <> '__diesel_schema_migrations'",
    )
    .load(conn)?;
    Ok(rows)
}

fn of_postgres(conn: &mut PgConnection) -> Result<Vec<Entry>, StoreError> {
    let rows = sql_query(
        "WITH tables AS (
             SELECT c.oid, c.relname, current_schema() || '.' AS prefix FROM pg_class c
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
               AND c.relname <> '__diesel_schema_migrations'
         ), found AS (
             SELECT 'table ' || relname AS name, '' AS definition, prefix FROM tables
             UNION ALL
             SELECT 'column ' || t.relname || '.' || a.attname,
                    format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
                    || a.attidentity::text || a.attgenerated::text || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), ''),
                    t.prefix
             FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
             LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
             UNION ALL
             SELECT 'index ' || i.relname, pg_get_indexdef(i.oid), t.prefix
             FROM tables t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class i ON i.oid = x.indexrelid
             UNION ALL
             SELECT 'constraint ' || c.conname || ' of ' || t.relname, pg_get_constraintdef(c.oid), t.prefix
             FROM tables t JOIN pg_constraint c ON c.conrelid = t.oid
             UNION ALL
             SELECT 'trigger ' || g.tgname || ' of ' || t.relname, pg_get_triggerdef(g.oid), t.prefix
             FROM tables t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
             UNION ALL
             SELECT 'function ' || p.proname, p.prosrc, current_schema() || '.'
             FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.prokind = 'f'
         )
         SELECT name, replace(definition, prefix, '') AS definition FROM found",
    )
    .load(conn)?;
    Ok(rows)
}

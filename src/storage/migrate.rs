//! Bringing the schema up, one step back, and telling whether it is what the migrations make (DB-16).

use super::conn::{Conn, Purpose, on};
use super::error::StoreError;
use super::lock::Lock;
use super::options::StorageOptions;
use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::error::Error;

mod drift;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The schema beside what this program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Versions in the database, ascending.
    pub applied: Vec<String>,
    /// Versions this program brings and the database lacks, ascending.
    pub pending: Vec<String>,
    /// Where the live schema isn't what its migrations make, one line each.
    pub differences: Vec<String>,
}

/// Applies what is pending; gives the versions applied.
pub fn run(options: &StorageOptions) -> Result<Vec<String>, StoreError> {
    let _lock = Lock::take(&options.database)?;
    let mut conn = Conn::open(options, Purpose::Write)?;
    run_on(&mut conn)
}

/// Takes the last migration back; gives its version.
pub fn revert(options: &StorageOptions) -> Result<String, StoreError> {
    let _lock = Lock::take(&options.database)?;
    let mut conn = Conn::open(options, Purpose::Write)?;
    guarded(&mut conn, |conn| match conn {
        Conn::Pg(c) => c.revert_last_migration(POSTGRES).map(owned).map_err(schema),
        Conn::Sqlite(c) => c.revert_last_migration(SQLITE).map(owned).map_err(schema),
    })
}

/// Compares the database with this program. Changes nothing.
pub fn status(options: &StorageOptions) -> Result<Status, StoreError> {
    let _lock = Lock::take(&options.database)?;
    let mut conn = Conn::open(options, Purpose::Write)?;
    let applied = applied(&mut conn)?;
    let pending = pending(&mut conn)?;
    let differences = drift::differences(&mut conn, &applied)?;
    Ok(Status { applied, pending, differences })
}

/// Applies what is pending.
pub(super) fn run_on(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    guarded(conn, |conn| match conn {
        Conn::Pg(c) => c.run_pending_migrations(POSTGRES).map(all_owned).map_err(schema),
        Conn::Sqlite(c) => c.run_pending_migrations(SQLITE).map(all_owned).map_err(schema),
    })
}

/// The versions that the database lacks. Only reads, unlike diesel's own, which makes its table first.
pub(super) fn pending(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let applied = applied(conn)?;
    Ok(known()?.into_iter().filter(|version| !applied.contains(version)).collect())
}

fn applied(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let there = match conn {
        Conn::Pg(_) => "SELECT tablename AS version FROM pg_tables WHERE schemaname = current_schema()",
        Conn::Sqlite(_) => "SELECT name AS version FROM sqlite_schema WHERE type = 'table'",
    };
    let tables: Vec<Version> = on!(&mut *conn, |c| sql_query(there).load(c))?;
    if !tables.iter().any(|table| table.version == "__diesel_schema_migrations") {
        return Ok(Vec::new());
    }
    let query = sql_query("SELECT version FROM __diesel_schema_migrations ORDER BY version");
    let rows: Vec<Version> = on!(conn, |c| query.load(c))?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// PostgreSQL: nodes that start together migrate one after the other.
fn guarded<T>(
    conn: &mut Conn,
    work: impl FnOnce(&mut Conn) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    /// Any number, the same for all nodes ("hearth" in ASCII).
    const KEY: i64 = 0x68_65_61_72_74_68;
    if let Conn::Pg(c) = conn {
        c.batch_execute(&format!("SELECT pg_advisory_lock({KEY})"))?;
    }
    let done = work(conn);
    if let Conn::Pg(c) = conn {
        c.batch_execute(&format!("SELECT pg_advisory_unlock({KEY})"))?;
    }
    done
}

/// The statements of all migrations up to those in `applied`, for a scratch schema.
fn replay(conn: &mut Conn, applied: &[String]) -> Result<(), StoreError> {
    fn each<DB: diesel::backend::Backend>(
        source: &impl MigrationSource<DB>,
        applied: &[String],
        mut run: impl FnMut(&dyn Migration<DB>) -> diesel::migration::Result<()>,
    ) -> Result<(), StoreError> {
        let mut migrations = source.migrations().map_err(schema)?;
        migrations.sort_by_key(|migration| migration.name().version().to_string());
        migrations
            .iter()
            .filter(|migration| applied.contains(&migration.name().version().to_string()))
            .try_for_each(|migration| run(migration.as_ref()).map_err(schema))
    }
    match conn {
        Conn::Pg(c) => each::<Pg>(&POSTGRES, applied, |migration| migration.run(c)),
        Conn::Sqlite(c) => each::<Sqlite>(&SQLITE, applied, |migration| migration.run(c)),
    }
}

/// The versions that this program brings, ascending.
fn known() -> Result<Vec<String>, StoreError> {
    let migrations = MigrationSource::<Sqlite>::migrations(&SQLITE).map_err(schema)?;
    let mut versions: Vec<String> =
        migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

fn owned(version: MigrationVersion<'_>) -> String {
    version.to_string()
}

fn all_owned(versions: Vec<MigrationVersion<'_>>) -> Vec<String> {
    versions.into_iter().map(owned).collect()
}

fn schema(error: Box<dyn Error + Send + Sync>) -> StoreError {
    StoreError::Schema(error.to_string())
}

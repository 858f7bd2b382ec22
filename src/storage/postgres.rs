//! What is PostgreSQL's own: connection parameters, timeouts, the settings durability hangs on.

use super::conn::Purpose;
use super::error::StoreError;
use super::options::{PostgresUrl, StorageOptions, Synchronous};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::sql_types::Text;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query};

/// A dead peer is noticed within seconds, not after the kernel's two hours.
const PARAMETERS: [(&str, &str); 7] = [
    ("application_name", "hearth"),
    ("connect_timeout", "5"),
    ("keepalives", "1"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "15000"),
];

/// Connects and sets the session up.
pub(super) fn connect(
    url: &PostgresUrl,
    options: &StorageOptions,
    purpose: Purpose,
) -> Result<PgConnection, StoreError> {
    let mut conn = PgConnection::establish(&with_parameters(url.secret()))
        .map_err(|error| StoreError::Unavailable(url.redact(&error.to_string())))?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "on",
        Synchronous::Normal => "off",
    };
    conn.batch_execute(&format!(
        "SET statement_timeout = {statement};
         SET lock_timeout = {patience};
         SET idle_in_transaction_session_timeout = {statement};
         SET default_transaction_isolation = 'read committed';
         SET default_transaction_read_only = {read_only};
         SET client_min_messages = warning;",
        statement = options.statement_timeout.as_millis(),
        patience = options.patience.as_millis(),
        read_only = if purpose == Purpose::Read { "on" } else { "off" },
    ))?;
    // A stricter level (remote_apply) set by the operator stays.
    conn.batch_execute(&format!(
        "SELECT set_config('synchronous_commit', '{synchronous}', false)
         WHERE current_setting('synchronous_commit') IN ('off', 'local') OR '{synchronous}' = 'off'"
    ))?;
    if purpose == Purpose::Write {
        speak_english(&mut conn);
    } else {
        conn.batch_execute(ENGLISH).ok();
    }
    Ok(conn)
}

/// Diesel keeps most codes of errors to itself, so that a full disk or a lock is known by the words of the message only
/// (`error.rs`): they have to be English. Setting that takes a right that ordinary roles lack.
const ENGLISH: &str = "SELECT set_config('lc_messages', 'C', false)";

fn speak_english(conn: &mut PgConnection) {
    if conn.batch_execute(ENGLISH).is_ok() {
        return;
    }
    let language: Result<String, _> = sql::<Text>("SELECT current_setting('lc_messages')").get_result(conn);
    if let Ok(language) = language
        && !is_english(&language)
    {
        tracing::warn!(
            lc_messages = language,
            "the database's messages may not be English, and this role may not change that: a full disk or a lock may be \
             taken for a defect. Say GRANT SET ON PARAMETER lc_messages, or ALTER ROLE ... SET lc_messages = 'C'"
        );
    }
}

fn is_english(locale: &str) -> bool {
    ["", "C", "POSIX"].contains(&locale)
        || ["C.", "en_", "en-", "English"].iter().any(|sign| locale.starts_with(sign))
}

/// The settings in effect.
pub(super) fn settings(conn: &mut PgConnection) -> Result<Vec<(String, String)>, StoreError> {
    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        value: String,
    }
    let rows: Vec<Setting> = sql_query(
        "SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN (
             'server_version', 'fsync', 'full_page_writes', 'synchronous_commit', 'statement_timeout',
             'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_isolation', 'lc_messages'
         ) ORDER BY name",
    )
    .load(conn)?;
    Ok(rows.into_iter().map(|setting| (setting.name, setting.value)).collect())
}

/// Adds what the operator didn't decide, to a URL or to a `key=value` string.
fn with_parameters(url: &str) -> String {
    let is_url = url.contains("://");
    let mut whole = url.to_owned();
    for (key, value) in PARAMETERS {
        if url.contains(&format!("{key}=")) {
            continue;
        }
        let separator = match (is_url, whole.contains('?')) {
            (true, true) => '&',
            (true, false) => '?',
            (false, _) => ' ',
        };
        whole.push_str(&format!("{separator}{key}={value}"));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_and_the_operators_stay() {
        let url = with_parameters("postgres://db/hearth?connect_timeout=1");
        assert!(url.starts_with("postgres://db/hearth?connect_timeout=1&application_name=hearth&"), "{url}");
        assert!(!url.contains("connect_timeout=5"));
        assert!(with_parameters("postgres://db/hearth").contains("/hearth?application_name=hearth&"));
        assert!(with_parameters("host=db").starts_with("host=db application_name=hearth "));
    }
}

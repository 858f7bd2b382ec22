//! Finding messages by their words.

use super::limited;
use super::messages::{COLUMNS, Message, Row, with_runs};
use super::rooms::readable;
use crate::domain::Person;
use crate::storage::Store;
use crate::storage::conn::Conn;
use crate::storage::error::StoreError;
use crate::storage::schema::{memberships, messages, rooms, users};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

diesel::table! {
    /// SQLite's search index: comparing the hidden column of its name is `MATCH`.
    #[sql_name = "search"]
    found_words (rowid) {
        rowid -> BigInt,
        #[sql_name = "search"]
        words -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(found_words, messages);
diesel::allow_tables_to_appear_in_same_query!(found_words, users);
diesel::allow_tables_to_appear_in_same_query!(found_words, rooms);
diesel::allow_tables_to_appear_in_same_query!(found_words, memberships);

/// More words than anybody means.
const MOST_TERMS: usize = 32;

/// More characters than anybody means.
const MOST_CHARS: usize = 1000;

impl Store {
    /// Messages with all the words of `query`, newest first, of rooms that `person` may read. Any text is a query.
    pub async fn search(
        &self,
        person: &Person,
        query: &str,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let person = person.clone();
        let terms = terms(query);
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        self.read_long(move |conn| {
            let found = messages::table
                .inner_join(users::table)
                .inner_join(rooms::table)
                .filter(messages::deleted_at.is_null())
                .filter(readable!(person))
                .order(messages::id.desc())
                .limit(limited(limit))
                .select(COLUMNS);
            let rows: Vec<Row> = match conn {
                Conn::Pg(c) => found
                    .filter(
                        sql::<Bool>("messages.search @@ websearch_to_tsquery('pg_catalog.english', ")
                            .bind::<Text, _>(phrases(&terms))
                            .sql(")"),
                    )
                    .load(c)?,
                // From the index, which gives the newest first, to the rows: a common word costs no more than a page of them.
                Conn::Sqlite(c) => found_words::table
                    .inner_join(messages::table.on(messages::id.eq(found_words::rowid)))
                    .inner_join(users::table.on(users::id.eq(messages::author_id)))
                    .inner_join(rooms::table.on(rooms::id.eq(messages::room_id)))
                    .filter(found_words::words.eq(quoted(&terms)))
                    .filter(messages::deleted_at.is_null())
                    .filter(readable!(person))
                    .order(found_words::rowid.desc())
                    .limit(limited(limit))
                    .select(COLUMNS)
                    .load(c)?,
            };
            let mut found: Vec<Message> =
                rows.into_iter().map(Message::try_from).collect::<Result<_, _>>()?;
            with_runs(conn, &mut found)?;
            Ok(found)
        })
        .await
    }
}

/// The words; control characters separate too (PostgreSQL takes no NUL).
fn terms(query: &str) -> Vec<String> {
    let query: String = query.chars().take(MOST_CHARS).collect();
    query
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|term| term.chars().any(char::is_alphanumeric))
        .take(MOST_TERMS)
        .map(str::to_owned)
        .collect()
}

/// Each word as an FTS5 string, so that nothing in it is syntax.
fn quoted(terms: &[String]) -> String {
    terms.iter().map(|term| format!("\"{}\"", term.replace('"', "\"\""))).collect::<Vec<_>>().join(" ")
}

/// Each word as a phrase of `websearch_to_tsquery`, in which there is no `or` and no minus either, nor a way to quote a quote.
fn phrases(terms: &[String]) -> String {
    terms.iter().map(|term| format!("\"{}\"", term.replace('"', " "))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_query_is_syntax() {
        assert_eq!(quoted(&terms("a\"b  OR NEAR(x* \0 -- ^")), "\"a\"\"b\" \"OR\" \"NEAR(x*\"");
        assert_eq!(phrases(&terms("a\"b  OR -x -- ^")), "\"a b\" \"OR\" \"-x\"");
        assert!(terms(" \t\"\" * ").is_empty());
        assert_eq!(terms(&"x ".repeat(5000)).len(), MOST_TERMS);
    }
}

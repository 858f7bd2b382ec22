//! What somebody wants assistants to go by.

use crate::domain::UserId;
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::user_settings;
use diesel::prelude::*;

impl Store {
    /// The version and the JSON text; version 0 when they never said.
    pub async fn settings(&self, user: UserId) -> Result<(i64, String), StoreError> {
        self.read(move |conn| {
            let query =
                user_settings::table.find(user.get()).select((user_settings::version, user_settings::body));
            let found: Option<(i64, String)> = on!(conn, |c| query.first(c)).optional()?;
            Ok(found.unwrap_or_else(|| (0, "{}".to_owned())))
        })
        .await
    }
}

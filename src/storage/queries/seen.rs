//! When users were last seen (DB-20).

use crate::domain::{Timestamp, UserId};
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::users;
use diesel::prelude::*;
use std::collections::BTreeMap;

/// Users of one statement; SQLite takes 32,766 parameters.
const AT_ONCE: usize = 1_000;

impl Store {
    /// Notes when users were last seen, all in one transaction; what is known to be later stays.
    pub async fn note_seen(&self, seen: BTreeMap<Timestamp, Vec<UserId>>) -> Result<(), StoreError> {
        self.write(move |conn| {
            for (at, seen) in &seen {
                let at = at.as_millis();
                for some in seen.chunks(AT_ONCE) {
                    let ids: Vec<i64> = some.iter().map(|user| user.get()).collect();
                    let earlier = users::last_seen_at.is_null().or(users::last_seen_at.lt(at));
                    let query = diesel::update(users::table.filter(users::id.eq_any(ids)).filter(earlier))
                        .set(users::last_seen_at.eq(at));
                    on!(&mut *conn, |c| query.execute(c))?;
                }
            }
            Ok(())
        })
        .await
    }
}

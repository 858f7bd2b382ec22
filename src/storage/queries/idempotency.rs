//! Clearing away what callers' keys have outlived.

use crate::domain::Timestamp;
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::idempotency_keys as keys;
use diesel::prelude::*;

/// User and hash: what a row is found by.
type Key = (i64, Vec<u8>);

impl Store {
    /// Takes away up to `batch` answers that have expired and as many keys whose time is over, in one transaction; how many rows
    /// it was.
    pub async fn sweep_idempotency_keys(&self, now: Timestamp, batch: usize) -> Result<usize, StoreError> {
        self.write(move |conn| {
            let (now, batch) = (now.as_millis(), i64::try_from(batch).unwrap_or(i64::MAX));
            let columns = (keys::user_id, keys::key_hash);
            let query = keys::table
                .filter(keys::forget_at.le(now))
                .order(keys::forget_at)
                .limit(batch)
                .select(columns);
            let forgotten: Vec<Key> = on!(&mut *conn, |c| query.load(c))?;
            for key in &forgotten {
                let query = diesel::delete(keys::table.find((key.0, &key.1)));
                on!(&mut *conn, |c| query.execute(c))?;
            }
            let query = keys::table
                .filter(keys::expires_at.le(now))
                .filter(keys::response.is_not_null())
                .order(keys::expires_at)
                .limit(batch)
                .select(columns);
            let expired: Vec<Key> = on!(&mut *conn, |c| query.load(c))?;
            for key in &expired {
                let query =
                    diesel::update(keys::table.find((key.0, &key.1))).set(keys::response.eq(None::<String>));
                on!(&mut *conn, |c| query.execute(c))?;
            }
            Ok(forgotten.len() + expired.len())
        })
        .await
    }
}

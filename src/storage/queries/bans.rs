//! Bans that hold, and the addresses they shut out.

use super::limited;
use super::people::{PersonRow, person};
use crate::domain::{Network, Person, Timestamp};
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{banned_addresses, bans, users};
use diesel::prelude::*;
use std::collections::{HashMap, HashSet};

/// A ban that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    pub id: i64,
    pub user: Person,
    pub banned_by: Person,
    pub reason: String,
    pub created_at: Timestamp,
    /// As text: addresses and networks.
    pub addresses: Vec<String>,
}

impl Store {
    /// Bans that hold, the latest first, from the one before `before` on.
    pub async fn bans(&self, before: Option<i64>, limit: usize) -> Result<Vec<Ban>, StoreError> {
        self.read(move |conn| {
            let banner = diesel::alias!(users as banner);
            let query = bans::table
                .inner_join(users::table.on(users::id.eq(bans::user_id)))
                .inner_join(banner.on(banner.field(users::id).eq(bans::banned_by)))
                .filter(bans::lifted_at.is_null())
                .filter(bans::id.lt(before.unwrap_or(i64::MAX)))
                .order(bans::id.desc())
                .limit(limited(limit))
                .select((
                    bans::id,
                    (users::id, users::name, users::role),
                    banner.fields((users::id, users::name, users::role)),
                    bans::reason,
                    bans::created_at,
                ));
            type Row = (i64, PersonRow, PersonRow, String, i64);
            let rows: Vec<Row> = on!(&mut *conn, |c| query.load(c))?;
            let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
            let query = banned_addresses::table
                .filter(banned_addresses::ban_id.eq_any(ids))
                .order((banned_addresses::ban_id, banned_addresses::address))
                .select((banned_addresses::ban_id, banned_addresses::address));
            let found: Vec<(i64, String)> = on!(conn, |c| query.load(c))?;
            let mut addresses: HashMap<i64, Vec<String>> = HashMap::new();
            for (ban, address) in found {
                addresses.entry(ban).or_default().push(address);
            }
            rows.into_iter()
                .map(|(id, user, banned_by, reason, created_at)| {
                    Ok(Ban {
                        id,
                        user: person(user)?,
                        banned_by: person(banned_by)?,
                        reason,
                        created_at: Timestamp::from_millis(created_at),
                        addresses: addresses.remove(&id).unwrap_or_default(),
                    })
                })
                .collect()
        })
        .await
    }

    /// Every network that is shut out.
    pub async fn banned_networks(&self) -> Result<HashSet<Network>, StoreError> {
        self.read(move |conn| {
            let query = banned_addresses::table
                .inner_join(bans::table)
                .filter(bans::lifted_at.is_null())
                .select(banned_addresses::address);
            let rows: Vec<String> = on!(conn, |c| query.load(c))?;
            // What isn't one of ours shuts nobody out.
            Ok(rows.iter().filter_map(|address| address.parse().ok()).collect())
        })
        .await
    }
}

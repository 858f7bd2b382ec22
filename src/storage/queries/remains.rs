//! What is over and only takes up space (AUTH-11): found by a reader, taken away by the writer a few rows at a time.

use crate::domain::Timestamp;
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use std::time::Duration;

/// What is cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remains {
    /// Links that were used or have expired. Whoever shows one is told so by its signature.
    Transfers,
    /// Tokens that expired so long ago, and those of sessions that ended so long ago.
    RefreshTokens,
    /// Sessions that ended so long ago, once none of their tokens is left.
    Sessions,
    /// Keys that were revoked or expired so long ago.
    BotKeys,
    /// Invitations that were revoked or expired so long ago; ones that were used up so long ago.
    Invites,
    /// The addresses of bans that were lifted.
    BannedAddresses,
}

impl Remains {
    /// All of them, in the order in which one makes room for the next.
    pub const ALL: [Self; 6] = [
        Self::Transfers,
        Self::RefreshTokens,
        Self::Sessions,
        Self::BotKeys,
        Self::Invites,
        Self::BannedAddresses,
    ];

    /// The name in metrics: the table's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::RefreshTokens => "refresh_tokens",
            Self::Sessions => "sessions",
            Self::BotKeys => "bot_keys",
            Self::Invites => "invites",
            Self::BannedAddresses => "banned_addresses",
        }
    }

    /// The ids of what is over at `now`. The newest of what the audit trail names by its number stays until there is a newer one: SQLite gives
    /// the number after the highest one there is, and no number may mean two things.
    fn over(self, now: Timestamp, ago: Timestamp) -> String {
        let (table, now, ago) = (self.as_str(), now.as_millis(), ago.as_millis());
        let not_last = format!("id < (SELECT max(id) FROM {table})");
        match self {
            Self::Transfers => format!("SELECT id FROM transfers WHERE expires_at <= {now} AND {not_last}"),
            // Two questions, each with an index of its own.
            Self::RefreshTokens => format!(
                "SELECT id FROM refresh_tokens WHERE expires_at <= {ago}
                 UNION SELECT t.id FROM sessions s JOIN refresh_tokens t ON t.session_id = s.id
                 WHERE s.revoked_at <= {ago} OR s.expires_at <= {ago}"
            ),
            Self::Sessions => format!(
                "SELECT id FROM sessions WHERE (revoked_at <= {ago} OR expires_at <= {ago}) AND {not_last}
                 AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = sessions.id)"
            ),
            Self::BotKeys => format!(
                "SELECT id FROM bot_keys WHERE (revoked_at <= {ago} OR expires_at <= {ago}) AND {not_last}"
            ),
            Self::Invites => format!(
                "SELECT id FROM invites WHERE (
                     revoked_at <= {ago} OR expires_at <= {ago}
                     OR (uses >= max_uses AND coalesce(last_used_at, created_at) <= {ago})
                 ) AND {not_last}"
            ),
            Self::BannedAddresses => format!(
                "SELECT id FROM bans WHERE lifted_at <= {now}
                 AND EXISTS (SELECT 1 FROM banned_addresses a WHERE a.ban_id = bans.id)"
            ),
        }
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

impl Store {
    /// Takes away up to `batch` of what is over at `now`, of what is kept for a while what has been over for `keep`; how many it was. What is over
    /// stays so, so that it can be looked for where nobody has to wait.
    pub async fn clear_away(
        &self,
        what: Remains,
        now: Timestamp,
        keep: Duration,
        batch: usize,
    ) -> Result<usize, StoreError> {
        let sql = format!("{} LIMIT {batch}", what.over(now, now.before(keep)));
        let over: Vec<Id> = self.read(move |conn| Ok(on!(conn, |c| sql_query(sql).load(c))?)).await?;
        if over.is_empty() {
            return Ok(0);
        }
        let count = over.len();
        let list = over.iter().map(|row| row.id.to_string()).collect::<Vec<_>>().join(", ");
        let sql = match what {
            Remains::Invites => format!(
                "DELETE FROM invite_rooms WHERE invite_id IN ({list}); DELETE FROM invites WHERE id IN ({list})"
            ),
            Remains::BannedAddresses => format!("DELETE FROM banned_addresses WHERE ban_id IN ({list})"),
            _ => format!("DELETE FROM {} WHERE id IN ({list})", what.as_str()),
        };
        self.write(move |conn| Ok(on!(conn, |c| c.batch_execute(&sql))?)).await?;
        Ok(count)
    }
}

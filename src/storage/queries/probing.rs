//! What overload asks of the store: can it be written, and is a post known already.

use crate::domain::{RoomId, UserId};
use crate::storage::Store;
use crate::storage::conn::on;
use crate::storage::error::StoreError;
use crate::storage::schema::{log_head, messages};
use diesel::prelude::*;
use uuid::Uuid;

impl Store {
    /// Writes what is there already and commits: fails where any write would.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.write(|conn| {
            let same = diesel::update(log_head::table).set(log_head::last_id.eq(log_head::last_id));
            on!(conn, |c| same.execute(c))?;
            Ok(())
        })
        .await
    }

    /// Whether this post is in the log: what repeats it is a retry.
    pub async fn was_posted(&self, room: RoomId, author: UserId, id: Uuid) -> Result<bool, StoreError> {
        self.read(move |conn| {
            let query = messages::table
                .filter(messages::room_id.eq(room.get()))
                .filter(messages::author_id.eq(author.get()))
                .filter(messages::client_message_id.eq(id.as_bytes().as_slice()))
                .select(messages::id);
            let found: Option<i64> = on!(conn, |c| query.first(c)).optional()?;
            Ok(found.is_some())
        })
        .await
    }
}

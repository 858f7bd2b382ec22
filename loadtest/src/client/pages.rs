//! Paged reads, followed to their end: a room's history, its log, and the hole of a gap.

use super::model::{EventPage, MessagePage, UserPage};
use super::{Client, ClientError, Message, Room, RoomList, Visible};
use crate::wire::Event;

/// More pages than any run makes; a `next` that never ends is a defect and has to be an error, not a hang.
const MAX_PAGES: usize = 100_000;

/// A room's log as the server tells it.
#[derive(Debug, Clone)]
pub struct RoomLog {
    pub events: Vec<Event>,
    /// Head named by the last page.
    pub head: u64,
    pub epoch: String,
}

impl Client {
    /// A room's whole history, oldest first, read from the newest page back; and the head of the newest page.
    pub async fn history(&self, room_id: u64) -> Result<(Vec<Message>, u64), ClientError> {
        let path = format!("/rooms/{room_id}/messages");
        let mut query = vec![("limit", "100".to_owned())];
        let mut pages = Vec::new();
        let mut head = None;
        for _ in 0..MAX_PAGES {
            let page: MessagePage = self.get(&path, &query).await?;
            head.get_or_insert(page.head);
            pages.push(page.messages);
            match page.next {
                Some(cursor) => query = vec![("limit", "100".to_owned()), ("cursor", cursor)],
                None => return Ok((pages.into_iter().rev().flatten().collect(), head.unwrap_or_default())),
            }
        }
        Err(endless(&path))
    }

    /// One page of a room's history.
    pub async fn page(&self, room_id: u64, query: &[(&str, String)]) -> Result<MessagePage, ClientError> {
        self.get(&format!("/rooms/{room_id}/messages"), query).await
    }

    /// A room's log above the seq `after`, all pages.
    pub async fn room_log(&self, room_id: u64, after: u64) -> Result<RoomLog, ClientError> {
        self.log_from(room_id, ("after", after.to_string())).await
    }

    /// The hole a subscription named with `recovery: "gap"`, all pages from its cursor.
    pub async fn room_gap(&self, room_id: u64, page: &str) -> Result<RoomLog, ClientError> {
        self.log_from(room_id, ("cursor", page.to_owned())).await
    }

    async fn log_from(&self, room_id: u64, start: (&str, String)) -> Result<RoomLog, ClientError> {
        let path = format!("/rooms/{room_id}/events");
        let mut query = vec![start, ("limit", "500".to_owned())];
        let mut events = Vec::new();
        for _ in 0..MAX_PAGES {
            let page: EventPage = self.get(&path, &query).await?;
            events.extend(page.events);
            match page.next {
                Some(cursor) => query = vec![("cursor", cursor), ("limit", "500".to_owned())],
                None => return Ok(RoomLog { events, head: page.head, epoch: page.epoch }),
            }
        }
        Err(endless(&path))
    }

    /// Everybody who may be seen.
    pub async fn users(&self) -> Result<Vec<Visible>, ClientError> {
        let mut query = vec![("limit", "100".to_owned())];
        let mut users = Vec::new();
        for _ in 0..MAX_PAGES {
            let page: UserPage = self.get("/users", &query).await?;
            users.extend(page.users);
            match page.next {
                Some(cursor) => query = vec![("limit", "100".to_owned()), ("cursor", cursor)],
                None => return Ok(users),
            }
        }
        Err(endless("/users"))
    }

    /// Every room this client may read.
    pub async fn rooms(&self) -> Result<Vec<Room>, ClientError> {
        let mut query = vec![("limit", "100".to_owned())];
        let mut rooms = Vec::new();
        for _ in 0..MAX_PAGES {
            let page: RoomList = self.get("/rooms", &query).await?;
            rooms.extend(page.rooms);
            match page.next {
                Some(cursor) => query = vec![("limit", "100".to_owned()), ("cursor", cursor)],
                None => return Ok(rooms),
            }
        }
        Err(endless("/rooms"))
    }
}

fn endless(path: &str) -> ClientError {
    ClientError::Shape(format!("{path} has no last page"))
}

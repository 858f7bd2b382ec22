//! How a room stands for one of its readers.

use super::ids::Seq;

/// True as of the event `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    pub head: Seq,
    /// How far the reader has read.
    pub read: Seq,
    /// Messages of others after that, deleted ones apart.
    pub unread: i64,
}

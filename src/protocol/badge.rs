//! What travels of a room that somebody follows by badge: how far it has come for them, nothing of what was said.

use crate::domain::{Badge, Room, RoomId, UserId};
use serde_json::json;

/// One room's part of a subscription's reply.
pub fn followed(room: &Room, badge: Badge) -> String {
    let Badge { head, read, unread } = badge;
    json!({
        "room": {
            "id": room.id.get(),
            "kind": room.kind.as_str(),
            "name": room.name.as_deref(),
            "created_by": room.created_by.map(UserId::get),
            "created_at": room.created_at.to_string(),
        },
        "level": "badge",
        "head": head.get(),
        "read": read.get(),
        "unread": unread,
    })
    .to_string()
}

/// The frame that says how it is; the last one counts.
pub fn frame(room: RoomId, badge: Badge) -> String {
    let Badge { head, read, unread } = badge;
    format!(r#"{{"type":"badge","room_id":{room},"data":{{"head":{head},"read":{read},"unread":{unread}}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Seq;

    #[test]
    fn a_badge_looks_like_the_document() {
        let badge = Badge { head: Seq::new(90), read: Seq::new(80), unread: 3 };
        let text = frame(RoomId::new(12), badge);
        assert_eq!(text, r#"{"type":"badge","room_id":12,"data":{"head":90,"read":80,"unread":3}}"#);
        let document = include_str!("../../PROTOCOL.md");
        assert!(document.contains(&text), "the document has the frame");
    }
}

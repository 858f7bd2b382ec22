//! What a bot's webhook is sent, and what becomes of its answer (PROTOCOL.md section 4.1).

use crate::domain::webhook::without_mention;
use crate::domain::{EventId, MessageBody, MessageId, Person, RoomId, UserId};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Names the event: what is delivered again has the same.
pub const EVENT_ID: &str = "x-hearth-event-id";
/// Names the delivery: one per event and bot.
pub const DELIVERY: &str = "x-hearth-delivery";

/// The body of the request. `room_name` is none in a direct room.
pub fn request(
    bot: &Person,
    author: &Person,
    room: (RoomId, Option<&str>),
    message: MessageId,
    body: &str,
) -> String {
    let (room, room_name) = room;
    json!({
        "user": { "id": author.id.get(), "name": &*author.name },
        "room": { "id": room.get(), "name": room_name, "path": format!("/api/v1/rooms/{room}/messages") },
        "message": {
            "id": message.get(),
            "body": { "html": html(body), "plain": without_mention(body, &bot.name) },
            "path": format!("/api/v1/messages/{message}"),
        },
    })
    .to_string()
}

/// Text as HTML that shows just that.
fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' => html.push_str("<br>"),
            c => html.push(c),
        }
    }
    html
}

/// The message that a webhook's answer makes: trimmed, and cut with an ellipsis to what a message holds. Blank text is no answer.
pub fn reply(text: &[u8]) -> Option<MessageBody> {
    const CUT: &str = "…";
    let text = String::from_utf8_lossy(text).replace('\0', "");
    let mut text = text.trim().to_owned();
    if text.len() > MessageBody::MAX_BYTES {
        text.truncate(text.floor_char_boundary(MessageBody::MAX_BYTES - CUT.len()));
        text.push_str(CUT);
    }
    MessageBody::parse(&text).ok()
}

/// The `client_message_id` of the answer to an event: always the same, so that a repeated delivery doubles nothing.
pub fn reply_id(event: EventId, bot: UserId) -> Uuid {
    let digest = Sha256::digest(format!("hearth webhook reply {event} {bot}"));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(byte, from)| *byte = from);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Role;

    #[test]
    fn a_request_has_the_text_twice_and_no_markup_of_its_own() {
        let person = |id, name: &str, role| Person { id: UserId::new(id), name: name.into(), role };
        let (bot, ann) = (person(5, "Robot", Role::Bot), person(1, "Ann \"x\"", Role::Member));
        let body = "@robot <b>&'\"\nnow";
        let text = request(&bot, &ann, (RoomId::new(2), Some("Den")), MessageId::new(3), body);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            value,
            json!({
                "user": { "id": 1, "name": "Ann \"x\"" },
                "room": { "id": 2, "name": "Den", "path": "/api/v1/rooms/2/messages" },
                "message": {
                    "id": 3,
                    "body": { "html": "@robot &lt;b&gt;&amp;&#39;&quot;<br>now", "plain": "<b>&'\"\nnow" },
                    "path": "/api/v1/messages/3",
                },
            })
        );
    }

    #[test]
    fn an_answer_is_cut_to_a_message() {
        assert_eq!(reply(b" hi \n").expect("a message").as_str(), "hi");
        assert_eq!(reply(b"a\0b\xff").expect("a message").as_str(), "ab\u{fffd}");
        assert_eq!(reply(b" \0 "), None);
        let long = reply("é".repeat(10_000).as_bytes()).expect("a message");
        assert!(long.as_str().len() <= MessageBody::MAX_BYTES && long.as_str().ends_with('…'));
    }

    #[test]
    fn an_answer_has_one_id_per_event_and_bot() {
        let id = |event, bot| reply_id(EventId::new(event), UserId::new(bot));
        assert_eq!(id(1, 2), id(1, 2));
        assert_ne!(id(1, 2), id(2, 1));
        assert_ne!(id(1, 23), id(12, 3));
        assert_eq!(id(1, 2).get_version_num(), 8);
    }
}

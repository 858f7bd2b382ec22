//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header) on routes that make something.

use super::problem::Answer;
use crate::domain::{Ack, IdempotencyKey, Rejection, RoomId, UserId};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

const HEADER: &str = "Idempotency-Key";

/// The key a request came with: a string as RFC 9651 section 3.3.3 writes it, or the bare characters.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Rejection> {
    let mut values = headers.get_all(HeaderName::from_static("idempotency-key"));
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::invalid(HEADER, "is there twice"));
    }
    let text = value.to_str().map_err(|_bytes| Rejection::invalid(HEADER, "is no text"))?.trim();
    match text.strip_prefix('"') {
        None if text.contains('"') => Err(Rejection::invalid(HEADER, "has a quotation mark in it")),
        None => IdempotencyKey::parse(HEADER, text).map(Some),
        Some(rest) => IdempotencyKey::parse(HEADER, &unquoted(rest)?).map(Some),
    }
}

/// What stands between the quotation marks, the first of which is read already.
fn unquoted(rest: &str) -> Result<String, Rejection> {
    let mut text = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    while let Some(one) = characters.next() {
        match one {
            '"' if characters.as_str().is_empty() => return Ok(text),
            '"' => return Err(Rejection::invalid(HEADER, "goes on after its string")),
            '\\' => match characters.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                _ => return Err(Rejection::invalid(HEADER, "escapes what needs no escape")),
            },
            other => text.push(other),
        }
    }
    Err(Rejection::invalid(HEADER, "has no end of its string"))
}

/// The key of a request that may name it in two places.
pub(super) fn agreed(
    header: Option<IdempotencyKey>,
    body: Option<IdempotencyKey>,
) -> Result<Option<IdempotencyKey>, Rejection> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => {
            Err(Rejection::invalid(HEADER, "is not the idempotency_key of the body"))
        }
        (header, body) => Ok(header.or(body)),
    }
}

/// The id a post is unique by. A key that is a UUID is that id; any other stands for one, always the same for this user,
/// room and key. Without either, the post is one of a kind.
pub(super) fn message_id(
    author: UserId,
    room: RoomId,
    key: Option<&IdempotencyKey>,
    client_message_id: Option<Uuid>,
) -> Result<Uuid, Rejection> {
    let Some(key) = key else { return Ok(client_message_id.unwrap_or_else(Uuid::new_v4)) };
    let named = Uuid::try_parse(key.as_str()).unwrap_or_else(|_no_uuid| derived(author, room, key));
    match client_message_id {
        Some(id) if id != named => Err(Rejection::invalid(HEADER, "is not the client_message_id")),
        _ => Ok(named),
    }
}

/// A UUID of version 8 (RFC 9562): the first half of the SHA-256 of user, room and key.
fn derived(author: UserId, room: RoomId, key: &IdempotencyKey) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(author.get().to_be_bytes());
    hash.update(room.get().to_be_bytes());
    hash.update(key.as_str().as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let (half, _) = hash.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Builder::from_custom_bytes(*half).into_uuid()
}

/// What it came to, and whether that was so already when the request came.
pub(super) fn original(ack: Ack) -> (Ack, bool) {
    match ack {
        Ack::Replayed(original) => (*original, true),
        ack => (ack, false),
    }
}

/// Says that the answer is that of an earlier request.
pub(super) fn replayed(answer: Answer) -> Answer {
    answer.map(|mut response| {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static("idempotency-key"), value);
        }
        headers
    }

    #[test]
    fn a_key_is_a_string_or_bare() {
        for (text, wanted) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (" \"a\" ", "a"),
        ] {
            let found = key(&headers(&[text])).expect(text).expect("a key");
            assert_eq!(found.as_str(), wanted);
        }
        assert_eq!(key(&headers(&[])), Ok(None));
        let wrong = ["", "\"\"", "\"a", "a\"", "\"a\"b", r#""a\b""#, "\"a b\"", "a b", "é", "\"a\";x=1"];
        for text in wrong {
            let rejection = key(&headers(&[text])).expect_err(text);
            assert_eq!(rejection.field.as_deref(), Some(HEADER), "{text}");
        }
        assert!(key(&headers(&["a", "a"])).is_err());
        assert!(key(&headers(&[&"x".repeat(256)])).is_err());
    }

    #[test]
    fn a_key_names_one_message_of_one_author_in_one_room() {
        let named = |author, room, key: &str| {
            let key = IdempotencyKey::parse("key", key).expect("a key");
            message_id(UserId::new(author), RoomId::new(room), Some(&key), None).expect("an id")
        };
        assert_eq!(named(1, 2, "a"), named(1, 2, "a"));
        assert_eq!(named(1, 2, "a").get_version_num(), 8);
        let others = [named(1, 2, "b"), named(1, 3, "a"), named(2, 2, "a"), named(2, 1, "a")];
        assert!(!others.contains(&named(1, 2, "a")), "{others:?}");
        let id = Uuid::new_v4();
        assert_eq!(named(1, 2, &id.to_string()), id);
    }

    #[test]
    fn two_names_for_one_request_have_to_agree() {
        let key = |text: &str| IdempotencyKey::parse("key", text).expect("a key");
        let id = Uuid::new_v4();
        let of = |text: &str, id| message_id(UserId::new(1), RoomId::new(2), Some(&key(text)), id);
        assert_eq!(of(&id.to_string(), Some(id)), Ok(id));
        for text in [Uuid::new_v4().to_string().as_str(), "a"] {
            assert_eq!(of(text, Some(id)).expect_err("refused").field.as_deref(), Some(HEADER));
        }
        assert_eq!(agreed(Some(key("a")), Some(key("a"))), Ok(Some(key("a"))));
        assert_eq!(agreed(None, Some(key("a"))), Ok(Some(key("a"))));
        assert!(agreed(Some(key("a")), Some(key("b"))).is_err());
    }
}
